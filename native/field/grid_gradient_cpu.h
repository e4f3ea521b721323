// The gradient of a grid from many rays, the same bit for bit for any number of threads: every value adds up what rays
// give it in an order that depends on the rays alone.
//
// One thread adds as it marches. More of them work in turns on chunks of rays: first each marches some of the rays and
// notes what they give; then each goes through the notes and adds up some tiles of the grid. A tile has all columns of
// some rows and slices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

#include "field/block_cpu.h"
#include "field/volume.h"
#include "field/voxel_layout_cpu.h"
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
  void join(const Span& other) {
    first_row = std::min(first_row, other.first_row), end_row = std::max(end_row, other.end_row);
    first_slice = std::min(first_slice, other.first_slice), end_slice = std::max(end_slice, other.end_slice);
  }
};

// What samples of a ray give the eight values around each of them.
template <class T>
struct Gifts {
  int32_t count;
  int64_t ray;
  alignas(64) int64_t voxel[block_size];
  alignas(64) int32_t row[block_size], slice[block_size];
  alignas(64) T x[block_size], y[block_size], z[block_size];
  alignas(64) T density[block_size], weight[block_size];

  void set_places(const Places<T>& p) {
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) voxel[i] = p.voxel[i];
    std::copy_n(p.row, block_size, row), std::copy_n(p.slice, block_size, slice);
    std::copy_n(p.x, block_size, x), std::copy_n(p.y, block_size, y), std::copy_n(p.z, block_size, z);
  }

  // All rows and slices that it reaches.
  Span span(const Volume<T>& v) const {
    Span all = {row[0], row[0], slice[0], slice[0]};
    for (int i = 1; i < count; ++i) all.join({row[i], row[i], slice[i], slice[i]});
    return {all.first_row, std::min(all.end_row + 2, v.size[1]), all.first_slice,
            std::min(all.end_slice + 2, v.size[2])};
  }
};

// Rays that give at the same time. What they give is taken segment by segment, and ray by ray of each, so that what
// neighbours reach is still in the cache: slices of a grid often lie so far from each other that they share a place
// there.
constexpr int most_givers = 16;

// What takes gifts. Virtual, as the code of the rays that give them is long and a call serves many samples.
template <class T>
class GiftSink {
 public:
  // gifts: `count` of them, at most most_givers.
  virtual void take(const Gifts<T>* const* gifts, int count) const = 0;

 protected:
  ~GiftSink() = default;
};

template <class T>
class NoGridGradient final : public GiftSink<T> {
 public:
  void take(const Gifts<T>* const*, int) const override {}
};

// Adds at once. features: the gradients of the rays' features, or null.
template <class T, class Layout>
class AddToGrid final : public GiftSink<T> {
 public:
  AddToGrid(const Volume<T>& volume, T* grid, const T* features) : volume_(volume), grid_(grid), features_(features) {}

  void take(const Gifts<T>* const* gifts, int count) const override {
    add(gifts, count, [](int, int) { return 15u; });
  }

  // What lies in a tile.
  void take_part(const Gifts<T>* const* gifts, int count, const Span& tile) const {
    uint8_t wanted[most_givers][block_size];
    for (int g = 0; g < count; ++g) find_wanted(*gifts[g], tile, wanted[g]);
    add(gifts, count, [&](int g, int i) { return unsigned{wanted[g][i]}; });
  }

 private:
  using Given = typename Layout::Given;

