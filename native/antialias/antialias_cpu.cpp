// antialias on the CPU. The image is cut into small cells, of which those near a silhouette edge are marked;
// only in marked cells are neighbouring pixels compared and searched for crossings. Memory goes with the
// number of cells, the image's width and the silhouette, not with the image's area.
#include "antialias/antialias.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "common/bits.h"
#include "common/memory.h"
#include "common/parallel.h"
#include "common/status.h"
#include "common/triangle_gradients.h"
#include "lumigrad.h"

namespace lg {
namespace {

constexpr int64_t band_rows = 16;  // at least 2: see backward()
constexpr int64_t cell_size = 4;
constexpr int64_t prefetch_distance = 12;  // triangles

// Whether pixels of a cell may lie next to a silhouette edge; after the forward pass, whether any of its
// pairs was blended. Set from several threads at once, but never to different values at a time.
using CellMark = std::atomic<uint8_t>;
static_assert(sizeof(CellMark) == 1, "marks are kept in a byte tensor between the passes");
constexpr uint8_t near_silhouette = 1, blended = 2;

template <class T>
struct Scene {
  const T* color;
  const int32_t* frag_tri;
  const T* depth;
  const T* pos;
  const int32_t* tri;
  const int32_t* topology;
  bool shared;
  int64_t views, vertices, triangles, height, width, channels;
  bool unbounded;
  const uint8_t* flags;  // [views or 1, triangles]
  CellMark* marks;         // [views, cells down, cells across]
  uint8_t wanted_mark;     // which of them a pass is to search

  int64_t geometry_views() const { return shared ? 1 : views; }
  int64_t cells_across() const { return divide_up(width, cell_size); }
  int64_t cells_down() const { return divide_up(height, cell_size); }

  SurfaceView<T> surface(int64_t view) const {
    return {pos + (shared ? 0 : view * vertices * 4), tri, topology, flags + (shared ? 0 : view * triangles)};
  }
  CellMark* marks_of_row(int64_t view, int64_t row) const {
    return marks + (view * cells_down() + row / cell_size) * cells_across();
  }
};

// ---- Silhouette flags -----------------------------------------------------------------------------------

template <class T>
void check_triangle(const Scene<T>& s, int64_t t) {
  for (int k = 0; k < 3; ++k) {
    const int32_t index = s.tri[3 * t + k];
    if (index < 0 || index >= s.vertices) {
      throw InvalidArgument("tri[%lld, %d] is %d, but pos has %lld vertices", static_cast<long long>(t), k,
                            static_cast<int>(index), static_cast<long long>(s.vertices));
    }
    const int32_t link = s.topology[3 * t + k];
    if (link < 0 || (link >> 1) >= 3 * s.triangles) {
      throw InvalidArgument("topology[%lld, %d] is %d, which is no half-edge of %lld triangles",
                            static_cast<long long>(t), k, static_cast<int>(link),
                            static_cast<long long>(s.triangles));
    }
  }
}

constexpr int64_t triangles_per_task = 4096;

// Calls body(view, triangle, worker) for every triangle of every set of positions.
template <class T, class Body>
void for_triangles(int32_t threads, const Scene<T>& s, Body&& body) {
  const int64_t tasks_per_view = divide_up(s.triangles, triangles_per_task);
  parallel_for(threads, s.geometry_views() * tasks_per_view, [&](int64_t task, int worker) {
    const int64_t view = task / tasks_per_view, begin = task % tasks_per_view * triangles_per_task;
    const int64_t end = std::min(s.triangles, begin + triangles_per_task);
    for (int64_t t = begin; t < end; ++t) body(view, t, worker);
  });
}

template <class T>
void prefetch_corners(const SurfaceView<T>& surface, int64_t t) {
  for (int k = 0; k < 3; ++k) LG_PREFETCH(surface.corner(t, k));
}

template <class T>
void make_flags(int32_t threads, const Scene<T>& s, uint8_t* flags) {
  Buffer<uint8_t> facing(static_cast<size_t>(s.geometry_views() * s.triangles));
  for_triangles(threads, s, [&](int64_t view, int64_t t, int) {
    check_triangle(s, t);
    const SurfaceView<T> surface = s.surface(view);
    if (t + prefetch_distance < s.triangles) prefetch_corners(surface, t + prefetch_distance);
    facing[view * s.triangles + t] =
        facing_flag(surface.corner(t, 0), surface.corner(t, 1), surface.corner(t, 2));
  });
  for_triangles(threads, s, [&](int64_t view, int64_t t, int) {
    const uint8_t* of_view = facing.data() + view * s.triangles;
    uint8_t flag = of_view[t];
    for (int k = 0; k < 3; ++k) flag |= static_cast<uint8_t>(is_silhouette(s.topology, of_view, t, k) << k);
    flags[view * s.triangles + t] = flag;
  });
}

// ---- Cells near silhouettes -------------------------------------------------------------------------------

// Marks the cells whose pixels may lie next to a silhouette edge.
template <class T>
class CellMarker {
 public:
  explicit CellMarker(const Scene<T>& scene)
      : s_(scene), across_(scene.cells_across()), down_(scene.cells_down()) {}

