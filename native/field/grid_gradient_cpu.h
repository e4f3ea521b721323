// The gradient of a grid from many rays, the same bit for bit for any number of threads: every value adds up what rays
// give it in the order of the rays.
//
// One thread adds as it marches. More of them work in turns on chunks of rays: first each marches some of the rays and
// notes what they give, sorted by the tile of the grid that it goes to; then each adds up some of the tiles. A tile has
// all columns of some rows and slices. What lies across a border is noted for all tiles that it touches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/volume.h"
#include "math/lanes.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::field {

// What a sample gives the eight values around it.
template <class T>
struct Gift {
  int32_t cell[3];
  T fraction[3];
  T density, weight;
  int64_t ray;
};

struct NoGridGradient {
  template <class T>
  void add(const int32_t*, const T*, T, T, int64_t) {}
};

// Adds at once. features: the gradients of the rays' features, or null.
template <class T>
struct AddToGrid {
  const Volume<T>& volume;
  T* grid;
  const T* features;

  void add(const int32_t* cell, const T* fraction, T density, T weight, int64_t ray) const {
    add_rows(cell, fraction, density, weight, ray, 15);
  }

  // rows: bit k: the values in the next row (k & 1), of the next slice (k & 2)
  LG_INLINE void add_rows(const int32_t* cell, const T* fraction, T density, T weight, int64_t ray,
                          unsigned rows) const {
    T* to = grid + first_value(volume, cell);
    const T* of_ray = features && weight != 0 ? features + ray * (volume.channels - 1) : nullptr;
    if (volume.channels == 4 && volume.stride[0] != 0) {
      add_pairs(to, fraction, density, weight, of_ray, rows);
    } else {
      add_any(to, fraction, density, weight, of_ray, rows);
    }
  }

 private:
  // Of four values a voxel: those next to each other in a row together.
  LG_INLINE void add_pairs(T* to, const T* fraction, T density, T weight, const T* of_ray, unsigned rows) const {
    using Four = Lanes<T, 4>;
    using Pair = Lanes<T, 8>;
    const T x = fraction[0], y = fraction[1], z = fraction[2];
    Four given = four_lanes(density, T(0), T(0), T(0));
    if (of_ray) given = four_lanes(density, weight * of_ray[0], weight * of_ray[1], weight * of_ray[2]);
    const Four high = given * Four(x);
    const Pair pair = joined(given - high, high);
    const T share[4] = {(1 - y) * (1 - z), y * (1 - z), (1 - y) * z, y * z};
    for (int k = 0; k < 4; ++k) {
      if (!(rows >> k & 1)) continue;
      T* row = to + corner(volume, 2 * k);
      store(row, Pair::load(row) + Pair(share[k]) * pair);
    }
  }

  void add_any(T* to, const T* fraction, T density, T weight, const T* of_ray, unsigned rows) const {
    T share[8];
    weights_of(fraction, share);
    for (int k = 0; k < 8; ++k) {
      if (!(rows >> (k / 2) & 1)) continue;
      T* values = to + corner(volume, k);
      values[0] += share[k] * density;
      if (!of_ray) continue;
      const T scaled = share[k] * weight;
      LG_VECTORIZE
      for (int64_t c = 1; c < volume.channels; ++c) values[c] += scaled * of_ray[c - 1];
    }
  }
};

// Notes it for later.
template <class T>
struct NoteForLater {
  Array<Gift<T>>& gifts;

  void add(const int32_t* cell, const T* fraction, T density, T weight, int64_t ray) {
    gifts.push_back({{cell[0], cell[1], cell[2]}, {fraction[0], fraction[1], fraction[2]}, density, weight, ray});
  }
};

// Tiles of a grid, at most 8 x 8.
template <class T>
class GridTiles {
 public:
  explicit GridTiles(const Volume<T>& v) : rows_(v.size[1]), slices_(v.size[2]) {
    tile_rows_ = std::max(4, (rows_ + 7) / 8), tile_slices_ = std::max(4, (slices_ + 7) / 8);
    across_ = (rows_ + tile_rows_ - 1) / tile_rows_;
    count_ = across_ * ((slices_ + tile_slices_ - 1) / tile_slices_);
  }

  int32_t count() const { return count_; }

