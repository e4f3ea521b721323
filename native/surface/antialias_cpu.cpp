// antialias on the CPU. Silhouette edges are followed over the image, which gives the pairs of neighbouring
// pixels that one of them passes between; only those are searched. Memory goes with the silhouettes and with
// the image's width, not with its area.
#include "surface/antialias.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "lumigrad.h"
#include "math/bits.h"
#include "parallel/triangle_gradients.h"
#include "runtime/memory.h"
#include "runtime/threads.h"
#include "surface/silhouette_pairs.h"
#include "surface/silhouettes_cpu.h"

namespace lg {
namespace {

constexpr int64_t band_rows = 16;  // at least 2: see backward()

// ---- Pairs next to silhouettes ----------------------------------------------------------------------------

// A pair of neighbouring pixels of one view as one number, ordered by row and column of its first pixel.
using PairKey = uint64_t;

inline PairKey pair_key(int64_t row, int64_t column, bool vertical) {
  return static_cast<PairKey>(row) << 32 | static_cast<PairKey>(column) << 1 | static_cast<PairKey>(vertical);
}

struct Pair {
  int64_t view, row, column;
  bool vertical;
};

// One bit for each pair of a band: sorts the pairs and drops repeated ones on the way.
class BandMarks {
 public:
  explicit BandMarks(int64_t width) : words_per_row_(divide_up(2 * width, 64)), words_(words_per_row_ * band_rows, 0) {}

  void set(int64_t row, int64_t column, bool vertical) {
    const int64_t bit = 2 * column + vertical;
    words_[row * words_per_row_ + bit / 64] |= uint64_t{1} << (bit % 64);
  }

  // Calls use(row, column, vertical) for every mark in order, and clears it.
  template <class Use>
  void consume(Use&& use) {
    for (size_t i = 0; i < words_.size(); ++i) {
      if (LG_LIKELY(words_[i] == 0)) continue;
      const int64_t row = static_cast<int64_t>(i) / words_per_row_,
                    first = static_cast<int64_t>(i) % words_per_row_ * 64;
      for (uint64_t rest = words_[i]; rest; rest &= rest - 1) {
        const int64_t bit = first + lowest_bit(rest);
        use(row, bit / 2, (bit & 1) != 0);
      }
      words_[i] = 0;
    }
  }

 private:
  const int64_t words_per_row_;
  std::vector<uint64_t> words_;
};

// What the forward pass keeps for the backward pass of the same image, which then need not search: for every band where
// its pairs with a crossing end in the list, and the list of their keys. Or a first -1, where there is no room for it.
template <class Number>
struct PairNotes {
  Number* numbers;
  int64_t capacity;
};

// The pairs that may hold a crossing, band by band. A pair belongs to the band of its first pixel.
template <class T>
class PairList {
 public:
  // notes: those of the forward pass, if it has been; the pairs are searched where they do not say them.
  PairList(int32_t threads, const AntialiasScene<T>& scene, const PairNotes<const int64_t>& notes = {nullptr, 0})
      : s_(scene), bands_per_view_(divide_up(scene.height, band_rows)), first_(scene.views * bands_per_view_ + 1) {
    if (!read(notes)) search(threads);
  }

  // Writes down the pairs that turned out to have a crossing, band by band; zeros behind them.
  static void keep(const std::vector<Array<PairKey>>& crossed, const PairNotes<int64_t>& notes) {
    const auto bands = static_cast<int64_t>(crossed.size());
    int64_t count = 0;
    for (const Array<PairKey>& keys : crossed) count += static_cast<int64_t>(keys.size());
    const bool fits = bands + count <= notes.capacity;
    int64_t* next = notes.numbers;
    for (int64_t band = 0, last = 0; fits && band < bands; ++band) {
      *next++ = last += static_cast<int64_t>(crossed[band].size());
    }
    for (int64_t band = 0; fits && band < bands; ++band) {
      next = std::copy_n(crossed[band].data(), crossed[band].size(), next);
    }
    if (!fits && notes.capacity > 0) *next++ = -1;
    std::fill(next, notes.numbers + notes.capacity, 0);
  }

  int64_t bands() const { return s_.views * bands_per_view_; }
  int64_t bands_per_view() const { return bands_per_view_; }

