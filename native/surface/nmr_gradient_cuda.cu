// The position gradient of nmr_gradient on CUDA.
//
// A warp takes 32 pixels of a row or column and processes the runs of pixels with the same triangle that begin there,
// one after another, with all its lanes. The gradient of a triangle on a line is the sum over its runs.
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "surface/nmr_gradient.h"
#include "surface/surface_image.h"

namespace lg::surface {
namespace {

template <class T>
struct Scene : SurfaceImage<T> {
  int64_t reach;
  T eps;
};

// A row, or a column, of one view.
template <class T>
struct Line {
  const Scene<T>& s;
  bool vertical;
  int64_t view, number, size, first, stride;  // pixels in memory

  LG_DEVICE Line(const Scene<T>& scene, int64_t view_, int64_t number_, bool vertical_)
      : s(scene), vertical(vertical_), view(view_), number(number_) {
    size = vertical ? s.image.height : s.image.width;
    stride = vertical ? s.image.width : 1;
    first = view * s.image.height * s.image.width + number * (vertical ? 1 : s.image.width);
  }

  LG_DEVICE int64_t pixel(int64_t i) const { return first + i * stride; }
  LG_DEVICE int32_t seen(int64_t i) const { return i >= 0 && i < size ? s.frag_tri[pixel(i)] : -1; }

  // The end of the run that begins at `begin`, found by the whole warp.
  LG_DEVICE int64_t run_end(int64_t begin, int32_t triangle) const {
    for (int64_t at = begin + 1;; at += warp_size) {
      const int64_t i = at + lane_id();
      const uint32_t others = warp_ballot(i >= size || seen(i) != triangle);
      if (others) return at + lowest_bit(others);
    }
  }

  // Adds this lane's share of the pull of a scan's pixels on the ends of an edge.
  LG_DEVICE void pull(const Scan<T>& scan, const EdgePlace<T>& edge, T sign, T sum[2]) const {
    const T* shown = s.color + pixel(scan.shows) * s.channels;
    const T step = T(2) / static_cast<T>(size);
    for (int64_t i = scan.begin + lane_id(); i < scan.end; i += warp_size) {
      const T *color = s.color + pixel(i) * s.channels, *grad = s.grad + pixel(i) * s.channels;
      T delta = 0;
      for (int64_t c = 0; c < s.channels; ++c) delta += (color[c] - shown[c]) * grad[c];
      const T distance = (scan.gap + static_cast<T>((i - scan.near) * scan.direction)) * step;
      for (int end = 0; end < 2; ++end) sum[end] += sign * pull_of_pixel(delta, edge.omega[end], distance, s.eps);
    }
  }
};

// The pull of the line's pixels on the triangle of one run [begin, end), along the line: this lane's share for each
// corner. Pixels outside an edge belong to the run next to it.
template <class T>
LG_DEVICE void pull_run(const Line<T>& line, const LineTriangle& triangle, int64_t begin, int64_t end, T (&grad)[3]) {
  const int64_t limit = line.s.reach < line.size ? line.s.reach : line.size;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    LineCrossing crossing;
    if (!crosses_line(triangle, k, static_cast<double>(line.number), &crossing)) continue;
    const auto edge = make_edge_place<T>(crossing, line.size);
    T sum[2] = {0, 0};
    if (edge.inner >= begin && edge.inner < end) {
      line.pull(outward_scan(edge, line.size, limit), edge, T(edge.side), sum);
    }
    if (edge.outer >= 0 && edge.outer < line.size) {
      line.pull(inward_scan(edge, begin, end, limit), edge, T(-edge.side), sum);
    }
    grad[(k + 1) % 3] += sum[0];
    grad[(k + 2) % 3] += sum[1];
  }
}

template <class T>
__global__ void __launch_bounds__(items_per_block)
    pull_lines(Scene<T> s, bool vertical, int64_t warps, GradientSum<T> sum, T* grad_pos) {
  const int64_t lines = vertical ? s.image.width : s.image.height;
  for (int64_t warp = first_item() / warp_size; warp < warps; warp += item_step() / warp_size) {
    // Neighbouring warps process neighbouring lines.
    const int64_t part = warp / lines, parts = warps / lines / s.image.views;
    const Line<T> line(s, part / parts, warp - part * lines, vertical);
    const int64_t low = part % parts * warp_size, mine = low + lane_id();
    const int32_t seen = line.seen(mine);
    for (uint32_t starts = warp_ballot(seen >= 0 && seen != line.seen(mine - 1)); starts; starts &= starts - 1) {
      const int start = lowest_bit(starts);
      const int32_t triangle = warp_shuffle(seen, static_cast<unsigned>(start));
      const int64_t begin = low + start, end = line.run_end(begin, triangle);
      int64_t row[3];
      if (!s.mesh.rows(line.view, triangle, row)) continue;
      const T* const corner[3] = {s.pos + 4 * row[0], s.pos + 4 * row[1], s.pos + 4 * row[2]};
      double ndc[3][2];
      LineTriangle places;
      if (!make_line_triangle(corner, static_cast<double>(s.image.width), static_cast<double>(s.image.height), vertical,
                              ndc, &places)) {
        continue;
      }
      T grad[3] = {0, 0, 0};
      pull_run(line, places, begin, end, grad);
      add_up_peers(all_lanes, grad);
      if (lane_id() != 0) continue;
      T value[12] = {};
      bool any = false;
      for (int k = 0; k < 3; ++k) {
        any |= line_to_clip(grad[k], vertical, static_cast<double>(corner[k][3]), ndc[k],
                            &value[4 * k + (vertical ? 1 : 0)], &value[4 * k + 3]);
      }
      if (any) add_to_corners(sum, grad_pos, row, value);
    }
  }
}

template <class T>
int32_t backward(lg_call* call, const Scene<T>& scene, T* grad_pos) {
  const ImageSize& image = scene.image;
  // At most as many runs as pixels in either direction, with three corners per triangle.
  return run_position_gradients(
      call, scene.mesh.rows_in(image.views), 6 * image.pixels(), grad_pos,
      [&](Queue& queue, const GradientSum<T>& sum) {
        for (const bool vertical : {false, true}) {
          const int64_t lines = vertical ? image.width : image.height, size = vertical ? image.height : image.width;
          const int64_t warps = image.views * lines * divide_up(size, static_cast<int64_t>(warp_size));
          queue.launch_items(pull_lines<T>, warps * static_cast<int64_t>(warp_size), scene, vertical, warps, sum,
                             grad_pos);
        }
      });
}

}  // namespace
}  // namespace lg::surface

int32_t lg_nmr_gradient_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                                 const void* pos, const int32_t* tri, int32_t shared_positions, int64_t views,
                                 int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                                 int64_t reach, double eps, const void* grad_out, void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto image = lg::surface::make_surface_image<T>(color, grad_out, frag_tri, pos, tri, shared_positions, views,
                                                          vertices, triangles, height, width, channels);
    const lg::surface::Scene<T> scene = {image, lg::surface::reach_within(reach, height, width), static_cast<T>(eps)};
    return lg::surface::backward(call, scene, static_cast<T*>(grad_pos));
  });
}
