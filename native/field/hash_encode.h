// Features of points from tables of several resolutions, and their gradients (Müller et al. 2022, "Instant neural
// graphics primitives with a multiresolution hash encoding").
//
// Level l divides the unit cube into N_l cells along each axis. Each corner of a cell has a row of the level's table:
// its own row if all (N_l + 1)^axes corners fit, otherwise the row selected by a hash of its integer coordinates.
// Between the corners, rows are interpolated linearly along each axis.
//
// Points are located a block at a time: sixteen on the CPU, one on a GPU.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"

// GCC would unroll these loops before it tries to vectorise them.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define LG_VECTORIZE_FIRST LG_VECTORIZE _Pragma("GCC unroll 1")
#else
#define LG_VECTORIZE_FIRST LG_VECTORIZE
#endif

namespace lg::field {

constexpr int max_hash_levels = 32;

#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)
constexpr int hash_block = 1;
#else
constexpr int hash_block = 16;
#endif

struct HashLevel {
  int64_t first;  // its first row among those of all levels
  uint32_t entries;
  int32_t resolution;
  bool dense;         // each corner has its own row
  bool power_of_two;  // entries

  // The effect of a step along an axis on a corner's number (added) or on its hash (exclusive or).
  LG_HD uint32_t factor(int axis) const {
    const auto side = static_cast<uint32_t>(resolution) + 1;
    if (axis == 0) return 1;
    if (axis == 1) return dense ? side : 2654435761u;
    return dense ? side * side : 805459861u;
  }
};

template <class T>
struct HashGrid {
  const T *x, *tables;
  int64_t points, channels;
  int32_t levels;
  HashLevel level[max_hash_levels];

  LG_HD const T* table(int32_t l) const { return tables + level[l].first * channels; }
  // The offset of a level's features of a point.
  LG_HD int64_t feature(int64_t point, int32_t l) const { return (point * levels + l) * channels; }
};

template <class T>
HashGrid<T> make_hash_grid(const void* x, const void* tables, const int64_t* entries, const int64_t* resolutions,
                           int64_t points, int64_t axes, int64_t levels, int64_t channels) {
  HashGrid<T> grid = {static_cast<const T*>(x), static_cast<const T*>(tables), points, channels, 0, {}};
  int64_t first = 0;
  for (; grid.levels < levels && grid.levels < max_hash_levels; ++grid.levels) {
    const int64_t rows = entries[grid.levels], resolution = resolutions[grid.levels], side = resolution + 1;
    const int64_t corners = axes == 2 ? side * side : side * side * side;
    grid.level[grid.levels] = {first, static_cast<uint32_t>(rows), static_cast<int32_t>(resolution), corners <= rows,
                               (rows & (rows - 1)) == 0};
    first += rows;
  }
  return grid;
}

// Some points in one level: the rows of the corners around each of them, and the corners' weights. Bit a of a corner's
// number: the farther one along axis a.
template <class T, int Axes>
struct HashBlock {
  static constexpr int corners = 1 << Axes;

  uint32_t row[corners][hash_block];
  T weight[corners][hash_block];
  T fraction[Axes][hash_block];
  T slope[Axes][hash_block];  // d fraction / d coordinate; 0 where the coordinate is clamped
  bool finite[hash_block];

  // Locates the first `count` points at `x`.
  LG_HD void locate(const HashLevel& level, const T* x, int count) {
    uint32_t term[Axes][2][hash_block];
    for (int i = 0; i < hash_block; ++i) finite[i] = i < count;
    LG_UNROLL
    for (int a = 0; a < Axes; ++a) {
      T at[hash_block];
      for (int i = 0; i < hash_block; ++i) at[i] = i < count ? x[i * Axes + a] : T(0);
      locate_axis(level, a, at, term[a][0], term[a][1]);
    }
    LG_UNROLL
    for (int k = 0; k < corners; ++k) {
      if (level.dense) {
        combine<true>(term, k);
      } else {
        combine<false>(term, k);
        wrap(level, row[k]);
      }
      weigh(k);
    }
  }

