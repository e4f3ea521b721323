// antialias on the CPU. Rows are scanned for neighbours with different triangles; only where one of them
// has a silhouette edge is anything computed. Memory goes with the image's width and the silhouette, not
// with its area.
#include "antialias/antialias.h"

#include <algorithm>
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

  int64_t geometry_views() const { return shared ? 1 : views; }
  const uint8_t* flags_of(int64_t view) const { return flags + (shared ? 0 : view * triangles); }
  const T* position(int64_t view, int32_t v) const {
    return pos + ((shared ? 0 : view * vertices) + v) * 4;
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

template <class T>
void make_flags(int32_t threads, const Scene<T>& s, uint8_t* flags) {
  constexpr int64_t triangles_per_task = 4096;
  const int64_t tasks_per_view = divide_up(s.triangles, triangles_per_task);
  Buffer<uint8_t> facing(static_cast<size_t>(s.geometry_views() * s.triangles));
  const auto for_triangles = [&](auto&& body) {
    parallel_for(threads, s.geometry_views() * tasks_per_view, [&](int64_t task, int) {
      const int64_t view = task / tasks_per_view, begin = task % tasks_per_view * triangles_per_task;
      const int64_t end = std::min(s.triangles, begin + triangles_per_task);
      for (int64_t t = begin; t < end; ++t) body(view, t);
    });
  };
  for_triangles([&](int64_t view, int64_t t) {
    check_triangle(s, t);
    const int32_t* index = s.tri + 3 * t;
    facing[view * s.triangles + t] =
        facing_flag(s.position(view, index[0]), s.position(view, index[1]), s.position(view, index[2]));
  });
  for_triangles([&](int64_t view, int64_t t) {
    const uint8_t* of_view = facing.data() + view * s.triangles;
    uint8_t flag = of_view[t];
    for (int k = 0; k < 3; ++k) flag |= static_cast<uint8_t>(is_silhouette(s.topology, of_view, t, k) << k);
    flags[view * s.triangles + t] = flag;
  });
}

// ---- One pair -------------------------------------------------------------------------------------------

// A silhouette crossing between two neighbours: how much of its neighbour's colour a pixel takes.
struct PairBlend {
  double weight = 0;  // zero: nothing to do
  bool first_takes;   // the left or upper pixel is the one that takes
  int32_t triangle;   // in front
  Crossing crossing;
  PairView view;
};

template <class T>
class PairAnalysis {
 public:
  explicit PairAnalysis(const Scene<T>& scene) : s_(scene) {}

  // The pair of pixel (column, row) and its neighbour to the right or below. Their triangles differ.
  PairBlend operator()(int64_t view, int64_t column, int64_t row, bool vertical) const {
    PairBlend blend;
    const int64_t first = (view * s_.height + row) * s_.width + column;
    const int64_t second = first + (vertical ? s_.width : 1);
    const int32_t t0 = s_.frag_tri[first], t1 = s_.frag_tri[second];
    const uint8_t* flags = s_.flags_of(view);
    const uint8_t f0 = flag_of(flags, t0), f1 = flag_of(flags, t1);
    if (!((f0 | f1) & silhouette_edges)) return blend;
    const bool first_in_front = t1 < 0 || (t0 >= 0 && s_.depth[first] <= s_.depth[second]);
    const uint8_t front_flags = first_in_front ? f0 : f1;
    if (!(front_flags & silhouette_edges)) return blend;
    blend.triangle = first_in_front ? t0 : t1;
    blend.view = make_pair_view(column + (!vertical && !first_in_front), row + (vertical && !first_in_front),
                                s_.width, s_.height, vertical, first_in_front);
    const T* corner[3];
    for (int k = 0; k < 3; ++k) corner[k] = s_.position(view, s_.tri[3 * static_cast<int64_t>(blend.triangle) + k]);
    blend.crossing = find_crossing(corner, front_flags, blend.view, s_.unbounded);
    if (blend.crossing.edge < 0) return blend;
    const double signed_weight = 0.5 - blend.crossing.distance;  // positive: the front pixel takes
    blend.first_takes = (signed_weight > 0) == first_in_front;
    blend.weight = signed_weight < 0 ? -signed_weight : signed_weight;
    return blend;
  }

 private:
  uint8_t flag_of(const uint8_t* flags, int32_t triangle) const {
    if (triangle < 0) return 0;
    if (LG_UNLIKELY(triangle >= s_.triangles)) {
      throw InvalidArgument("frags.tri holds triangle %d, but tri has %lld triangles", static_cast<int>(triangle),
                            static_cast<long long>(s_.triangles));
    }
    return flags[triangle];
  }

  const Scene<T>& s_;
};

// Calls found(column) where a[column] != b[column], in order.
template <class Found>
void for_differences(const int32_t* a, const int32_t* b, int64_t count, Found&& found) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (uint32_t lanes = different_lanes(a + i, b + i); lanes; lanes &= lanes - 1) found(i + lowest_lane(lanes));
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
    for_differences(ids, ids + 1, s_.width - 1, [&](int64_t column) {
      const PairBlend blend = analyse_(view, column, row, false);
      if (blend.weight == 0) return;
      current_.add(blend.first_takes ? column : column + 1, blend.first_takes ? right : left, blend.weight);
    });
  }

  void scan_below(int64_t view, int64_t row) {
    const int32_t* ids = s_.frag_tri + (view * s_.height + row) * s_.width;
    for_differences(ids, ids + s_.width, s_.width, [&](int64_t column) {
      const PairBlend blend = analyse_(view, column, row, true);
      if (blend.weight == 0) return;
      (blend.first_takes ? current_ : next_).add(column, blend.first_takes ? below : above, blend.weight);
    });
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
    const int32_t* index = s_.tri + 3 * static_cast<int64_t>(blend.triangle);
    double grad_a[4], grad_b[4];
    crossing_gradients(s_.position(view, index[a]), s_.position(view, index[b]), blend.view, grad_a, grad_b);
    T* record = records_->record(worker, blend.triangle);
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
                    const uint8_t* flags) {
  return {static_cast<const T*>(color), frag_tri, static_cast<const T*>(depth), static_cast<const T*>(pos),
          tri, topology, shared != 0, views, vertices, triangles, height, width, channels, unbounded != 0, flags};
}

}  // namespace
}  // namespace lg

int32_t lg_antialias_forward(int32_t threads, int32_t dtype, const void* color, const int32_t* frag_tri,
                             const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                             int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                             int64_t height, int64_t width, int64_t channels, int32_t unbounded, void* out,
                             uint8_t* out_flags) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views,
                                         vertices, triangles, height, width, channels, unbounded, out_flags);
    lg::make_flags(threads, scene, out_flags);
    lg::forward(threads, scene, static_cast<T*>(out));
  });
}

int32_t lg_antialias_backward(int32_t threads, int32_t dtype, const void* color, const int32_t* frag_tri,
                              const void* depth, const void* pos, const int32_t* tri, const uint8_t* flags,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int64_t channels, int32_t unbounded,
                              const void* grad_out, void* grad_color, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::make_scene<T>(color, frag_tri, depth, pos, tri, nullptr, shared_positions, views,
                                         vertices, triangles, height, width, channels, unbounded, flags);
    lg::backward(threads, scene, static_cast<const T*>(grad_out), static_cast<T*>(grad_color),
                 static_cast<T*>(grad_pos));
  });
}
