// What other ops read from a rasterized image: images of triangles, barycentrics and depth, or one image that packs all
// of them (see lumigrad.h).
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::surface {

// float32 holds every integer up to the first number. Larger ones are stored as bits, offset by the second number.
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

// A value that is too large or not a number becomes a triangle that no mesh has.
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

template <class T>
struct Fragments {
  const int32_t* tri;
  const T *bary, *depth;
  const T* rast;  // replaces the other images, or null

  // -1: nothing.
  LG_HD int32_t triangle(int64_t pixel) const { return rast ? unpack_triangle(rast[4 * pixel + 3]) : tri[pixel]; }
  // u and v.
  LG_HD const T* bary_at(int64_t pixel) const { return rast ? rast + 4 * pixel : bary + 2 * pixel; }
  LG_HD T depth_at(int64_t pixel) const { return rast ? rast[4 * pixel + 2] : depth[pixel]; }
};

template <class T>
Fragments<T> make_fragments(const int32_t* tri, const void* bary, const void* depth, const void* rast) {
  return {tri, static_cast<const T*>(bary), static_cast<const T*>(depth), static_cast<const T*>(rast)};
}

}  // namespace lg::surface
