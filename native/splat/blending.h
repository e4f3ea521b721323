// The rules that samples are blended by, and a call's images.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "splat/depth_measure.h"

namespace lg {
namespace splat {

enum class Blend : int32_t { alpha, softmax, normalised, nearest };  // as in lumigrad.h

struct Settings {
  double max_alpha, min_alpha, stop, min_depth, max_depth, merge;
  int64_t max_contributors;  // of a pixel, or 0 for any number
};

// Below the smallest step of T: an opaque primitive leaves this much, so that the reverse pass can divide by it.
template <class T>
constexpr T min_rest() {
  return sizeof(T) == 4 ? T(1e-7) : T(1e-14);
}
constexpr double background_exponent = 1e-6;
constexpr double min_sum = 1e-4;  // what normalised weights are divided by at least

// What is added to a softmax in float by spheres of this weight, all together, is lost in rounding.
template <class T>
constexpr double negligible() {
  return sizeof(T) == 4 ? 1e-9 : 1e-18;
}

// The settings in the type of the values.
template <class T>
struct Rules {
  T max_alpha, min_alpha, stop, min_depth, inverse_range, merge, max_contributors;
  bool counts;              // contributors, as these are limited or listed
  bool median;              // is wanted
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
  T* depth;         // null where not wanted
  int32_t* median;  // null where not wanted
  int32_t* ids;     // [.., contributors]
  T* weights;
  int64_t contributors;
  T* state;       // [.., 2], for the backward pass: transmittance (of surfels, also mean depth); exponent, sum; sum
  int32_t* last;  // place in its tile's list of a pixel's last contributor, -1 for none
};

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