 private:
  LG_HD void locate_axis(const HashLevel& level, int a, const T* at, uint32_t* near, uint32_t* far) {
    const int32_t last = level.resolution - 1;
    const T cells = static_cast<T>(level.resolution);
    const uint32_t factor = level.factor(a);
    T place[hash_block];
    LG_VECTORIZE_FIRST
    for (int i = 0; i < hash_block; ++i) {
      const T above = at[i] > 0 ? at[i] : T(0);  // NaN becomes 0
      place[i] = (above < 1 ? above : T(1)) * cells;
    }
    LG_VECTORIZE_FIRST
    for (int i = 0; i < hash_block; ++i) {
      const int32_t below = static_cast<int32_t>(place[i]), cell = below < last ? below : last;
      fraction[a][i] = place[i] - static_cast<T>(cell);
      near[i] = static_cast<uint32_t>(cell) * factor;
      far[i] = near[i] + factor;
    }
    LG_VECTORIZE_FIRST
    for (int i = 0; i < hash_block; ++i) slope[a][i] = ((at[i] >= 0) & (at[i] <= 1)) ? cells : T(0);
    for (int i = 0; i < hash_block; ++i) finite[i] = finite[i] && at[i] - at[i] == 0;
  }

  template <bool dense>
  LG_HD void combine(const uint32_t (&term)[Axes][2][hash_block], int k) {
    LG_VECTORIZE_FIRST
    for (int i = 0; i < hash_block; ++i) {
      uint32_t number = term[0][k & 1][i];
      LG_UNROLL
      for (int a = 1; a < Axes; ++a) {
        const uint32_t more = term[a][k >> a & 1][i];
        number = dense ? number + more : number ^ more;
      }
      row[k][i] = number;
    }
  }

  static LG_HD void wrap(const HashLevel& level, uint32_t* rows) {
    const uint32_t entries = level.entries, mask = entries - 1;
    if (level.power_of_two) {
      LG_VECTORIZE_FIRST
      for (int i = 0; i < hash_block; ++i) rows[i] &= mask;
    } else {
      for (int i = 0; i < hash_block; ++i) rows[i] %= entries;
    }
  }

  LG_HD void weigh(int k) {
    LG_VECTORIZE_FIRST
    for (int i = 0; i < hash_block; ++i) {
      T product = k & 1 ? fraction[0][i] : 1 - fraction[0][i];
      LG_UNROLL
      for (int a = 1; a < Axes; ++a) product *= k >> a & 1 ? fraction[a][i] : 1 - fraction[a][i];
      weight[k][i] = product;
    }
  }
};

// Called before each point of a block.
struct NothingAhead {
  LG_HD void operator()(int) const {}
};

// Channels 0, here and below: the number of channels is taken from the grid.
template <class T, int Axes, int Channels>
struct HashForward {
  HashGrid<T> grid;
  T* out;

  // Encodes `count` points, at most one block.
  template <class Ahead = NothingAhead>
  LG_HD void encode(const HashBlock<T, Axes>& block, int32_t level, int64_t first, int count,
                    const Ahead& ahead = {}) const {
    const T* table = grid.table(level);
    for (int i = 0; i < count; ++i) {
      ahead(i);
      T* to = out + grid.feature(first + i, level);
      if constexpr (Channels > 0) {
        T sum[Channels] = {};
        for (int k = 0; k < block.corners; ++k) {
          const T* from = table + int64_t{block.row[k][i]} * Channels;
          LG_UNROLL
          for (int c = 0; c < Channels; ++c) sum[c] += block.weight[k][i] * from[c];
        }
        LG_UNROLL
        for (int c = 0; c < Channels; ++c) to[c] = block.finite[i] ? sum[c] : T(0);
      } else {
        for (int64_t c = 0; c < grid.channels; ++c) {
          T sum = 0;
          for (int k = 0; k < block.corners; ++k) {
            sum += block.weight[k][i] * table[int64_t{block.row[k][i]} * grid.channels + c];
          }
          to[c] = block.finite[i] ? sum : T(0);
        }
      }
    }
  }