  void mark(int32_t threads) const {
    const int64_t count = across_ * down_;
    // unbounded: crossings may be anywhere
    for (int64_t i = 0; i < s_.views * count; ++i) set(s_.marks[i], s_.unbounded ? near_silhouette : 0);
    for_triangles(threads, s_, [&](int64_t view, int64_t t, int) {
      const SurfaceView<T> surface = s_.surface(view);
      const uint8_t flags = surface.flags[t];
      if (!(flags & silhouette_edges) || s_.unbounded) return;
      CellMark* cells = s_.marks + view * count;
      for (int k = 0; k < 3; ++k) {
        if (flags & (1 << k)) mark_edge(surface.corner(t, (k + 1) % 3), surface.corner(t, (k + 2) % 3), cells);
      }
    });
    // Images with the same positions have the same silhouettes.
    for (int64_t i = count; s_.shared && i < s_.views * count; ++i) set(s_.marks[i], s_.marks[i % count]);
  }

 private:
  static void set(CellMark& mark, uint8_t value = near_silhouette) { mark.store(value, std::memory_order_relaxed); }

  // A crossing concerns pixels at most 17/16 pixels from it; the rest is for rounding.
  static constexpr double reach = 1.25;

  void mark_edge(const T* a, const T* b, CellMark* cells) const {
    if (!(a[3] > 0 && b[3] > 0)) {  // it reaches behind the camera: it may cross the image anywhere
      for (int64_t i = 0; i < across_ * down_; ++i) set(cells[i]);
      return;
    }
    const double half_w = static_cast<double>(s_.width) / 2, half_h = static_cast<double>(s_.height) / 2;
    double ax = (a[0] / static_cast<double>(a[3]) + 1) * half_w - 0.5, ay = (1 - a[1] / static_cast<double>(a[3])) * half_h - 0.5;
    double bx = (b[0] / static_cast<double>(b[3]) + 1) * half_w - 0.5, by = (1 - b[1] / static_cast<double>(b[3])) * half_h - 0.5;
    if (ay > by) {
      std::swap(ax, bx);
      std::swap(ay, by);
    }
    const int64_t first = cell(ay - reach, down_), last = cell(by + reach, down_);
    const double slope = by - ay > 1 ? (bx - ax) / (by - ay) : 0;
    for (int64_t row = first; row <= last; ++row) {
      // The part of the edge whose pixels lie in this row of cells; all of a short edge.
      const double top = std::max(ay, static_cast<double>(row * cell_size) - 2 * reach);
      const double bottom = std::min(by, static_cast<double>((row + 1) * cell_size) + 2 * reach);
      const bool partial = slope != 0;
      const double x0 = partial ? ax + slope * (top - ay) : ax, x1 = partial ? ax + slope * (bottom - ay) : bx;
      const int64_t begin = cell(std::min(x0, x1) - reach, across_);
      const int64_t end = cell(std::max(x0, x1) + reach, across_);
      for (int64_t column = begin; column <= end; ++column) set(cells[row * across_ + column]);
    }
  }

