// Halving one axis of a texture with the exact-area box filter, and the transpose of that.
//
// n texels become floor(n / 2), but never fewer than one. If n is even, texel i covers texels 2i and 2i + 1. If n = 2m
// + 1, it covers n/m texels: the fractions (m-i)/n, m/n and (i+1)/n of its area are texels 2i, 2i + 1, 2i + 2. (Guthe &
// Heckbert, Non-power-of-two mipmapping, 2005.)
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::texture {

LG_HD int64_t halved(int64_t size) { return size > 1 ? size / 2 : 1; }

constexpr int32_t max_levels = 32;  // with the base

// A level of a texture, of `images` images or faces.
struct LevelSize {
  int64_t images, height, width, channels;

  int64_t values() const { return images * height * width * channels; }
  LevelSize next() const { return {images, halved(height), halved(width), channels}; }
};

// The offsets of the levels below the base, which are stored consecutively: those of `below` levels, and the end of the
// last.
struct PackedLevels {
  int64_t first[max_levels];

  PackedLevels(LevelSize size, int64_t below) : first{} {
    for (int64_t l = 0; l < below; ++l) {
      size = size.next();
      first[l + 1] = first[l] + size.values();
    }
  }
};

template <class P>
struct Levels {
  P level[max_levels];
};

// Pointers to a texture's levels or to their gradients: the base, and the levels below it, either those of `given` or
// those in `packed` (null: none).
template <class T, class Given>
Levels<T*> levels_of(T* base, Given given, int64_t given_count, int64_t built, T* packed, const LevelSize& size) {
  Levels<T*> out = {};
  out.level[0] = base;
  const PackedLevels at(size, built);
  for (int64_t l = 0; packed && l < built; ++l) out.level[l + 1] = packed + at.first[l];
  for (int64_t l = 0; given && l < given_count; ++l) out.level[l + 1] = static_cast<T*>(given[l]);
  return out;
}

// The texels of the finer level that texel i of the coarser one averages.
template <class T>
struct BoxTaps {
  int64_t first;
  int32_t count;
  T weight[3];
};

template <class T>
LG_HD BoxTaps<T> box_taps(int64_t i, int64_t size) {
  if (size == 1) return {0, 1, {T(1), T(0), T(0)}};
  if (size % 2 == 0) return {2 * i, 2, {T(0.5), T(0.5), T(0)}};
  const int64_t m = size / 2;
  return {2 * i, 3, {T(m - i) / T(size), T(m) / T(size), T(i + 1) / T(size)}};
}

// The texels of the coarser level that texel j of the finer one contributes to.
template <class T>
struct SpreadTaps {
  int64_t first;
  int32_t count;
  T weight[2];
};

template <class T>
LG_HD SpreadTaps<T> spread_taps(int64_t j, int64_t size) {
  if (size == 1) return {0, 1, {T(1), T(0)}};
  const int64_t i = j / 2, m = size / 2;
  if (size % 2 == 0) return {i, 1, {T(0.5), T(0)}};
  if (j % 2 == 1) return {i, 1, {T(m) / T(size), T(0)}};
  if (i == 0) return {0, 1, {T(m) / T(size), T(0)}};
  if (i == m) return {m - 1, 1, {T(m) / T(size), T(0)}};
  return {i - 1, 2, {T(i) / T(size), T(m - i) / T(size)}};
}

}  // namespace lg::texture
