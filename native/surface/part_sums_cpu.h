// Sums over the parts of a block (block_parts.h), of four quantities at a time. Their order is the same for every
// instruction set: along each row of the block, beginning with zero, then over the rows.
#pragma once

#include <cstdint>

#include "math/bits.h"
#include "math/lanes.h"
#include "math/quads.h"
#include "math/unrolled.h"
#include "surface/block_parts.h"

namespace lg::surface {

template <class T>
LG_INLINE void add_to(T* record, const Lanes<T, 4>& value) {
  store(record, Lanes<T, 4>::load(record) + value);
}

// Quads at the pixels of a block, or sums of them: quad r of column c belongs to the pixel in row r, column c.
template <class T>
struct BlockQuads {
  Lanes<T> column[4];

  // From four quantities, each at all lanes of the block.
  LG_INLINE void set(const Lanes<T>& a, const Lanes<T>& b, const Lanes<T>& c, const Lanes<T>& d) {
    column[0] = a, column[1] = b, column[2] = c, column[3] = d;
    transpose_quads(column);
  }
};

// The sums along the four rows of a block.
template <class T>
struct RowSums {
  Lanes<T, 4> row[4];

  LG_INLINE Lanes<T, 4> total() const { return (row[0] + row[1]) + (row[2] + row[3]); }
  // Weighted by the row; the first is y.
  LG_INLINE Lanes<T, 4> by_row(T y) const {
    const auto weighted = [&](int r) LG_INLINE_LAMBDA { return row[r] * Lanes<T, 4>(y + static_cast<T>(r)); };
    return (weighted(0) + weighted(1)) + (weighted(2) + weighted(3));
  }
};

// Kinds of quads; for the first kind, sums weighted by x and y are also computed. Wide registers take a column at a
// time, others a pixel. Weights are per pixel: shifting the sums of a whole block instead would cancel most digits of
// tiny triangles.
template <class T, int Kinds, bool Wide = (register_bytes >= 64)>
class PartSums {
 public:
  LG_INLINE explicit PartSums(const BlockQuads<T> (&quads)[Kinds]) {
    unrolled<Kinds>([&](int k) LG_INLINE_LAMBDA { quads_[k] = quads[k]; });
  }

  // Adds the sums over a part to its record: three quads of the first kind, for 1, x and y, then one of each other
  // kind. (x, y): the block's first pixel.
  LG_INLINE void add(uint32_t lanes, T x, T y, T* LG_RESTRICT record) const {
    typename Lanes<T>::Mask column[4];
    unrolled<4>([&](int c) LG_INLINE_LAMBDA { column[c] = mask_of<T>((lanes >> c & 0x1111u) * 0xfu); });
    Lanes<T> sum_x = T(0);
    unrolled<4>([&](int c) LG_INLINE_LAMBDA {
      sum_x = select(column[c], sum_x + quads_[0].column[c] * Lanes<T>(x + static_cast<T>(c)), sum_x);
    });
    unrolled<Kinds>([&](int k) LG_INLINE_LAMBDA {
      Lanes<T> sum = T(0);
      unrolled<4>([&](int c) LG_INLINE_LAMBDA { sum = select(column[c], sum + quads_[k].column[c], sum); });
      const RowSums<T> rows = rows_of(sum);
      const Lanes<T, 4> total = rows.total();
      if (k == 0) {
        add_to(record + 4, rows_of(sum_x).total());
        add_to(record + 8, rows.by_row(y));
      }
      add_to(record + (k == 0 ? 0 : 8 + 4 * k), total);
    });
  }

 private:
  static LG_INLINE RowSums<T> rows_of(const Lanes<T>& a) {
    return {{quad_of<0>(a), quad_of<1>(a), quad_of<2>(a), quad_of<3>(a)}};
  }

  BlockQuads<T> quads_[Kinds];
};

template <class T, int Kinds>
class PartSums<T, Kinds, false> {
 public:
  LG_INLINE explicit PartSums(const BlockQuads<T> (&quads)[Kinds]) {
    for (int k = 0; k < Kinds; ++k) {
      for (int c = 0; c < 4; ++c) store(quads_[c][k], quads[k].column[c]);
    }
  }

  LG_INLINE void add(uint32_t lanes, T x, T y, T* LG_RESTRICT record) const {
    RowSums<T> rows[Kinds], rows_x;
    unrolled<4>([&](int r) LG_INLINE_LAMBDA {
      Lanes<T, 4> sum[Kinds], sum_x = T(0);
      unrolled<Kinds>([&](int k) LG_INLINE_LAMBDA { sum[k] = Lanes<T, 4>(T(0)); });
      for (uint32_t rest = lanes >> (4 * r) & 0xfu; rest; rest &= rest - 1) {
        const int c = lowest_lane(rest);
        const T(*at)[block_lanes] = quads_[c];
        const auto first = Lanes<T, 4>::load(at[0] + 4 * r);
        sum[0] = sum[0] + first;
        sum_x = sum_x + first * Lanes<T, 4>(x + static_cast<T>(c));
        unrolled<Kinds - 1>([&](int k)
                                LG_INLINE_LAMBDA { sum[k + 1] = sum[k + 1] + Lanes<T, 4>::load(at[k + 1] + 4 * r); });
      }
      unrolled<Kinds>([&](int k) LG_INLINE_LAMBDA { rows[k].row[r] = sum[k]; });
      rows_x.row[r] = sum_x;
    });
    const Lanes<T, 4> total = rows[0].total();
    add_to(record, total);
    add_to(record + 4, rows_x.total());
    add_to(record + 8, rows[0].by_row(y));
    unrolled<Kinds - 1>([&](int k) LG_INLINE_LAMBDA { add_to(record + 12 + 4 * k, rows[k + 1].total()); });
  }

 private:
  alignas(64) T quads_[4][Kinds][block_lanes];  // column by column
};

}  // namespace lg::surface