  // The cell that holds a coordinate, within the image. NaN goes to the first.
  static int64_t cell(double coordinate, int64_t count) {
    const double place = coordinate / static_cast<double>(cell_size);
    if (!(place > 0)) return 0;
    return place < static_cast<double>(count) ? static_cast<int64_t>(place) : count - 1;
  }

  const Scene<T>& s_;
  const int64_t across_, down_;
};

// ---- One pair -------------------------------------------------------------------------------------------

// A silhouette crossing between two neighbours: how much of its neighbour's colour a pixel takes.
struct PairBlend {
  double weight = 0;  // zero: nothing to do
  bool first_takes;   // the left or upper pixel is the one that takes
  Crossing crossing;
  PairView view;
};

template <class T>
class PairAnalysis {
 public:
  explicit PairAnalysis(const Scene<T>& scene) : s_(scene) {}

  // The pair of pixel (column, row) and its neighbour to the right or below. Their triangles differ.
  PairBlend operator()(int64_t view, int64_t column, int64_t row, bool vertical) const {
    const int64_t first = (view * s_.height + row) * s_.width + column;
    const int64_t second = first + (vertical ? s_.width : 1);
    const int32_t t0 = checked(s_.frag_tri[first]), t1 = checked(s_.frag_tri[second]);
    const bool first_in_front = t1 < 0 || (t0 >= 0 && s_.depth[first] <= s_.depth[second]);
    const int32_t front = first_in_front ? t0 : t1, other = first_in_front ? t1 : t0;
    PairBlend blend;
    blend.view = make_pair_view(column + (!vertical && !first_in_front), row + (vertical && !first_in_front),
                                s_.width, s_.height, vertical, first_in_front);
    const SurfaceView<T> surface = s_.surface(view);
    blend.crossing = s_.unbounded ? find_own_edge(surface, front, blend.view)
                                  : find_outline(surface, front, other, blend.view);
    if (blend.crossing.triangle < 0) return blend;
    const double signed_weight = 0.5 - blend.crossing.distance;  // positive: the front pixel takes
    blend.first_takes = (signed_weight > 0) == first_in_front;
    blend.weight = magnitude(signed_weight);
    return blend;
  }

 private:
  int32_t checked(int32_t triangle) const {
    if (LG_UNLIKELY(triangle >= s_.triangles)) {
      throw InvalidArgument("frags.tri holds triangle %d, but tri has %lld triangles", static_cast<int>(triangle),
                            static_cast<long long>(s_.triangles));
    }
    return triangle;
  }

  const Scene<T>& s_;
};

// The lanes of the sixteen pixels from `column` that lie in marked cells.
uint32_t marked_lanes(const CellMark* marks, uint8_t wanted, int64_t column) {
  static_assert(cell_size == 4, "four cells make sixteen pixels");
  uint32_t lanes = 0;
  for (int i = 0; i < 4; ++i) {
    lanes |= marks[column / cell_size + i].load(std::memory_order_relaxed) & wanted ? 0xfu << (4 * i) : 0;
  }
  return lanes;
}

// Calls found(column) where a[column] != b[column] in a marked cell, in order.
template <class Found>
void for_differences(const int32_t* a, const int32_t* b, int64_t count, const CellMark* marks, uint8_t wanted,
                     Found&& found) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const uint32_t marked = marked_lanes(marks, wanted, i);
    if (!marked) continue;
    for (uint32_t lanes = different_lanes(a + i, b + i) & marked; lanes; lanes &= lanes - 1) {
      found(i + lowest_lane(lanes));
    }
  }
  for (; i < count; ++i) {
    if (a[i] != b[i]) found(i);
  }
}

// ---- Rows -----------------------------------------------------------------------------------------------