  // Calls use(pair) for the pairs of a band, each once, in order.
  template <class Use>
  void for_band(int64_t band, BandMarks& marks, Use&& use) const {
    const int64_t view = band / bands_per_view_, first_row = band % bands_per_view_ * band_rows;
    for (int64_t i = first_[band]; i < first_[band + 1]; ++i) {
      const Pair pair = pair_of(keys_[i], view);
      marks.set(pair.row - first_row, pair.column, pair.vertical);
      prefetch(pair);
    }
    marks.consume(
        [&](int64_t row, int64_t column, bool vertical) { use(Pair{view, first_row + row, column, vertical}); });
  }

  // The same for the vertical pairs of a band's last row.
  template <class Use>
  void for_last_row(int64_t band, BandMarks& marks, Use&& use) const {
    const int64_t view = band / bands_per_view_, last_row = (band % bands_per_view_ + 1) * band_rows - 1;
    for (int64_t i = first_[band]; i < first_[band + 1]; ++i) {
      const Pair pair = pair_of(keys_[i], view);
      if (pair.vertical && pair.row == last_row) marks.set(0, pair.column, true);
    }
    marks.consume([&](int64_t, int64_t column, bool) { use(Pair{view, last_row, column, true}); });
  }

 private:
  // The pairs that one task found in one view.
  struct Found {
    int64_t view = 0;
    Array<PairKey> keys;
  };

  static Pair pair_of(PairKey key, int64_t view) {
    return {view, static_cast<int64_t>(key >> 32), static_cast<int64_t>((key & 0xffffffffu) >> 1), (key & 1) != 0};
  }

  void search(int32_t threads) {
    std::fill(first_.begin(), first_.end(), 0);
    place(s_.unbounded ? differing_pairs(threads) : pairs_at_silhouettes(threads));
  }

  // Returns whether the notes hold the list of an image of this size.
  bool read(const PairNotes<const int64_t>& notes) {
    if (notes.capacity < bands() || bands() == 0) return false;
    for (int64_t band = 0; band < bands(); ++band) {
      first_[band + 1] = notes.numbers[band];
      if (first_[band + 1] < first_[band] || first_[band + 1] > notes.capacity - bands()) return false;
    }
    keys_ = Buffer<PairKey>(static_cast<size_t>(first_[bands()]));
    std::copy_n(notes.numbers + bands(), first_[bands()], keys_.data());
    for (int64_t band = 0; band < bands(); ++band) {
      for (int64_t i = first_[band]; i < first_[band + 1]; ++i) {
        if (!is_in_band(pair_of(keys_[i], 0), band % bands_per_view_)) return false;
      }
    }
    return true;
  }

  bool is_in_band(const Pair& pair, int64_t band_in_view) const {
    return pair.row / band_rows == band_in_view && pair.row + pair.vertical < s_.height &&
           pair.column + !pair.vertical < s_.width;
  }

  int64_t band_of(int64_t view, PairKey key) const {
    return view * bands_per_view_ + static_cast<int64_t>(key >> 32) / band_rows;
  }

  // nvdiffrast's rule allows a crossing anywhere: all pairs whose pixels see different triangles.
  std::vector<Found> differing_pairs(int32_t threads) const {
    std::vector<Found> found(static_cast<size_t>(s_.views * s_.height));
    parallel_for(threads, s_.views * s_.height, [&](int64_t line, int) {
      const int64_t row = line % s_.height;
      const int32_t* ids = s_.frag_tri + line * s_.width;
      Array<PairKey>& keys = found[line].keys;
      found[line].view = line / s_.height;
      for (int64_t x = 0; x < s_.width; ++x) {
        if (x + 1 < s_.width && ids[x] != ids[x + 1]) keys.push_back(pair_key(row, x, false));
        if (row + 1 < s_.height && ids[x] != ids[x + s_.width]) keys.push_back(pair_key(row, x, true));
      }
    });
    return found;
  }

  std::vector<Found> pairs_at_silhouettes(int32_t threads) const {
    const int64_t tasks_per_view = divide_up(s_.triangles, triangles_per_task);
    std::vector<Found> found(static_cast<size_t>(s_.views * tasks_per_view));
    parallel_for(threads, s_.views * tasks_per_view, [&](int64_t task, int) {
      const int64_t view = task / tasks_per_view, begin = task % tasks_per_view * triangles_per_task;
      const int64_t end = std::min(s_.triangles, begin + triangles_per_task);
      const SurfaceView<T> surface = s_.surface(view);
      found[task].view = view;
      for_marked(surface.flags, begin, end, [&](int64_t t) {
        for (int k = 0; k < 3; ++k) {
          if (!is_followed(surface, t, k)) continue;
          follow(surface.corner(t, (k + 1) % 3), surface.corner(t, (k + 2) % 3), found[task].keys);
        }
      });
    });
    return found;
  }

