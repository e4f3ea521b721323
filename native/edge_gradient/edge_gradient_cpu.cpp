// The position gradient of edge_gradient on the CPU: every tile looks at the borders to the right of and below
// its pixels.
#include "edge_gradient/edge_gradient.h"

#include "common/parallel.h"
#include "common/status.h"
#include "common/surface_image.h"
#include "common/tiles.h"
#include "common/triangle_gradients.h"
#include "lumigrad.h"

namespace lg {
namespace {

template <class T>
using Records = TriangleGradients<T>;

// One pixel of a pair, and its triangle.
struct Side {
  int64_t pixel;  // in the batch
  double x, y;    // NDC of its centre
  int32_t seen;   // negative: background
  ScreenTriangle triangle;
};

template <class T>
class TileWork {
 public:
  TileWork(const SurfaceImage<T>& image, const T* bary, const PixelTile& tile, Records<T>& records, int worker)
      : image_(image), bary_(bary), tile_(tile), records_(records), worker_(worker) {}

  void run() {
    for (int64_t row = tile_.y0; row < tile_.y1; ++row) {
      const int64_t line = (tile_.view * image_.height + row) * image_.width;
      const int32_t* seen = image_.frag_tri + line;
      const bool below = row + 1 < image_.height;
      for (int64_t col = tile_.x0; col < tile_.x1; ++col) {
        if (col + 1 < image_.width && differ(seen[col], seen[col + 1])) border(row, col, 0);
        if (below && differ(seen[col], seen[col + image_.width])) border(row, col, 1);
      }
    }
  }

 private:
  static bool differ(int32_t a, int32_t b) { return a != b && (a >= 0 || b >= 0); }

  Side side(int64_t row, int64_t col) const {
    Side out;
    out.pixel = (tile_.view * image_.height + row) * image_.width + col;
    out.x = (2.0 * static_cast<double>(col) + 1) / static_cast<double>(image_.width) - 1;
    out.y = 1 - (2.0 * static_cast<double>(row) + 1) / static_cast<double>(image_.height);
    out.seen = image_.frag_tri[out.pixel];
    if (out.seen >= 0) {
      const auto corner = image_.corners(tile_.view, out.seen);
      out.triangle = screen_triangle(corner[0], corner[1], corner[2]);
    }
    return out;
  }

  // The pixel at (row, col) and the one to the right of it (axis 0) or below it (axis 1).
  void border(int64_t row, int64_t col, int axis) {
    const int64_t step = axis == 0 ? 1 : image_.width;
    const double pull = loss_per_pixel((tile_.view * image_.height + row) * image_.width + col, step);
    if (pull == 0) return;
    const Side a = side(row, col), b = side(row + axis, col + 1 - axis);
    const bool a_covers = a.seen >= 0 && covers(a.triangle, b.x, b.y);
    const bool b_covers = b.seen >= 0 && covers(b.triangle, a.x, a.y);
    double motion[2][3] = {};
    if (a_covers && b_covers) {
      const auto width = static_cast<double>(image_.width), height = static_cast<double>(image_.height);
      double slope_a[2], slope_b[2];
      depth_slope(a.triangle, width, height, slope_a);
      depth_slope(b.triangle, width, height, slope_b);
      if (!intersection_gradient(slope_a, slope_b, axis, pull, motion[0], motion[1])) return;
      add(a, motion[0]);
      add(b, motion[1]);
    } else if (a.seen >= 0 && (b.seen < 0 || b_covers)) {
      motion[0][axis] = pull;
      add(a, motion[0]);
    } else if (b.seen >= 0 && (a.seen < 0 || a_covers)) {
      motion[0][axis] = pull;
      add(b, motion[0]);
    }
  }

  // How the loss changes when the border between two pixels moves by one pixel towards the second.
  double loss_per_pixel(int64_t first, int64_t step) const {
    const int64_t channels = image_.channels;
    const T *color = image_.color + first * channels, *grad = image_.grad + first * channels;
    T sum = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const T jump = T(0.5) * (color[c] - color[c + step * channels]);
      if (jump - jump == 0) sum += jump * (grad[c] + grad[c + step * channels]);
    }
    return sum - sum == 0 ? sum : 0;
  }

  // Adds the gradient of the motion of the point seen at a pixel to the triangle's three vertices.
  void add(const Side& at, const double* motion) {
    const auto corner = image_.corners(tile_.view, at.seen);
    const double u = bary_[2 * at.pixel], v = bary_[2 * at.pixel + 1];
    const double weight[3] = {u, v, 1 - u - v};
    double point[4] = {};
    for (int i = 0; i < 4; ++i) {
      for (int k = 0; k < 3; ++k) point[i] += weight[k] * static_cast<double>(corner[k][i]);
    }
    double clip[4];
    if (!motion_to_clip(motion, point[0], point[1], point[2], point[3], static_cast<double>(image_.width),
                        static_cast<double>(image_.height), clip)) {
      return;
    }
    T* sum = records_.values(worker_, records_.find(worker_, at.seen));
    for (int k = 0; k < 3; ++k) {
      for (int i = 0; i < 4; ++i) sum[4 * k + i] += static_cast<T>(weight[k] * clip[i]);
    }
  }

  const SurfaceImage<T>& image_;
  const T* bary_;
  const PixelTile tile_;
  Records<T>& records_;
  const int worker_;
};

template <class T>
void backward(int32_t threads, const SurfaceImage<T>& image, const T* bary, T* grad_pos) {
  const TileGrid tiles(image.views, image.height, image.width);
  Records<T> records(threads, tiles.count(), 12);
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    const PixelTile tile = tiles[i];
    records.begin_chunk(i, worker, tile.view);
    TileWork<T>(image, bary, tile, records, worker).run();
    records.end_chunk(i, worker);
  });
  records.scatter(threads, image.tri, image.vertices, image.views, image.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg

int32_t lg_edge_gradient(int32_t threads, int32_t dtype, const void* color, const int32_t* frag_tri, const void* bary,
                         const void* pos, const int32_t* tri, int32_t shared_positions, int64_t views,
                         int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                         const void* grad_out, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::SurfaceImage<T> image = {static_cast<const T*>(color), static_cast<const T*>(grad_out), frag_tri,
                                       static_cast<const T*>(pos), tri, shared_positions != 0, views, vertices,
                                       triangles, height, width, channels};
    lg::backward<T>(threads, image, static_cast<const T*>(bary), static_cast<T*>(grad_pos));
  });
}