enum Side { right, left, below, above };  // where the colour comes from

struct PixelBlend {
  double weight[4];
  bool listed;
};

// The pixels of one row that take colour from a neighbour.
class RowBlends {
 public:
  explicit RowBlends(int64_t width) : blends_(static_cast<size_t>(width), PixelBlend{}) {}

  void add(int64_t column, Side side, double weight) {
    PixelBlend& blend = blends_[column];
    blend.weight[side] = weight;
    if (!blend.listed) columns_.push_back(column);
    blend.listed = true;
  }

  // Calls use(column, weights) for every listed pixel in the order of listing, and forgets them.
  template <class Use>
  void consume(Use&& use) {
    for (int64_t column : columns_) {
      use(column, blends_[column].weight);
      blends_[column] = PixelBlend{};
    }
    columns_.clear();
  }

 private:
  std::vector<PixelBlend> blends_;
  std::vector<int64_t> columns_;
};

// Goes through the rows [begin, end) of a view, collecting each row's blends and handing them to
// use(row, blends) when they are complete.
template <class T>
class BandScanner {
 public:
  explicit BandScanner(const Scene<T>& scene)
      : s_(scene), analyse_(scene), current_(scene.width), next_(scene.width) {}

  template <class Use>
  void scan(int64_t view, int64_t begin, int64_t end, Use&& use) {
    if (begin > 0) {
      scan_below(view, begin - 1);
      current_.consume([](int64_t, const double*) {});  // the row above belongs to another band
      std::swap(current_, next_);
    }
    for (int64_t row = begin; row < end; ++row) {
      scan_right(view, row);
      if (row + 1 < s_.height) scan_below(view, row);
      use(row, current_);
      std::swap(current_, next_);
    }
    current_.consume([](int64_t, const double*) {});
  }

 private:
  void scan_right(int64_t view, int64_t row) {
    const int32_t* ids = s_.frag_tri + (view * s_.height + row) * s_.width;
    CellMark* marks = s_.marks_of_row(view, row);
    for_differences(ids, ids + 1, s_.width - 1, marks, s_.wanted_mark, [&](int64_t column) {
      const PairBlend blend = analyse_(view, column, row, false);
      if (blend.weight == 0) return;
      note(marks, column);
      current_.add(blend.first_takes ? column : column + 1, blend.first_takes ? right : left, blend.weight);
    });
  }

  void scan_below(int64_t view, int64_t row) {
    const int32_t* ids = s_.frag_tri + (view * s_.height + row) * s_.width;
    CellMark* marks = s_.marks_of_row(view, row);
    for_differences(ids, ids + s_.width, s_.width, marks, s_.wanted_mark, [&](int64_t column) {
      const PairBlend blend = analyse_(view, column, row, true);
      if (blend.weight == 0) return;
      note(marks, column);
      (blend.first_takes ? current_ : next_).add(column, blend.first_takes ? below : above, blend.weight);
    });
  }

  static void note(CellMark* marks, int64_t column) {
    marks[column / cell_size].store(near_silhouette | blended, std::memory_order_relaxed);
  }

  const Scene<T>& s_;
  PairAnalysis<T> analyse_;
  RowBlends current_, next_;
};

// By how much a pixel's weights must be divided so that the blend stays within its colours.
double weight_sum(const double* weight, bool unbounded) {
  const double sum = weight[0] + weight[1] + weight[2] + weight[3];
  return !unbounded && sum > 1 ? sum : 1;
}

int64_t neighbour(int64_t pixel, int side, int64_t width) {
  const int64_t offset[4] = {1, -1, width, -width};
  return pixel + offset[side];
}