  // Calls body(triangle) for the triangles with silhouette edges. They are few: flags are looked at eight at a time.
  template <class Body>
  static void for_marked(const uint8_t* flags, int64_t begin, int64_t end, Body&& body) {
    constexpr uint64_t eight_edges = 0x0101010101010101u * silhouette_edges;
    int64_t t = begin;
    for (; t + 8 <= end; t += 8) {
      uint64_t eight;
      std::memcpy(&eight, flags + t, 8);
      if (!(eight & eight_edges)) continue;
      for (int64_t i = t; i < t + 8; ++i) {
        if (flags[i] & silhouette_edges) body(i);
      }
    }
    for (; t < end; ++t) {
      if (flags[t] & silhouette_edges) body(t);
    }
  }

  // Of an edge that is a silhouette for both of its triangles the first one sees to it.
  static bool is_followed(const SurfaceView<T>& surface, int64_t t, int k) {
    if (!(surface.flags[t] & (1 << k))) return false;
    const auto here = static_cast<uint32_t>(3 * t + k), other = static_cast<uint32_t>(surface.topology[here]) >> 1;
    return other >= here || !(surface.flags[other / 3] & (1 << other % 3));
  }

  // Collects the pairs that the edge from a to b passes between.
  void follow(const T* a, const T* b, Array<PairKey>& found) const {
    const EdgeSpans spans = make_edge_spans(a, b, s_.height, s_.width);
    for_pairs(spans.rows, s_.width,
              [&](int64_t row, int64_t column) { found.push_back(pair_key(row, column, false)); });
    for_pairs(spans.columns, s_.height,
              [&](int64_t column, int64_t row) { found.push_back(pair_key(row, column, true)); });
  }

  // Calls use(line, place) for the pairs (place, place + 1) on the lines of a span.
  template <class Use>
  static void for_pairs(const LineSpan& span, int64_t places, Use&& use) {
    for (int64_t line = span.first; line <= span.last; ++line) {
      const PlaceRange range = places_on_line(span, line, places);
      for (int64_t place = range.first; place <= range.last; ++place) use(line, place);
    }
  }

  // Silhouettes wander over the image as no hardware foresees.
  void prefetch(const Pair& pair) const {
    const int64_t first = (pair.view * s_.height + pair.row) * s_.width + pair.column;
    const int64_t second = first + (pair.vertical ? s_.width : 1);
    for (const int64_t pixel : {first, second}) {
      LG_PREFETCH(s_.frag_tri + pixel);
      LG_PREFETCH(s_.depth + pixel);
    }
  }

  void place(const std::vector<Found>& found) {
    for (const Found& f : found) {
      for (size_t i = 0; i < f.keys.size(); ++i) ++first_[band_of(f.view, f.keys[i]) + 1];
    }
    for (int64_t band = 0; band < bands(); ++band) first_[band + 1] += first_[band];
    keys_ = Buffer<PairKey>(static_cast<size_t>(first_[bands()]));
    std::vector<int64_t> cursor(first_.begin(), first_.end() - 1);
    for (const Found& f : found) {
      for (size_t i = 0; i < f.keys.size(); ++i) keys_[cursor[band_of(f.view, f.keys[i])]++] = f.keys[i];
    }
  }

  const AntialiasScene<T>& s_;
  const int64_t bands_per_view_;
  std::vector<int64_t> first_;  // of each band, into keys_
  Buffer<PairKey> keys_;
};

// ---- One pair -------------------------------------------------------------------------------------------

// A silhouette crossing between two neighbours: how much of its neighbour's colour a pixel takes.
struct PairBlend {
  double weight = 0;        // zero: nothing to do
  bool first_takes = true;  // the left or upper pixel is the one that takes
  Crossing crossing;
};

template <class T>
class PairAnalysis {
 public:
  explicit PairAnalysis(const AntialiasScene<T>& scene) : s_(scene) {}