  // Which of the four rows of values around each sample are in a tile.
  void find_wanted(const Gifts<T>& gifts, const Span& tile, uint8_t* wanted) const {
    const int32_t rows = volume_.size[1], slices = volume_.size[2];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const int32_t row = gifts.row[i], next_row = row + 1 < rows ? row + 1 : row;
      const int32_t slice = gifts.slice[i], next_slice = slice + 1 < slices ? slice + 1 : slice;
      const uint32_t near_rows = row >= tile.first_row && row < tile.end_row ? 5u : 0u;
      const uint32_t far_rows = next_row >= tile.first_row && next_row < tile.end_row ? 10u : 0u;
      const uint32_t near = slice >= tile.first_slice && slice < tile.end_slice ? 3u : 0u;
      const uint32_t far = next_slice >= tile.first_slice && next_slice < tile.end_slice ? 12u : 0u;
      wanted[i] = static_cast<uint8_t>((near_rows | far_rows) & (near | far));
    }
  }

  template <class Wanted>
  LG_INLINE void add(const Gifts<T>* const* gifts, int count, Wanted&& wanted) const {
    alignas(alignof(Given)) unsigned char place[most_givers * sizeof(Given)];
    auto* given = reinterpret_cast<Given*>(place);
    RowShares<T> shares[most_givers];
    int most = 0;
    for (int g = 0; g < count; ++g) {
      const Gifts<T>& one = *gifts[g];
      new (given + g) Given(volume_, features_ ? features_ + one.ray * (volume_.channels - 1) : nullptr);
      shares[g].set(one.y, one.z);
      most = std::max(most, one.count);
    }
    typename Layout::Adder adder(volume_);
    T* const grid = grid_;
    const int64_t channels = volume_.channels;
    for (int i = 0; i < most; ++i) {
      for (int g = 0; g < count; ++g) {
        const Gifts<T>& one = *gifts[g];
        const T density = one.density[i], weight = one.weight[i];
        if (i >= one.count || (density == 0 && weight == 0)) continue;
        const unsigned rows = wanted(g, i);
        if (rows == 0) {
          adder.flush();  // as it would be if the whole grid were wanted
          continue;
        }
        adder.add(given[g], shares[g], i, one.x[i], density, weight, rows, grid + one.voxel[i] * channels);
      }
    }
    adder.flush();
    for (int g = 0; g < count; ++g) given[g].~Given();
  }

  const Volume<T>& volume_;
  T* grid_;
  const T* features_;
};

// Notes of some rays.
template <class T>
class Notes {
 public:
  void clear() {
    gifts_.clear();
    turns_.clear();
  }

  void add(const Volume<T>& v, const Gifts<T>* const* gifts, int count) {
    if (count == 0) return;
    Gifts<T>* to = gifts_.extend(static_cast<size_t>(count));
    Span span = gifts[0]->span(v);
    for (int g = 0; g < count; ++g) {
      to[g] = *gifts[g];
      span.join(to[g].span(v));
    }
    turns_.push_back({gifts_.size() - static_cast<size_t>(count), count, span});
  }

  template <class Layout>
  void add_up(const AddToGrid<T, Layout>& grid, const Span& tile) const {
    for (size_t t = 0; t < turns_.size(); ++t) {
      const Turn& turn = turns_[t];
      if (!turn.span.meets(tile)) continue;
      const Gifts<T>* gifts[most_givers];
      for (int g = 0; g < turn.count; ++g) gifts[g] = &gifts_[turn.first + static_cast<size_t>(g)];
      if (tile.contains(turn.span)) {
        grid.take(gifts, turn.count);
      } else {
        grid.take_part(gifts, turn.count, tile);
      }
    }
  }

 private:
  // What is taken at the same time.
  struct Turn {
    size_t first;
    int count;
    Span span;
  };

  Array<Gifts<T>> gifts_;
  Array<Turn> turns_;
};

template <class T>
class NoteForLater final : public GiftSink<T> {
 public:
  NoteForLater(const Volume<T>& volume, Notes<T>& notes) : volume_(volume), notes_(notes) {}

  void take(const Gifts<T>* const* gifts, int count) const override { notes_.add(volume_, gifts, count); }

 private:
  const Volume<T>& volume_;
  Notes<T>& notes_;
};

// Tiles of a grid, at most 4 x 4 for few threads and 8 x 8 for many.
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

// Samples that a thread marches before it adds up: their notes should stay in its cache.
constexpr int64_t samples_in_turn = 1 << 14;

// samples_of(task): at most how many it has. give(task, worker, sink): has it give sink.take() what it gives.
template <class Layout, class T, class SamplesOf, class Give>
void sum_grid_gradient(int32_t threads, const Volume<T>& volume, const T* features, T* grid, int64_t tasks,
                       SamplesOf&& samples_of, Give&& give) {
  const AddToGrid<T, Layout> all(volume, grid, features);
  std::fill_n(grid, volume.value_count(), T(0));
  if (threads <= 1) {
    for (int64_t task = 0; task < tasks; ++task) give(task, 0, all);
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
      give(begin + i, worker, NoteForLater<T>(volume, of_task));
    });
    parallel_for(threads, tiles.count(), [&](int64_t tile, int) {
      const Span span = tiles[static_cast<int32_t>(tile)];
      for (int64_t i = 0; i < count; ++i) notes[static_cast<size_t>(i)].add_up(all, span);
    });
  }
}

}  // namespace lg::field