template <class T>
void forward(int32_t threads, const Scene<T>& s, T* out) {
  const int64_t bands = divide_up(s.height, band_rows), line = s.width * s.channels;
  std::vector<BandScanner<T>> scanners(static_cast<size_t>(std::max(1, threads)), BandScanner<T>(s));
  parallel_for(threads, s.views * bands, [&](int64_t task, int worker) {
    const int64_t view = task / bands, begin = task % bands * band_rows, end = std::min(s.height, begin + band_rows);
    scanners[worker].scan(view, begin, end, [&](int64_t row, RowBlends& blends) {
      const int64_t first = (view * s.height + row) * s.width;
      std::memcpy(out + first * s.channels, s.color + first * s.channels, sizeof(T) * line);
      blends.consume([&](int64_t column, const double* weight) {
        const double total = weight_sum(weight, s.unbounded);
        const T* here = s.color + (first + column) * s.channels;
        T* target = out + (first + column) * s.channels;
        for (int side = 0; side < 4; ++side) {
          if (weight[side] == 0) continue;
          const T w = static_cast<T>(weight[side] / total);
          const T* other = s.color + neighbour(first + column, side, s.width) * s.channels;
          for (int64_t c = 0; c < s.channels; ++c) target[c] += w * (other[c] - here[c]);
        }
      });
    });
  });
}

// ---- Backward -------------------------------------------------------------------------------------------

template <class T>
class BackwardBand {
 public:
  BackwardBand(const Scene<T>& s, const T* grad_out, T* grad_color, TriangleGradients<T>* records)
      : s_(s), analyse_(s), grad_out_(grad_out), grad_color_(grad_color), records_(records) {}

  void pixel(int64_t view, int64_t row, int64_t column, const double* weight, int worker) {
    const int64_t here = (view * s_.height + row) * s_.width + column;
    const double total = weight_sum(weight, s_.unbounded);
    double through[4] = {0, 0, 0, 0}, mean = 0;  // d loss / d (weight / total), and their weighted sum
    for (int side = 0; side < 4; ++side) {
      if (weight[side] == 0) continue;
      through[side] = blend_colors(here, neighbour(here, side, s_.width), weight[side] / total);
      mean += through[side] * weight[side] / total;
    }
    if (!records_) return;
    const bool divided = weight_sum(weight, s_.unbounded) > 1;
    for (int side = 0; side < 4; ++side) {
      if (weight[side] == 0) continue;
      const double grad = divided ? (through[side] - mean) / total : through[side];
      move_edge(view, row - (side == above), column - (side == left), side >= below, grad, worker);
    }
  }

 private:
  // Moves gradient from the pixel that takes to the one that gives. Returns d loss / d weight.
  double blend_colors(int64_t here, int64_t other, double weight) {
    double through = 0;
    const int64_t n = s_.channels;
    for (int64_t c = 0; c < n; ++c) {
      const T grad = grad_out_[here * n + c];
      through += static_cast<double>(grad) * (static_cast<double>(s_.color[other * n + c]) - s_.color[here * n + c]);
      if (grad_color_) {
        const T moved = static_cast<T>(weight) * grad;
        grad_color_[here * n + c] -= moved;
        grad_color_[other * n + c] += moved;
      }
    }
    return through;
  }

  void move_edge(int64_t view, int64_t row, int64_t column, bool vertical, double grad_weight, int worker) {
    const PairBlend blend = analyse_(view, column, row, vertical);
    if (blend.crossing.clamped) return;
    const double grad = blend.crossing.distance < 0.5 ? -grad_weight : grad_weight;
    const int a = (blend.crossing.edge + 1) % 3, b = (blend.crossing.edge + 2) % 3;
    const int32_t triangle = blend.crossing.triangle;
    const SurfaceView<T> surface = s_.surface(view);
    double grad_a[4], grad_b[4];
    crossing_gradients(surface.corner(triangle, a), surface.corner(triangle, b), blend.view, grad_a, grad_b);
    T* record = records_->values(worker, records_->find(worker, triangle));
    for (int i = 0; i < 4; ++i) {
      record[4 * a + i] += static_cast<T>(grad * grad_a[i]);
      record[4 * b + i] += static_cast<T>(grad * grad_b[i]);
    }
  }