  // An item: one point in one level.
  LG_HD void operator()(int64_t item) const {
    const auto level = static_cast<int32_t>(item / grid.points);
    const int64_t point = item % grid.points;
    HashBlock<T, Axes> block;
    block.locate(grid.level[level], grid.x + point * Axes, 1);
    encode(block, level, point, 1);
  }
};

// Calls add(row, weight, given, channels) with the contributions of some points to a level's table: the weight times
// `given`.
template <class T, int Axes, int Channels, class Add, class Ahead = NothingAhead>
LG_HD void pull_table(const HashGrid<T>& grid, const HashBlock<T, Axes>& block, const T* grad_out, int32_t level,
                      int64_t first, int count, Add&& add, const Ahead& ahead = {}) {
  const int64_t channels = Channels > 0 ? Channels : grid.channels;
  for (int i = 0; i < count; ++i) {
    ahead(i);
    if (!block.finite[i]) continue;
    const T* given = grad_out + grid.feature(first + i, level);
    if constexpr (Channels > 0) {
      T own[Channels];  // a copy, which the additions do not change
      LG_UNROLL
      for (int c = 0; c < Channels; ++c) own[c] = given[c];
      for (int k = 0; k < block.corners; ++k) add(block.row[k][i], block.weight[k][i], own, channels);
    } else {
      for (int k = 0; k < block.corners; ++k) add(block.row[k][i], block.weight[k][i], given, channels);
    }
  }
}

// The gradient of points.
template <class T, int Axes, int Channels>
struct HashPullPoints {
  HashGrid<T> grid;
  const T* grad_out;
  T* grad_x;

  LG_HD void clear(int64_t first, int64_t count) const {
    for (int64_t i = first * Axes; i < (first + count) * Axes; ++i) grad_x[i] = 0;
  }

  // Adds the contributions of one level for `count` points, at most one block.
  template <class Ahead = NothingAhead>
  LG_HD void pull(const HashBlock<T, Axes>& block, int32_t level, int64_t first, int count,
                  const Ahead& ahead = {}) const {
    const T* table = grid.table(level);
    const int64_t channels = Channels > 0 ? Channels : grid.channels;
    T gain[HashBlock<T, Axes>::corners][hash_block] = {};  // derivative with respect to the corner's weight
    for (int i = 0; i < count; ++i) {
      ahead(i);
      const T* given = grad_out + grid.feature(first + i, level);
      for (int k = 0; k < block.corners; ++k) {
        const T* from = table + int64_t{block.row[k][i]} * channels;
        T sum = 0;
        for (int64_t c = 0; c < channels; ++c) sum += given[c] * from[c];
        gain[k][i] = finite(sum);
      }
    }
    for (int i = 0; i < count; ++i) {
      if (!block.finite[i]) continue;
      LG_UNROLL
      for (int a = 0; a < Axes; ++a) grad_x[(first + i) * Axes + a] += block.slope[a][i] * along(block, gain, i, a);
    }
  }

  // An item: one point.
  LG_HD void operator()(int64_t point) const {
    clear(point, 1);
    HashBlock<T, Axes> block;
    for (int32_t level = 0; level < grid.levels; ++level) {
      block.locate(grid.level[level], grid.x + point * Axes, 1);
      pull(block, level, point, 1);
    }
  }

 private:
  // The derivative with respect to the fraction along axis a.
  static LG_HD T along(const HashBlock<T, Axes>& block, const T (&gain)[1 << Axes][hash_block], int i, int a) {
    T sum = 0;
    LG_UNROLL
    for (int k = 0; k < block.corners; ++k) {
      if (k >> a & 1) continue;
      T weight = 1;
      LG_UNROLL
      for (int b = 0; b < Axes; ++b) {
        if (b != a) weight *= k >> b & 1 ? block.fraction[b][i] : 1 - block.fraction[b][i];
      }
      sum += weight * (gain[k | 1 << a][i] - gain[k][i]);
    }
    return sum;
  }
};

}  // namespace lg::field

#undef LG_VECTORIZE_FIRST
