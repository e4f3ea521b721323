// The position gradient of nmr_gradient on the CPU.
//
// Rows and columns of the image are lines, processed sixteen at a time. Only triangles visible on a line are examined,
// so the cost grows with the number of visible crossings, each of which scans pixels of its line.
#include "surface/nmr_gradient.h"

#include <algorithm>
#include <vector>

#include "lumigrad.h"
#include "math/bits.h"
#include "parallel/triangle_gradients.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "surface/surface_image.h"

namespace lg::surface {
namespace {

constexpr int64_t lines_per_task = 16;
constexpr int scan_lanes = 16;

// Consecutive pixels of one line that show the same triangle.
struct Run {
  int32_t triangle;
  int64_t begin, end;
};

// One line of the image, channel by channel.
template <class T>
struct Line {
  int64_t size, channels;
  const int32_t* seen;
  const T *color, *grad;         // [channels][size]
  int64_t grad_begin, grad_end;  // outside these, the incoming gradient is zero
};

// Adds the pull of pixels [at, at + count) of the scan, each in its own lane. sum: [ends][lanes].
template <class T>
LG_HD void pull_of_block(const Line<T>& line, const Scan<T>& scan, int64_t at, int count, const T* omega, T step, T eps,
                         T sum[2][scan_lanes]) {
  T delta[scan_lanes] = {};
  for (int64_t c = 0; c < line.channels; ++c) {
    const T shown = line.color[c * line.size + scan.shows];
    const T* LG_RESTRICT color = line.color + c * line.size + at;
    const T* LG_RESTRICT grad = line.grad + c * line.size + at;
    LG_VECTORIZE
    for (int l = 0; l < count; ++l) delta[l] += (color[l] - shown) * grad[l];
  }
  const T first = static_cast<T>((at - scan.near) * scan.direction);
  LG_VECTORIZE
  for (int l = 0; l < count; ++l) {
    const T distance = (scan.gap + (first + static_cast<T>(l * scan.direction))) * step;
    for (int end = 0; end < 2; ++end) sum[end][l] += pull_of_pixel(delta[l], omega[end], distance, eps);
  }
}

// The pull of all pixels of the scan on the two ends of an edge.
template <class T>
void pull_of_pixels(const Line<T>& line, const Scan<T>& scan, const T* omega, T step, T eps, T* pull) {
  pull[0] = pull[1] = 0;
  const int64_t begin = std::max(scan.begin, line.grad_begin), end = std::min(scan.end, line.grad_end);
  T sum[2][scan_lanes] = {};
  int64_t at = begin;
  for (; at + scan_lanes <= end; at += scan_lanes) {
    pull_of_block(line, scan, at, scan_lanes, omega, step, eps, sum);
  }
  if (at < end) pull_of_block(line, scan, at, static_cast<int>(end - at), omega, step, eps, sum);
  for (int l = 0; l < scan_lanes; ++l) {
    pull[0] += sum[0][l];
    pull[1] += sum[1][l];
  }
}

// The lines of one task, and room for their pixels.
template <class T>
class LineBlock {
 public:
  // vertical: lines are columns.
  void load(const SurfaceImage<T>& image, int64_t view, int64_t first, int64_t count, bool vertical) {
    size_ = vertical ? image.image.height : image.image.width;
    channels_ = image.channels;
    seen_.resize(static_cast<size_t>(count * size_));
    color_.resize(static_cast<size_t>(count * size_ * channels_));
    grad_.resize(color_.size());
    const int64_t per_line = vertical ? 1 : image.image.width, per_pixel = vertical ? image.image.width : 1;
    const int64_t base = image.image.pixel(view, 0, 0) + first * per_line;
    // Along the rows of the image in either case.
    const int64_t outer = vertical ? size_ : count, inner = vertical ? count : size_;
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < inner; ++i) {
        const int64_t line = vertical ? i : o, pixel = vertical ? o : i;
        const int64_t source = base + line * per_line + pixel * per_pixel;
        seen_[static_cast<size_t>(line * size_ + pixel)] = image.frag_tri[source];
        for (int64_t c = 0; c < channels_; ++c) {
          const auto target = static_cast<size_t>((line * channels_ + c) * size_ + pixel);
          color_[target] = image.color[source * channels_ + c];
          grad_[target] = image.grad[source * channels_ + c];
        }
      }
    }
  }

  Line<T> operator[](int64_t line) const {
    Line<T> out = {size_,
                   channels_,
                   seen_.data() + line * size_,
                   color_.data() + line * size_ * channels_,
                   grad_.data() + line * size_ * channels_,
                   size_,
                   0};
    for (int64_t c = 0; c < channels_; ++c) {
      const T* grad = out.grad + c * size_;
      int64_t begin = 0, end = size_;
      while (begin < out.grad_begin && grad[begin] == 0) ++begin;
      while (end > out.grad_end && grad[end - 1] == 0) --end;
      out.grad_begin = std::min(out.grad_begin, begin);
      out.grad_end = std::max(out.grad_end, end);
    }
    return out;
  }

 private:
  int64_t size_ = 0, channels_ = 0;
  std::vector<int32_t> seen_;
  std::vector<T> color_, grad_;
};

template <class T>
class LineWork {
 public:
  LineWork(const SurfaceImage<T>& image, int64_t view, bool vertical, int64_t reach, T eps,
           TriangleGradients<T>& records, int worker)
      : image_(image),
        view_(view),
        vertical_(vertical),
        reach_(reach),
        eps_(eps),
        step_(T(2) / static_cast<T>(vertical ? image.image.height : image.image.width)),
        records_(records),
        worker_(worker) {}

