// The rules by which samples are blended, and the images of a call.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "splat/depth_measure.h"

namespace lg {
namespace splat {

enum class Blend : int32_t { alpha, softmax, normalised, nearest };  // as in lumigrad.h

struct Settings {
  double max_alpha, min_alpha, stop, min_depth, max_depth, merge;
  int64_t max_contributors;  // per pixel, or 0 for any number
};

// Below the smallest step of T. An opaque primitive leaves this much, so that the reverse pass can divide by it.
template <class T>
constexpr T min_rest() {
  return sizeof(T) == 4 ? T(1e-7) : T(1e-14);
}
constexpr double background_exponent = 1e-6;
constexpr double min_sum = 1e-4;  // the smallest divisor of normalised weights

// Spheres of at most this total weight are lost in the rounding of a softmax in float.
template <class T>
constexpr double negligible() {
  return sizeof(T) == 4 ? 1e-9 : 1e-18;
}

// The settings, converted to the type of the values.
template <class T>
struct Rules {
  T max_alpha, min_alpha, stop, min_depth, inverse_range, merge, max_contributors;
  bool counts;              // of contributors, if these are limited or listed
  bool median;              // whether it is wanted
  DepthMeasure<T> measure;  // of surfels

  Rules(const Settings& s, bool lists, bool wants_median)
      : max_alpha(T(s.max_alpha)),
        min_alpha(T(s.min_alpha)),
        stop(s.stop > 0 ? T(s.stop) : min_rest<T>() * min_rest<T>() * min_rest<T>()),
        min_depth(T(s.min_depth)),
        inverse_range(T(1 / (s.max_depth - s.min_depth))),
        merge(T(s.merge)),
        max_contributors(T(s.max_contributors)),
        counts(lists || s.max_contributors > 0),
        median(wants_median),
        measure(s.min_depth, s.max_depth) {}
};

template <class T>
struct Images {
  T* image;  // [.., channels + the footprint's extras]
  T* alpha;
  T* depth;         // null if not wanted
  int32_t* median;  // null if not wanted
  int32_t* ids;     // [.., contributors]
  T* weights;
  int64_t contributors;
  T* state;       // [.., 2], for the backward pass: transmittance (of surfels, also mean depth); exponent, sum; sum
  int32_t* last;  // the place of a pixel's last contributor in its tile's list, -1 for none
};

template <class T>
struct ImageGradients {
  const T *image, *alpha, *depth;              // of the outputs; null means zero
  const T *out_image, *out_alpha, *out_depth;  // results of the forward pass
  const T* state;
  const int32_t* last;
  bool want_camera;
};

}  // namespace splat
}  // namespace lg