  // The tile of each of the four rows of values around a sample.
  LG_INLINE void of_rows(const int32_t* cell, int32_t* tile) const {
    const int32_t row = cell[1] / tile_rows_, next_row = std::min(cell[1] + 1, rows_ - 1) / tile_rows_;
    const int32_t slice = cell[2] / tile_slices_ * across_;
    const int32_t next_slice = std::min(cell[2] + 1, slices_ - 1) / tile_slices_ * across_;
    tile[0] = slice + row, tile[1] = slice + next_row, tile[2] = next_slice + row, tile[3] = next_slice + next_row;
  }
  // Which of them are in a tile.
  LG_INLINE unsigned rows_in(const int32_t* cell, int32_t wanted) const {
    int32_t tile[4];
    of_rows(cell, tile);
    unsigned rows = 0;
    for (int k = 0; k < 4; ++k) rows |= static_cast<unsigned>(tile[k] == wanted) << k;
    return rows;
  }

 private:
  int32_t rows_, slices_, tile_rows_, tile_slices_, across_, count_;
};

// The gifts of some rays, sorted by tile.
template <class T>
struct Notes {
  Array<Gift<T>> sorted;
  std::vector<int64_t> first;  // of each tile, and the end

  void sort(const Array<Gift<T>>& gifts, const GridTiles<T>& tiles) {
    first.assign(static_cast<size_t>(tiles.count()) + 1, 0);
    visit(gifts, tiles, [&](const Gift<T>&, int32_t tile) { ++first[static_cast<size_t>(tile) + 1]; });
    for (size_t tile = 1; tile < first.size(); ++tile) first[tile] += first[tile - 1];
    std::vector<int64_t> next(first);
    sorted.clear();
    Gift<T>* to = sorted.extend(static_cast<size_t>(first.back()));
    visit(gifts, tiles, [&](const Gift<T>& gift, int32_t tile) { to[next[static_cast<size_t>(tile)]++] = gift; });
  }

 private:
  // Every gift with each of its tiles.
  template <class Visitor>
  static void visit(const Array<Gift<T>>& gifts, const GridTiles<T>& tiles, Visitor&& visitor) {
    for (size_t i = 0; i < gifts.size(); ++i) {
      int32_t tile[4];
      tiles.of_rows(gifts[i].cell, tile);
      visitor(gifts[i], tile[0]);
      if (tile[1] != tile[0]) visitor(gifts[i], tile[1]);
      if (tile[2] == tile[0]) continue;
      visitor(gifts[i], tile[2]);
      if (tile[3] != tile[2]) visitor(gifts[i], tile[3]);
    }
  }
};

constexpr int64_t gifts_in_chunk = 1 << 20;

// gifts_of(task): at most how many it gives. give(task, worker, sink): has it give them.
template <class T, class GiftsOf, class Give>
void sum_grid_gradient(int32_t threads, const Volume<T>& volume, const T* features, T* grid, int64_t tasks,
                       GiftsOf&& gifts_of, Give&& give) {
  const AddToGrid<T> all = {volume, grid, features};
  std::fill_n(grid, volume.value_count(), T(0));
  if (threads <= 1) {
    for (int64_t task = 0; task < tasks; ++task) give(task, 0, all);
    return;
  }
  const GridTiles<T> tiles(volume);
  std::vector<Array<Gift<T>>> unsorted(static_cast<size_t>(threads));
  std::vector<Notes<T>> notes;
  for (int64_t begin = 0, end = 0; begin < tasks; begin = end) {
    int64_t most = 0;
    while (end < tasks && (end == begin || most < gifts_in_chunk)) most += gifts_of(end++);
    const int64_t count = end - begin;
    if (notes.size() < static_cast<size_t>(count)) notes.resize(static_cast<size_t>(count));
    parallel_for(threads, count, [&](int64_t i, int worker) {
      Array<Gift<T>>& gifts = unsorted[static_cast<size_t>(worker)];
      gifts.clear();
      NoteForLater<T> later = {gifts};
      give(begin + i, worker, later);
      notes[static_cast<size_t>(i)].sort(gifts, tiles);
    });
    parallel_for(threads, tiles.count(), [&](int64_t tile, int) {
      const auto wanted = static_cast<int32_t>(tile);
      for (int64_t i = 0; i < count; ++i) {
        const Notes<T>& of_task = notes[static_cast<size_t>(i)];
        const int64_t last = of_task.first[static_cast<size_t>(tile) + 1];
        for (int64_t g = of_task.first[static_cast<size_t>(tile)]; g < last; ++g) {
          const Gift<T>& gift = of_task.sorted[static_cast<size_t>(g)];
          all.add_rows(gift.cell, gift.fraction, gift.density, gift.weight, gift.ray, tiles.rows_in(gift.cell, wanted));
        }
      }
    });
  }
}

}  // namespace lg::field
