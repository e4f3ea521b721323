// The gradient of a grid from many rays, the same bit for bit for any number of threads: each value sums the
// contributions of rays in an order that depends only on the rays.
//
// A single thread adds as it marches. Several threads process chunks of rays in two phases: first each marches some of
// the rays and records their contributions; then each goes through the records and sums some tiles of the grid. A tile
// has all columns of some rows and slices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/block_cpu.h"
#include "field/volume.h"
#include "field/voxel_layout_cpu.h"
#include "math/bits.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::field {

// Rows and slices of a grid.
struct Span {
  int32_t first_row, end_row, first_slice, end_slice;

  bool meets(const Span& other) const {
    return first_row < other.end_row && other.first_row < end_row && first_slice < other.end_slice &&
           other.first_slice < end_slice;
  }
  bool contains(const Span& other) const {
    return first_row <= other.first_row && other.end_row <= end_row && first_slice <= other.first_slice &&
           other.end_slice <= end_slice;
  }
};

// The contributions of samples to the eight values around each of them: none if both numbers are zero.
template <class T>
struct Gifts {
  Places<T> places;
  OfSegments<T> density, weight;

  void clear() {
    std::fill_n(places.voxel.values, block_size, 0);
    for (OfSegments<T>* each : {&places.x, &places.y, &places.z, &density, &weight}) {
      std::fill_n(each->values, block_size, T(0));
    }
  }
  uint32_t bits(int i) const {
    const OfRays<T> none(T(0));
    return bits_of(!((density.row(i) == none) & (weight.row(i) == none)));
  }
};

// The contributions of some rays: parts for sixteen rays starting at number `first_ray`, or for that ray alone.
struct Turn {
  size_t first, count;  // of parts
  int64_t first_ray;
  int rays;  // 1 or at most sixteen

  int lane(int ray) const { return rays == 1 ? 0 : ray; }
};

template <class T>
class Trail {
 public:
  Array<Turn> turns;

  size_t size() const { return size_; }
  Gifts<T>& operator[](size_t part) { return parts_[part]; }
  const Gifts<T>& operator[](size_t part) const { return parts_[part]; }

  // Adds uninitialised parts and returns the first, or removes the last ones.
  Gifts<T>* extend(size_t count) {
    size_ += count;
    while (parts_.size() < size_) parts_.extend(1);
    return parts_.data() + (size_ - count);
  }
  void cut(size_t count) { size_ -= count; }
  void clear() {
    size_ = 0;
    turns.clear();
  }

 private:
  Array<Gifts<T>> parts_;
  size_t size_ = 0;
};

// Adds to the gradient of a grid. features: the gradients of the rays' features, or null.
template <class T, class Layout>
class AddToGrid {
 public:
  AddToGrid(const Volume<T>& volume, T* grid, const T* features) : volume_(volume), grid_(grid), features_(features) {}

  typename Layout::Given given(const Turn& turn) const {
    const int64_t count = volume_.channels - 1;
    return typename Layout::Given(volume_, [&](int r) {
      return features_ && r < turn.rays ? features_ + (turn.first_ray + r) * count : nullptr;
    });
  }

  // wanted(number): which of the four rows of values around a sample are wanted, as bits.
  template <class Wanted>
  LG_INLINE void add(const Turn& turn, const typename Layout::Given& given, const Gifts<T>& gifts,
                     Wanted&& wanted) const {
    const RowShares<T> shares(gifts.places);
    typename Layout::Adder adder(volume_);
    T* const grid = grid_;
    const int64_t channels = volume_.channels;
    for (int i = 0; i < block_depth; ++i) {
      for (uint32_t left = gifts.bits(i); left; left &= left - 1) {
        const int r = lowest_bit(left), j = block_rays * i + r;
        const unsigned rows = wanted(j);
        if (rows == 0) {
          adder.flush();  // as if the whole grid were wanted
          continue;
        }
        adder.add(given, turn.lane(r), shares, j, gifts.places.x[j], gifts.density[j], gifts.weight[j], rows,
                  grid + gifts.places.voxel[j] * channels);
      }
    }
    adder.flush();
  }