  // How the pair's pixels blend; weight zero if they do not.
  PairBlend operator()(const Pair& pair) const {
    const auto [view, row, column, vertical] = pair;
    const int64_t first = (view * s_.height + row) * s_.width + column;
    const int64_t second = first + (vertical ? s_.width : 1);
    const int32_t t0 = checked(s_.frag_tri[first]), t1 = checked(s_.frag_tri[second]);
    if (t0 == t1 || (t0 < 0 && t1 < 0)) return {};
    const bool first_in_front = t1 < 0 || (t0 >= 0 && s_.depth[first] <= s_.depth[second]);
    const int32_t front = first_in_front ? t0 : t1, other = first_in_front ? t1 : t0;
    PairBlend blend;
    const PairView from_front =
        make_pair_view(column + (!vertical && !first_in_front), row + (vertical && !first_in_front), s_.width,
                       s_.height, vertical, first_in_front);
    const SurfaceView<T> surface = s_.surface(view);
    blend.crossing =
        s_.unbounded ? find_own_edge(surface, front, from_front) : find_outline(surface, front, other, from_front);
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

  const AntialiasScene<T>& s_;
};

// ---- Rows -----------------------------------------------------------------------------------------------

enum Side { right, left, below, above };  // where the colour comes from

struct PixelBlend {
  int64_t column;
  double weight[4];  // by side; zero: nothing from there
  Crossing crossing[4];
};

// The pixels of one row that take colour from a neighbour.
class RowBlends {
 public:
  explicit RowBlends(int64_t width) : place_(static_cast<size_t>(width), -1) {}

  void add(int64_t column, Side side, double weight, const Crossing& crossing) {
    int32_t& place = place_[column];
    if (place < 0) {
      place = static_cast<int32_t>(blends_.size());
      blends_.push_back(PixelBlend{column, {0, 0, 0, 0}, {}});
    }
    blends_[place].weight[side] = weight;
    blends_[place].crossing[side] = crossing;
  }

  // Calls use(blend) for every pixel in the order in which they were first added, and forgets them.
  template <class Use>
  void consume(Use&& use) {
    for (const PixelBlend& blend : blends_) {
      use(blend);
      place_[blend.column] = -1;
    }
    blends_.clear();
  }

 private:
  std::vector<int32_t> place_;  // of each column, in blends_; -1: none
  Array<PixelBlend> blends_;
};

// Goes through the rows of a band, collecting each row's blends and handing them to use(view, row, blends)
// when they are complete.
template <class T>
class BandScanner {
 public:
  explicit BandScanner(const AntialiasScene<T>& scene)
      : s_(scene), analyse_(scene), current_(scene.width), next_(scene.width), marks_(scene.width) {}

  // crossed: gets the band's pairs with a crossing, unless null.
  template <class Use>
  void scan(const PairList<T>& pairs, int64_t band, Array<PairKey>* crossed, Use&& use) {
    const int64_t view = band / pairs.bands_per_view(), begin = band % pairs.bands_per_view() * band_rows;
    const int64_t end = std::min(s_.height, begin + band_rows);
    int64_t row = begin;
    const auto advance_to = [&](int64_t to) {
      for (; row < to; ++row) {
        use(view, row, current_);
        std::swap(current_, next_);
      }
    };
    // The last row of the band above may lend colour to the first of this one.
    if (begin > 0) {
      pairs.for_last_row(band - 1, marks_, [&](const Pair& pair) { add(pair, nullptr, &current_); });
    }
    pairs.for_band(band, marks_, [&](const Pair& pair) {
      advance_to(pair.row);
      RowBlends* below = pair.row + 1 == end ? nullptr : &next_;
      const bool blends = add(pair, &current_, pair.vertical ? below : &current_);
      if (crossed && blends) crossed->push_back(pair_key(pair.row, pair.column, pair.vertical));
    });
    advance_to(end);
  }

 private:
  // first_row, second_row: where the blends of the pair's pixels go; null: another band sees to them. Returns whether
  // the pair has a crossing.
  bool add(const Pair& pair, RowBlends* first_row, RowBlends* second_row) const {
    const PairBlend blend = analyse_(pair);
    if (blend.weight == 0) return false;
    RowBlends* row = blend.first_takes ? first_row : second_row;
    const Side side = blend.first_takes ? (pair.vertical ? below : right) : (pair.vertical ? above : left);
    if (row) row->add(pair.column + (side == left), side, blend.weight, blend.crossing);
    return true;
  }

