// What other ops read of a rasterized image: images of triangles, barycentrics and depth, or one image that packs all
// of them, as lumigrad.h describes it.
#pragma once

#include <cstdint>

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
  constexpr T most = static_cast<T>(sizeof(T) == 4 ? largest_exact : INT32_MAX);
  const T within = value > 0 ? (value < most ? value : most) : T(0);  // also of what is no number
  const auto number = static_cast<int32_t>(within);
  if constexpr (sizeof(T) == 4) {
    const int32_t large = (reinterpret<int32_t>(value) & INT32_MAX) - bits_of_large;
    return (value <= most ? number : large) - 1;
  } else {
    return value <= most ? number - 1 : INT32_MAX;
  }
}

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

  // The triangles of `count` pixels of a row, for which `buffer` has room.
  const int32_t* triangles(int64_t first, int64_t count, int32_t* LG_RESTRICT buffer) const {
    if (!rast) return tri + first;
    const T* from = rast + 4 * first + 3;
    for (int64_t i = 0; i < count; ++i) buffer[i] = unpack_triangle(from[4 * i]);
    return buffer;
  }

  void load_bary(int64_t first, int count, T (*uv)[chunk_lanes]) const {
    if (rast) {
      load_lanes(rast + 4 * first, 2, count, uv, 4);
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