  void add_all(const Trail<T>& trail) const {
    for (size_t t = 0; t < trail.turns.size(); ++t) {
      const Turn& turn = trail.turns[t];
      const typename Layout::Given of_turn = given(turn);
      for (size_t p = turn.first; p < turn.first + turn.count; ++p) {
        add(turn, of_turn, trail[p], [](int) { return 15u; });
      }
    }
  }

 private:
  const Volume<T>& volume_;
  T* grid_;
  const T* features_;
};

// The positions of a trail's samples, for the threads that sum tiles.
template <class T>
class Notes {
 public:
  Trail<T>& trail() { return trail_; }

  void clear() {
    trail_.clear();
    rows_.clear();
    spans_.clear();
  }

  // Called when the trail is complete.
  void find_spans(const Volume<T>& v) {
    for (size_t p = 0; p < trail_.size(); ++p) {
      const Gifts<T>& gifts = trail_[p];
      RowsOf& rows = *rows_.extend(1);
      find_rows(v, gifts, rows);
      Span all = {INT32_MAX, 0, INT32_MAX, 0};
      for (int j = 0; j < block_size; ++j) {
        const bool gives = !(gifts.density[j] == 0 && gifts.weight[j] == 0);
        all.first_row = std::min(all.first_row, gives ? rows.row[j] : INT32_MAX);
        all.end_row = std::max(all.end_row, gives ? rows.row[j] : 0);
        all.first_slice = std::min(all.first_slice, gives ? rows.slice[j] : INT32_MAX);
        all.end_slice = std::max(all.end_slice, gives ? rows.slice[j] : 0);
      }
      all.end_row = std::min(all.end_row + 2, v.size[1]), all.end_slice = std::min(all.end_slice + 2, v.size[2]);
      spans_.push_back(all);
    }
  }

  template <class Layout>
  void add_up(const Volume<T>& v, const AddToGrid<T, Layout>& grid, const Span& tile) const {
    for (size_t t = 0; t < trail_.turns.size(); ++t) {
      const Turn& turn = trail_.turns[t];
      const auto meets = [&](const Span& span) { return span.meets(tile); };
      if (std::none_of(spans_.data() + turn.first, spans_.data() + turn.first + turn.count, meets)) continue;
      const typename Layout::Given of_turn = grid.given(turn);
      for (size_t p = turn.first; p < turn.first + turn.count; ++p) {
        const Gifts<T>& gifts = trail_[p];
        if (!spans_[p].meets(tile)) continue;
        if (tile.contains(spans_[p])) {
          grid.add(turn, of_turn, gifts, [](int) { return 15u; });
          continue;
        }
        uint8_t wanted[block_size];
        find_wanted(v, rows_[p], tile, wanted);
        grid.add(turn, of_turn, gifts, [&](int j) { return unsigned{wanted[j]}; });
      }
    }
  }

 private:
  struct RowsOf {
    int32_t row[block_size], slice[block_size];
  };

  static void find_rows(const Volume<T>& v, const Gifts<T>& gifts, RowsOf& out) {
    const double per_column = 1.0 / v.size[0], per_row = 1.0 / v.size[1];
    const int32_t *voxel = gifts.places.voxel.values, row_count = v.size[1];
    LG_VECTORIZE
    for (int j = 0; j < block_size; ++j) {  // half a voxel more, so that the rounding of the product does not matter
      const auto row = static_cast<int32_t>((voxel[j] + 0.5) * per_column);
      const auto slice = static_cast<int32_t>((row + 0.5) * per_row);
      out.row[j] = row - slice * row_count;
      out.slice[j] = slice;
    }
  }