  const AntialiasScene<T>& s_;
  PairAnalysis<T> analyse_;
  RowBlends current_, next_;
  BandMarks marks_;
};

// One for each worker.
template <class T>
std::vector<BandScanner<T>> make_scanners(int32_t threads, const AntialiasScene<T>& scene) {
  std::vector<BandScanner<T>> scanners;
  for (int i = 0; i < std::max(1, threads); ++i) scanners.emplace_back(scene);
  return scanners;
}

// By how much a pixel's weights must be divided so that the blend stays within its colours.
double weight_sum(const double* weight, bool unbounded) {
  const double sum = weight[0] + weight[1] + weight[2] + weight[3];
  return !unbounded && sum > 1 ? sum : 1;
}

int64_t neighbour(int64_t pixel, int side, int64_t width) {
  const int64_t offset[4] = {1, -1, width, -width};
  return pixel + offset[side];
}

// Adds to a pixel what it takes from its neighbours. color: of the image; target: the pixel's row of the result.
template <class T>
void blend_pixel(const AntialiasScene<T>& s, int64_t first, const PixelBlend& blend, T* row) {
  const double total = weight_sum(blend.weight, s.unbounded);
  const T* here = s.color + (first + blend.column) * s.channels;
  T* target = row + blend.column * s.channels;
  for (int side = 0; side < 4; ++side) {
    if (blend.weight[side] == 0) continue;
    const T w = static_cast<T>(blend.weight[side] / total);
    const T* other = s.color + neighbour(first + blend.column, side, s.width) * s.channels;
    for (int64_t c = 0; c < s.channels; ++c) target[c] += w * (other[c] - here[c]);
  }
}

template <class T>
void forward(int32_t threads, const AntialiasScene<T>& s, const PairNotes<int64_t>& notes, T* out) {
  const PairList<T> pairs(threads, s);
  std::vector<Array<PairKey>> crossed(static_cast<size_t>(pairs.bands()));
  std::vector<BandScanner<T>> scanners = make_scanners(threads, s);
  parallel_for(threads, pairs.bands(), [&](int64_t band, int worker) {
    scanners[worker].scan(pairs, band, &crossed[band], [&](int64_t view, int64_t row, RowBlends& blends) {
      const int64_t first = (view * s.height + row) * s.width;
      T* result = out + first * s.channels;
      std::copy_n(s.color + first * s.channels, s.width * s.channels, result);
      blends.consume([&](const PixelBlend& blend) { blend_pixel(s, first, blend, result); });
    });
  });
  PairList<T>::keep(crossed, notes);
}

// ---- Backward -------------------------------------------------------------------------------------------

template <class T>
class BackwardBand {
 public:
  BackwardBand(const AntialiasScene<T>& s, const T* grad_out, T* grad_color, TriangleGradients<T>* records)
      : s_(s), grad_out_(grad_out), grad_color_(grad_color), records_(records) {}

