// Sixteen lanes as four quads, and how values move between and within them.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "math/lanes.h"
#include "runtime/config.h"

namespace lg {

// Quad i of a row of sixteen: lanes 4 i to 4 i + 3.
template <int i, class T>
LG_INLINE Lanes<T, 4> quad_of(const Lanes<T, 16>& a) {
  constexpr int per_part = Lanes<T, 16>::per_part;
  Lanes<T, 4> out;
  if constexpr (per_part >= 4) {
    constexpr int first = 4 * i % per_part;
    const auto& part = a.part[4 * i / per_part];
    out.part[0] = __builtin_shufflevector(part, part, first, first + 1, first + 2, first + 3);
  } else {
    out.part[0] = a.part[2 * i], out.part[1] = a.part[2 * i + 1];
  }
  return out;
}

// Sixteen lanes from four rows of four values, `stride` apart.
template <class T>
LG_INLINE Lanes<T, 16> load_quads(const T* from, int64_t stride) {
  constexpr int per_part = Lanes<T, 16>::per_part;
  using Quad = typename Lanes<T, 4>::Part;
  const auto quad = [&](int i) LG_INLINE_LAMBDA {
    Quad values;
    std::memcpy(&values, from + i * stride, sizeof values);
    return values;
  };
  return Lanes<T, 16>::make([&](int i) LG_INLINE_LAMBDA {
    if constexpr (per_part == 16) {
      const auto low = __builtin_shufflevector(quad(0), quad(1), 0, 1, 2, 3, 4, 5, 6, 7);
      const auto high = __builtin_shufflevector(quad(2), quad(3), 0, 1, 2, 3, 4, 5, 6, 7);
      return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    } else if constexpr (per_part == 8) {
      return __builtin_shufflevector(quad(2 * i), quad(2 * i + 1), 0, 1, 2, 3, 4, 5, 6, 7);
    } else if constexpr (per_part == 4) {
      return quad(i);
    } else {
      Quad half;
      std::memcpy(&half, from + (i / 2) * stride + (i % 2) * 2, sizeof half);
      return half;
    }
  });
}

template <int per_part>
constexpr int picked_place(int lane, int place) {  // indices into two consecutive parts
  return lane / 4 * 4 + place % 4 + (place < 4 ? 0 : per_part);
}
template <int p0, int p1, int p2, int p3, class Part, int... i>
LG_INLINE Part pick_in_part(const Part& a, const Part& b, std::integer_sequence<int, i...>) {
  constexpr int places[4] = {p0, p1, p2, p3};
  return __builtin_shufflevector(a, b, picked_place<sizeof...(i)>(i, places[i % 4])...);
}
// Picks four values for each quad from the same quads of a (0 to 3) and b (4 to 7).
template <int p0, int p1, int p2, int p3, class T>
LG_INLINE Lanes<T, 16> pick_in_quads(const Lanes<T, 16>& a, const Lanes<T, 16>& b) {
  using L = Lanes<T, 16>;
  if constexpr (L::per_part >= 4) {
    return L::make([&](int i) LG_INLINE_LAMBDA {
      return pick_in_part<p0, p1, p2, p3>(a.part[i], b.part[i], std::make_integer_sequence<int, L::per_part>{});
    });
  } else {
    constexpr int places[4] = {p0, p1, p2, p3};
    L out;
    for (int l = 0; l < 16; ++l) {
      const int from = l / 4 * 4 + places[l % 4] % 4;
      out.set(l, places[l % 4] < 4 ? a[from] : b[from]);
    }
    return out;
  }
}

// Quads of four rows, transposed: value j of quad i of row k becomes value k of quad i of row j.
template <class T>
LG_INLINE void transpose_quads(Lanes<T, 16> (&rows)[4]) {
  const auto low = pick_in_quads<0, 4, 1, 5>(rows[0], rows[1]), high = pick_in_quads<2, 6, 3, 7>(rows[0], rows[1]);
  const auto other_low = pick_in_quads<0, 4, 1, 5>(rows[2], rows[3]);
  const auto other_high = pick_in_quads<2, 6, 3, 7>(rows[2], rows[3]);
  rows[0] = pick_in_quads<0, 1, 4, 5>(low, other_low), rows[1] = pick_in_quads<2, 3, 6, 7>(low, other_low);
  rows[2] = pick_in_quads<0, 1, 4, 5>(high, other_high), rows[3] = pick_in_quads<2, 3, 6, 7>(high, other_high);
}

}  // namespace lg