  const Scene<T>& s_;
  PairAnalysis<T> analyse_;
  const T* grad_out_;
  T* grad_color_;
  TriangleGradients<T>* records_;
};

template <class T>
void copy_gradient(int32_t threads, int64_t count, const T* from, T* to) {
  constexpr int64_t values_per_task = 1 << 15;
  parallel_for(threads, divide_up(count, values_per_task), [&](int64_t task, int) {
    const int64_t begin = task * values_per_task, end = std::min(count, begin + values_per_task);
    std::memcpy(to + begin, from + begin, sizeof(T) * (end - begin));
  });
}

template <class T>
void backward(int32_t threads, const Scene<T>& s, const T* grad_out, T* grad_color, T* grad_pos) {
  const int64_t bands = divide_up(s.height, band_rows);
  if (grad_color) copy_gradient(threads, s.views * s.height * s.width * s.channels, grad_out, grad_color);
  TriangleGradients<T> records(threads, s.views * bands, 12);
  BackwardBand<T> work(s, grad_out, grad_color, grad_pos ? &records : nullptr);
  std::vector<BandScanner<T>> scanners(static_cast<size_t>(std::max(1, threads)), BandScanner<T>(s));
  // A band also writes to the last row above and the first row below it, so that bands go in two rounds
  // within which no two of them meet.
  for (int64_t round = 0; round < 2; ++round) {
    const int64_t in_round = (bands - round + 1) / 2;
    parallel_for(threads, s.views * in_round, [&](int64_t task, int worker) {
      const int64_t view = task / in_round, band = task % in_round * 2 + round;
      const int64_t begin = band * band_rows, end = std::min(s.height, begin + band_rows);
      records.begin_chunk(view * bands + band, worker, view);
      scanners[worker].scan(view, begin, end, [&](int64_t row, RowBlends& blends) {
        blends.consume([&](int64_t column, const double* weight) { work.pixel(view, row, column, weight, worker); });
      });
      records.end_chunk(view * bands + band, worker);
    });
  }
  if (grad_pos) records.scatter(threads, s.tri, s.vertices, s.views, s.shared, 4, grad_pos);
}

template <class T>
Scene<T> make_scene(const void* color, const int32_t* frag_tri, const void* depth, const void* pos,
                    const int32_t* tri, const int32_t* topology, int32_t shared, int64_t views, int64_t vertices,
                    int64_t triangles, int64_t height, int64_t width, int64_t channels, int32_t unbounded,
                    const uint8_t* flags, void* marks, uint8_t wanted_mark) {
  return {static_cast<const T*>(color), frag_tri, static_cast<const T*>(depth), static_cast<const T*>(pos),
          tri, topology, shared != 0, views, vertices, triangles, height, width, channels, unbounded != 0, flags,
          static_cast<CellMark*>(marks), wanted_mark};
}

}  // namespace
}  // namespace lg

int32_t lg_antialias_forward(int32_t threads, int32_t dtype, const void* color, const int32_t* frag_tri,
                             const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                             int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                             int64_t height, int64_t width, int64_t channels, int32_t unbounded, void* out,
                             uint8_t* out_flags, uint8_t* out_marks) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene =
        lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views, vertices, triangles,
                          height, width, channels, unbounded, out_flags, out_marks, lg::near_silhouette);
    lg::make_flags(threads, scene, out_flags);
    lg::CellMarker<T>(scene).mark(threads);
    lg::forward(threads, scene, static_cast<T*>(out));
  });
}

int32_t lg_antialias_backward(int32_t threads, int32_t dtype, const void* color, const int32_t* frag_tri,
                              const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                              const uint8_t* flags, uint8_t* marks, int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int64_t channels, int32_t unbounded,
                              const void* grad_out, void* grad_color, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene =
        lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views, vertices, triangles,
                          height, width, channels, unbounded, flags, marks, lg::blended);
    lg::backward(threads, scene, static_cast<const T*>(grad_out), static_cast<T*>(grad_color),
                 static_cast<T*>(grad_pos));
  });
}
