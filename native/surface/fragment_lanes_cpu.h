// Reads fragments on the CPU, sixteen neighbours of a row at a time, packed or not.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/lanes.h"
#include "parallel/tile_chunks.h"
#include "runtime/prefetch.h"
#include "surface/fragments.h"

namespace lg::surface {

// Up to sixteen packed pixels, one array per value; zeros beyond.
template <class T>
struct PackedLanes {
  Lanes<T> u, v;
  T number[chunk_lanes];

  LG_INLINE PackedLanes(const T* from, int count) {
    T padded[4 * chunk_lanes];
    if (LG_UNLIKELY(count < chunk_lanes)) {
      std::fill(std::copy_n(from, 4 * count, padded), padded + 4 * chunk_lanes, T(0));
      from = padded;
    }
    const Lanes<T> a = load(from), b = load(from + chunk_lanes);
    const Lanes<T> c = load(from + 2 * chunk_lanes), d = load(from + 3 * chunk_lanes);
    const Lanes<T> odd_ab = every_second<1>(a, b), odd_cd = every_second<1>(c, d);
    u = every_second<0>(every_second<0>(a, b), every_second<0>(c, d));
    v = every_second<0>(odd_ab, odd_cd);
    store(number, every_second<1>(odd_ab, odd_cd));
  }

  LG_INLINE void store_bary(T (*uv)[chunk_lanes]) const {
    store(uv[0], u);
    store(uv[1], v);
  }

  LG_INLINE void store_triangles(int32_t* to) const {
    if constexpr (sizeof(T) == 4) {
      const Lanes<int32_t> bits = reinterpret<int32_t>(load(number)) & INT32_MAX, whole = Lanes<int32_t>::load(number);
      store(to, select(bits <= largest_exact + bits_of_large, whole, bits - bits_of_large) - 1);
    } else {
      for (int l = 0; l < chunk_lanes; ++l) to[l] = unpack_triangle(number[l]);
    }
  }
};

template <class T>
struct FragmentLanes : Fragments<T> {
  // The triangles of `count` pixels of a row. buffer: room for them, rounded up to sixteen.
  LG_INLINE const int32_t* triangles(int64_t first, int64_t count, int32_t* buffer) const {
    if (!this->rast) return this->tri + first;
    for (int64_t i = 0; i < count; i += chunk_lanes) {
      const auto lanes = static_cast<int>(std::min<int64_t>(chunk_lanes, count - i));
      PackedLanes<T>(this->rast + 4 * (first + i), lanes).store_triangles(buffer + i);
    }
    return buffer;
  }

  // Up to sixteen values of u and of v, as two arrays; zeros beyond.
  LG_INLINE void load_bary(int64_t first, int count, T (*uv)[chunk_lanes]) const {
    if (this->rast) {
      PackedLanes<T>(this->rast + 4 * first, count).store_bary(uv);
    } else {
      load_lanes(this->bary + 2 * first, 2, count, uv);
    }
  }

  // The triangle and depth of one pixel.
  void prefetch(int64_t pixel) const {
    if (this->rast) {
      LG_PREFETCH(this->rast + 4 * pixel);
    } else {
      LG_PREFETCH(this->tri + pixel);
      LG_PREFETCH(this->depth + pixel);
    }
  }
  void prefetch_triangles(int64_t first) const {
    if (this->rast) {
      prefetch_values(this->rast + 4 * first, 4 * chunk_lanes);
    } else {
      LG_PREFETCH(this->tri + first);
    }
  }
  void prefetch_bary(int64_t first, int count) const {
    // A packed image has already been read for its triangles.
    if (!this->rast) prefetch_values(this->bary + 2 * first, 2 * count);
  }
};

}  // namespace lg::surface
