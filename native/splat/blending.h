// What blending makes of a call's images, and the numbers that it goes by.
#pragma once

#include <cstdint>

#include "splat/scene.h"

namespace lg {
namespace splat {

template <class T>
struct Images {
  T* image;  // [.., channels + the footprint's extras]
  T* alpha;
  T* depth;         // null where not wanted
  int32_t* median;  // null where not wanted
  int32_t* ids;     // [.., contributors]
  T* weights;
  int64_t contributors;
  T* state;       // [.., 2], for the backward pass: transmittance (of surfels, also mean depth); exponent, sum; sum
  int32_t* last;  // place in its tile's list of a pixel's last contributor, -1 for none
};

// Below the smallest step of T: an opaque primitive leaves this much, so that the reverse pass can divide by it.
template <class T>
constexpr T least_rest() {
  return sizeof(T) == 4 ? T(1e-7) : T(1e-14);
}
template <class T>
LG_HD T stop_below(const Settings& settings) {
  return settings.stop > 0 ? T(settings.stop) : least_rest<T>() * least_rest<T>() * least_rest<T>();
}
constexpr double background_exponent = 1e-6;
constexpr double least_sum = 1e-4;  // what normalised weights are divided by at least

// What is added to a softmax in float by spheres of this weight, all together, is lost in rounding.
template <class T>
constexpr double negligible() {
  return sizeof(T) == 4 ? 1e-9 : 1e-18;
}

template <class T>
struct ImageGradients {
  const T *image, *alpha, *depth;              // of the outputs; null counts as zero
  const T *out_image, *out_alpha, *out_depth;  // what the forward pass gave
  const T* state;
  const int32_t* last;
  bool want_camera;
};

}  // namespace splat
}  // namespace lg