  // The rows, of the four around each sample, that are in a tile.
  static void find_wanted(const Volume<T>& v, const RowsOf& of, const Span& tile, uint8_t* wanted) {
    const int32_t rows = v.size[1], slices = v.size[2];
    LG_VECTORIZE
    for (int j = 0; j < block_size; ++j) {
      const int32_t row = of.row[j], next_row = row + 1 < rows ? row + 1 : row;
      const int32_t slice = of.slice[j], next_slice = slice + 1 < slices ? slice + 1 : slice;
      const uint32_t near_rows = row >= tile.first_row && row < tile.end_row ? 5u : 0u;
      const uint32_t far_rows = next_row >= tile.first_row && next_row < tile.end_row ? 10u : 0u;
      const uint32_t near = slice >= tile.first_slice && slice < tile.end_slice ? 3u : 0u;
      const uint32_t far = next_slice >= tile.first_slice && next_slice < tile.end_slice ? 12u : 0u;
      wanted[j] = static_cast<uint8_t>((near_rows | far_rows) & (near | far));
    }
  }

  Trail<T> trail_;
  Array<RowsOf> rows_;
  Array<Span> spans_;
};

// Tiles of a grid: at most 4 x 4 for few threads and 8 x 8 for many.
class GridTiles {
 public:
  template <class T>
  GridTiles(const Volume<T>& v, int32_t threads) : rows_(v.size[1]), slices_(v.size[2]) {
    const int32_t side = threads > 4 ? 8 : 4;
    tile_rows_ = std::max(4, (rows_ + side - 1) / side), tile_slices_ = std::max(4, (slices_ + side - 1) / side);
    across_ = (rows_ + tile_rows_ - 1) / tile_rows_;
    count_ = across_ * ((slices_ + tile_slices_ - 1) / tile_slices_);
  }

  int32_t count() const { return count_; }

  Span operator[](int32_t tile) const {
    const int32_t row = tile % across_ * tile_rows_, slice = tile / across_ * tile_slices_;
    return {row, std::min(rows_, row + tile_rows_), slice, std::min(slices_, slice + tile_slices_)};
  }

 private:
  int32_t rows_, slices_, tile_rows_, tile_slices_, across_, count_;
};

// Samples that a thread marches before it sums: their contributions should stay in its cache.
constexpr int64_t samples_in_turn = 1 << 14;

// samples_of(task): an upper bound of its samples. give(task, worker, trail, taken): puts the task's contributions into
// a trail, and calls taken() after each turn, which may empty the trail.
template <class Layout, class T, class SamplesOf, class Give>
void sum_grid_gradient(int32_t threads, const Volume<T>& volume, const T* features, T* grid, int64_t tasks,
                       SamplesOf&& samples_of, Give&& give) {
  const AddToGrid<T, Layout> all(volume, grid, features);
  std::fill_n(grid, volume.value_count(), T(0));
  if (threads <= 1) {
    Trail<T> trail;
    for (int64_t task = 0; task < tasks; ++task) {
      give(task, 0, trail, [&] {
        all.add_all(trail);
        trail.clear();
      });
    }
    return;
  }
  const GridTiles tiles(volume, threads);
  std::vector<Notes<T>> notes;
  for (int64_t begin = 0, end = 0; begin < tasks; begin = end) {
    int64_t most = 0;
    while (end < tasks && (end < begin + threads || most < threads * samples_in_turn)) most += samples_of(end++);
    const int64_t count = end - begin;
    if (notes.size() < static_cast<size_t>(count)) notes.resize(static_cast<size_t>(count));
    parallel_for(threads, count, [&](int64_t i, int worker) {
      Notes<T>& of_task = notes[static_cast<size_t>(i)];
      of_task.clear();
      give(begin + i, worker, of_task.trail(), [] {});
      of_task.find_spans(volume);
    });
    parallel_for(threads, tiles.count(), [&](int64_t tile, int) {
      const Span span = tiles[static_cast<int32_t>(tile)];
      for (int64_t i = 0; i < count; ++i) notes[static_cast<size_t>(i)].add_up(volume, all, span);
    });
  }
}

}  // namespace lg::field
