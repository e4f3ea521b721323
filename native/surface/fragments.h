// What other ops read of a rasterized image: images of triangles, barycentrics and depth, or one image that packs all
// of them, as lumigrad.h describes it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/lanes.h"
#include "math/scalar.h"
#include "parallel/tile_chunks.h"
#include "runtime/config.h"
#include "runtime/prefetch.h"

namespace lg::surface {

// float32 holds every integer up to the first number. Larger ones are stored as bits, to which the second is added.
constexpr int32_t largest_exact = 1 << 24, bits_of_large = 0x4a800000;

template <class T>
LG_HD T pack_triangle(int32_t triangle) {
  const int32_t number = triangle + 1;
  if constexpr (sizeof(T) == 4) {
    return number <= largest_exact ? static_cast<T>(number) : reinterpret<T>(number + bits_of_large);
  } else {
    return static_cast<T>(number);
  }
}

// A value that is too large, or no number, becomes a triangle that no mesh has.
template <class T>
LG_HD int32_t unpack_triangle(T value) {
  const T least = value > 0 ? value : T(0);
  if constexpr (sizeof(T) == 4) {
    const int32_t bits = reinterpret<int32_t>(value) & INT32_MAX;
    return (bits <= largest_exact + bits_of_large ? static_cast<int32_t>(least) : bits - bits_of_large) - 1;
  } else {
    return value <= INT32_MAX ? static_cast<int32_t>(least) - 1 : INT32_MAX;
  }
}

// Up to sixteen packed pixels, sorted by place; zeros beyond.
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
struct Fragments {
  const int32_t* tri;
  const T *bary, *depth;
  const T* rast;  // in the place of the other images, or null

  // -1: nothing.
  LG_HD int32_t triangle(int64_t pixel) const { return rast ? unpack_triangle(rast[4 * pixel + 3]) : tri[pixel]; }
  // u and v.
  LG_HD const T* bary_at(int64_t pixel) const { return rast ? rast + 4 * pixel : bary + 2 * pixel; }
  LG_HD T depth_at(int64_t pixel) const { return rast ? rast[4 * pixel + 2] : depth[pixel]; }

  // The triangles of `count` pixels of a row. buffer: room for them, rounded up to sixteen.
  LG_INLINE const int32_t* triangles(int64_t first, int64_t count, int32_t* buffer) const {
    if (!rast) return tri + first;
    for (int64_t i = 0; i < count; i += chunk_lanes) {
      const auto lanes = static_cast<int>(std::min<int64_t>(chunk_lanes, count - i));
      PackedLanes<T>(rast + 4 * (first + i), lanes).store_triangles(buffer + i);
    }
    return buffer;
  }

  // Sorts u and v of up to sixteen pixels; zeros beyond.
  LG_INLINE void load_bary(int64_t first, int count, T (*uv)[chunk_lanes]) const {
    if (rast) {
      PackedLanes<T>(rast + 4 * first, count).store_bary(uv);
    } else {
      load_lanes(bary + 2 * first, 2, count, uv);
    }
  }

  // The triangle and depth of one pixel.
  void prefetch(int64_t pixel) const {
    if (rast) {
      LG_PREFETCH(rast + 4 * pixel);
    } else {
      LG_PREFETCH(tri + pixel);
      LG_PREFETCH(depth + pixel);
    }
  }
  void prefetch_triangles(int64_t first) const {
    if (rast) {
      prefetch_values(rast + 4 * first, 4 * chunk_lanes);
    } else {
      LG_PREFETCH(tri + first);
    }
  }
  void prefetch_bary(int64_t first, int count) const {
    if (!rast) prefetch_values(bary + 2 * first, 2 * count);  // a packed image has been read for its triangles
  }
};

template <class T>
Fragments<T> make_fragments(const int32_t* tri, const void* bary, const void* depth, const void* rast) {
  return {tri, static_cast<const T*>(bary), static_cast<const T*>(depth), static_cast<const T*>(rast)};
}

}  // namespace lg::surface