  void pixel(int64_t view, int64_t row, const PixelBlend& blend, int worker) {
    const double* weight = blend.weight;
    const int64_t here = (view * s_.height + row) * s_.width + blend.column;
    const double total = weight_sum(weight, s_.unbounded);
    double through[4] = {0, 0, 0, 0}, mean = 0;  // d loss / d (weight / total), and their weighted sum
    for (int side = 0; side < 4; ++side) {
      if (weight[side] == 0) continue;
      through[side] = blend_colors(here, neighbour(here, side, s_.width), weight[side] / total);
      mean += through[side] * weight[side] / total;
    }
    if (!records_) return;
    const bool divided = total > 1;
    for (int side = 0; side < 4; ++side) {
      if (weight[side] == 0) continue;
      const double grad = divided ? (through[side] - mean) / total : through[side];
      move_edge(view, row, blend.column, static_cast<Side>(side), blend.crossing[side], grad, worker);
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

  // The pixel at (view, row, column) takes colour from `side` because of a crossing.
  void move_edge(int64_t view, int64_t row, int64_t column, Side side, const Crossing& crossing, double grad_weight,
                 int worker) {
    if (crossing.clamped) return;
    // The weight is how far the crossing is from the middle; the pixel in front takes where it is nearer than that.
    const bool takes_in_front = crossing.distance < 0.5;
    const double grad = takes_in_front ? -grad_weight : grad_weight;
    const PairView pair = view_of_front(row, column, side, takes_in_front);
    const int a = (crossing.edge + 1) % 3, b = (crossing.edge + 2) % 3;
    const SurfaceView<T> surface = s_.surface(view);
    double grad_a[4], grad_b[4];
    crossing_gradients(surface.corner(crossing.triangle, a), surface.corner(crossing.triangle, b), pair, grad_a,
                       grad_b);
    T* record = records_->values(worker, records_->find(worker, crossing.triangle));
    for (int i = 0; i < 4; ++i) {
      record[4 * a + i] += static_cast<T>(grad * grad_a[i]);
      record[4 * b + i] += static_cast<T>(grad * grad_b[i]);
    }
  }

  // The pair of the pixel and its neighbour to a side, seen from the one in front.
  PairView view_of_front(int64_t row, int64_t column, Side side, bool pixel_in_front) const {
    const bool vertical = side >= below, next = side == right || side == below;
    const int64_t step = pixel_in_front ? 0 : (next ? 1 : -1);
    return make_pair_view(column + (vertical ? 0 : step), row + (vertical ? step : 0), s_.width, s_.height, vertical,
                          next == pixel_in_front);
  }

  const AntialiasScene<T>& s_;
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
void backward(int32_t threads, const AntialiasScene<T>& s, const PairNotes<const int64_t>& notes, const T* grad_out,
              T* grad_color, T* grad_pos) {
  if (grad_color) copy_gradient(threads, s.views * s.height * s.width * s.channels, grad_out, grad_color);
  const PairList<T> pairs(threads, s, notes);
  const int64_t per_view = pairs.bands_per_view();
  TriangleGradients<T> records(threads, pairs.bands(), 12);
  BackwardBand<T> work(s, grad_out, grad_color, grad_pos ? &records : nullptr);
  std::vector<BandScanner<T>> scanners = make_scanners(threads, s);
  // A band also writes to the last row above and the first row below it, so that bands go in two rounds
  // within which no two of them meet.
  for (int64_t round = 0; round < 2; ++round) {
    const int64_t in_round = (per_view - round + 1) / 2;
    parallel_for(threads, s.views * in_round, [&](int64_t task, int worker) {
      const int64_t view = task / in_round, band = view * per_view + task % in_round * 2 + round;
      records.begin_chunk(band, worker, view);
      scanners[worker].scan(pairs, band, nullptr, [&](int64_t, int64_t row, RowBlends& blends) {
        blends.consume([&](const PixelBlend& blend) { work.pixel(view, row, blend, worker); });
      });
      records.end_chunk(band, worker);
    });
  }
  if (grad_pos) records.scatter(threads, s.tri, s.vertices, s.views, s.shared, 4, grad_pos);
}

template <class T>
AntialiasScene<T> make_scene(const void* color, const int32_t* frag_tri, const void* depth, const void* pos,
                             const int32_t* tri, const int32_t* topology, int32_t shared, int64_t views,
                             int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                             int32_t unbounded, const uint8_t* notes) {
  return {static_cast<const T*>(color),
          frag_tri,
          static_cast<const T*>(depth),
          static_cast<const T*>(pos),
          tri,
          topology,
          shared != 0,
          views,
          vertices,
          triangles,
          height,
          width,
          channels,
          unbounded != 0,
          notes};
}

// Behind the flags, which are a byte for every triangle. Number: int64_t, maybe const; notes: [bytes].
template <class Number, class T, class Byte>
PairNotes<Number> pair_notes(const AntialiasScene<T>& s, Byte* notes, int64_t bytes) {
  constexpr int64_t size = sizeof(Number);
  const int64_t flags = divide_up(s.geometry_views() * s.triangles, size) * size;
  const bool usable = bytes >= flags && reinterpret_cast<uintptr_t>(notes) % size == 0;
  return {reinterpret_cast<Number*>(notes + flags), usable ? (bytes - flags) / size : 0};
}

}  // namespace
}  // namespace lg

int32_t lg_antialias_forward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                             const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                             int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                             int64_t height, int64_t width, int64_t channels, int32_t unbounded, int64_t note_bytes,
                             void* out, uint8_t* out_notes) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views, vertices,
                                         triangles, height, width, channels, unbounded, out_notes);
    lg::make_flags(call->threads, scene, out_notes);
    lg::forward(call->threads, scene, lg::pair_notes<int64_t>(scene, out_notes, note_bytes), static_cast<T*>(out));
  });
}

int32_t lg_antialias_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                              const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                              const uint8_t* notes, int32_t shared_positions, int64_t views, int64_t vertices,
                              int64_t triangles, int64_t height, int64_t width, int64_t channels, int32_t unbounded,
                              int64_t note_bytes, const void* grad_out, void* grad_color, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views, vertices,
                                         triangles, height, width, channels, unbounded, notes);
    lg::backward(call->threads, scene, lg::pair_notes<const int64_t>(scene, notes, note_bytes),
                 static_cast<const T*>(grad_out), static_cast<T*>(grad_color), static_cast<T*>(grad_pos));
  });
}