  void run(const Line<T>& line, int64_t number, std::vector<Run>& runs) {
    if (line.grad_begin >= line.grad_end) return;
    runs.clear();
    for (int64_t begin = 0; begin < line.size;) {
      const int64_t end = run_end(line.seen, begin, line.size);
      if (line.seen[begin] >= 0) runs.push_back({line.seen[begin], begin, end});
      begin = end;
    }
    std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
      return a.triangle != b.triangle ? a.triangle < b.triangle : a.begin < b.begin;
    });
    for (size_t first = 0; first < runs.size();) {
      size_t last = first + 1;
      while (last < runs.size() && runs[last].triangle == runs[first].triangle) ++last;
      triangle(line, number, runs.data() + first, runs.data() + last);
      first = last;
    }
  }

 private:
  // All crossings of the line by one triangle, which is visible in the given runs.
  void triangle(const Line<T>& line, int64_t number, const Run* runs, const Run* runs_end) {
    const T* corner[3];
    double ndc[3][2];
    LineTriangle t;
    if (!image_.corners(view_, runs->triangle, corner) ||
        !make_line_triangle(corner, static_cast<double>(image_.image.width), static_cast<double>(image_.image.height),
                            vertical_, ndc, &t)) {
      return;
    }
    for (int k = 0; k < 3; ++k) {
      LineCrossing crossing;
      if (!crosses_line(t, k, static_cast<double>(number), &crossing)) continue;
      T grad[2] = {0, 0};
      edge(line, crossing, runs, runs_end, grad);
      add(runs->triangle, crossing.a, grad[0], corner[crossing.a], ndc[crossing.a]);
      add(runs->triangle, crossing.b, grad[1], corner[crossing.b], ndc[crossing.b]);
    }
  }

  // The gradients of both ends' places along the line, in NDC that grows with the pixel's number.
  void edge(const Line<T>& line, const LineCrossing& crossing, const Run* runs, const Run* runs_end, T* grad) const {
    const auto place = make_edge_place<T>(crossing, line.size);
    const int64_t limit = std::min(reach_, line.size);
    if (place.inner >= 0 && place.inner < line.size && line.seen[place.inner] == runs->triangle) {
      pull(line, outward_scan(place, line.size, limit), place.omega, T(place.side), grad);
    }
    if (place.outer < 0 || place.outer >= line.size) return;
    for (const Run* run = runs; run != runs_end; ++run) {
      const Scan<T> scan = inward_scan(place, run->begin, run->end, limit);
      if (scan.begin < scan.end) pull(line, scan, place.omega, T(-place.side), grad);
    }
  }

  void pull(const Line<T>& line, const Scan<T>& scan, const T* omega, T sign, T* grad) const {
    T found[2];
    pull_of_pixels(line, scan, omega, step_, eps_, found);
    for (int end = 0; end < 2; ++end) grad[end] += sign * found[end];
  }

  // Adds the gradient of a corner's place along the line to that of its clip position.
  void add(int32_t triangle, int k, T grad, const T* corner, const double* ndc) {
    T axis, along_w;
    if (!line_to_clip(grad, vertical_, static_cast<double>(corner[3]), ndc, &axis, &along_w)) return;
    T* sum = records_.values(worker_, records_.find(worker_, triangle)) + 4 * k;
    sum[vertical_ ? 1 : 0] += axis;
    sum[3] += along_w;
  }

  const SurfaceImage<T>& image_;
  const int64_t view_;
  const bool vertical_;
  const int64_t reach_;
  const T eps_, step_;
  TriangleGradients<T>& records_;
  const int worker_;
};

template <class T>
void backward(int32_t threads, const SurfaceImage<T>& image, int64_t reach, T eps, T* grad_pos) {
  const ImageSize& size = image.image;
  const int64_t row_blocks = divide_up(size.height, lines_per_task),
                column_blocks = divide_up(size.width, lines_per_task);
  const int64_t per_view = row_blocks + column_blocks, tasks = size.width && size.height ? size.views * per_view : 0;
  TriangleGradients<T> records(threads, tasks, 12);
  std::vector<LineBlock<T>> blocks(static_cast<size_t>(std::max(1, threads)));
  std::vector<std::vector<Run>> runs(blocks.size());
  parallel_for(threads, tasks, [&](int64_t task, int worker) {
    const int64_t view = task / per_view, in_view = task % per_view;
    const bool vertical = in_view >= row_blocks;
    const int64_t first = (vertical ? in_view - row_blocks : in_view) * lines_per_task;
    const int64_t count = std::min(lines_per_task, (vertical ? size.width : size.height) - first);
    records.begin_chunk(task, worker, view);
    LineBlock<T>& block = blocks[static_cast<size_t>(worker)];
    block.load(image, view, first, count, vertical);
    LineWork<T> work(image, view, vertical, reach, eps, records, worker);
    for (int64_t i = 0; i < count; ++i) work.run(block[i], first + i, runs[static_cast<size_t>(worker)]);
    records.end_chunk(task, worker);
  });
  records.scatter(threads, image.mesh.tri, image.mesh.vertices, size.views, image.mesh.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg::surface

int32_t lg_nmr_gradient_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                                 const void* pos, const int32_t* tri, int32_t shared_positions, int64_t views,
                                 int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                                 int64_t reach, double eps, const void* grad_out, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto image = lg::surface::make_surface_image<T>(color, grad_out, frag_tri, pos, tri, shared_positions, views,
                                                          vertices, triangles, height, width, channels);
    lg::surface::backward<T>(call->threads, image, lg::surface::reach_within(reach, height, width), static_cast<T>(eps),
                             static_cast<T*>(grad_pos));
  });
}
