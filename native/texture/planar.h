// Texel coordinates of a 2D lookup along one axis: wrapping, and the two texels that linear filtering combines.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/config.h"
#include "texture/level.h"

namespace lg::texture {

enum Wrap : int32_t { wrap_repeat = 0, wrap_clamp = 1, wrap_mirror = 2, wrap_zero = 3, wrap_cube = 4 };

// The texels of one axis. An index of -1 stands for a texel of zeros.
template <class T>
struct AxisTaps {
  int32_t low, high;
  T fraction;  // weight of `high`
};

// Maps a texture coordinate into the domain [0, 1]. With wrap_zero the result may lie up to one outside.
template <int wrap, class T>
LG_HD T fold(T u) {
  if (wrap == wrap_repeat) return u - floor_of(u);
  if (wrap == wrap_mirror) {
    const T period = u - 2 * floor_of(T(0.5) * u);
    return period > 1 ? 2 - period : period;
  }
  const T low = wrap == wrap_zero ? T(-1) : T(0), high = wrap == wrap_zero ? T(2) : T(1);
  return u < low ? low : u > high ? high : u;
}

// The derivative of fold. Clamping counts as the identity: where it is active, both texels are equal and the gradient
// is zero.
template <int wrap, class T>
LG_HD T fold_slope(T u) {
  if (wrap != wrap_mirror) return T(1);
  return u - 2 * floor_of(T(0.5) * u) > 1 ? T(-1) : T(1);
}

// The whole part of a texel coordinate, which is at most a texture's size away from zero.
template <class T>
LG_HD int32_t whole_part(T s) {
  const int32_t truncated = static_cast<int32_t>(s);
  return truncated - static_cast<int32_t>(T(truncated) > s);
}

template <int wrap>
LG_HD int32_t place_texel(int32_t i, int32_t size) {
  if (wrap == wrap_repeat) return i < 0 ? size - 1 : i >= size ? 0 : i;
  if (wrap == wrap_zero) return ((i < 0) | (i >= size)) ? -1 : i;
  return i < 0 ? 0 : i >= size ? size - 1 : i;
}

// Texel i has its centre at (i + 1/2) / size.
template <int wrap, class T>
LG_HD AxisTaps<T> linear_taps(T u, int32_t size) {
  const T s = fold<wrap>(u) * T(size) - T(0.5);
  const int32_t i = whole_part(s);
  return {place_texel<wrap>(i, size), place_texel<wrap>(i + 1, size), s - T(i)};
}

template <int wrap, class T>
LG_HD int32_t nearest_tap(T u, int32_t size) {
  const int32_t i = whole_part(fold<wrap>(u) * T(size));
  // Folding may round up to 1, which still belongs to the last texel.
  return wrap == wrap_zero ? place_texel<wrap_zero>(i, size) : place_texel<wrap_clamp>(i, size);
}

// The side of a mip level.
LG_HD int32_t level_side(int32_t size, int32_t level) {
  const int32_t side = size >> level;
  return side > 1 ? side : 1;
}

}  // namespace lg::texture
