// What one face adds to one pixel of a soft image, and the way back. The definition is lumigrad.blending.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/config.h"
#include "soft/soft.h"

namespace lg {

template <class T>
struct SoftBits;
template <>
struct SoftBits<float> {
  using Int = int32_t;
  static constexpr int mantissa = 23, bias = 127, terms = 7;
  static constexpr float lowest = -87.0f;
};
template <>
struct SoftBits<double> {
  using Int = int64_t;
  static constexpr int mantissa = 52, bias = 1023, terms = 13;
  static constexpr double lowest = -708.0;
};

// e^x for x <= 0, to some units in the last place; below `lowest` zero. The maths library's keeps loops from being
// vectorised, and differs from machine to machine.
template <class T>
LG_HD T soft_exp(T x) {
  using Int = typename SoftBits<T>::Int;
  const T magic = T(1.5) * T(Int(1) << SoftBits<T>::mantissa);  // adding it rounds to an integer
  const T limited = x > SoftBits<T>::lowest ? x : SoftBits<T>::lowest;
  const T shifted = limited * T(1.4426950408889634074) + magic;
  const T n = shifted - magic;
  const T r = (limited - n * T(0.693145751953125)) - n * T(1.42860682030941723212e-6);
  T sum = 1;
  for (int k = SoftBits<T>::terms; k > 0; --k) sum = 1 + sum * r * (T(1) / T(k));
  const Int bits = (static_cast<Int>(n) + SoftBits<T>::bias) << SoftBits<T>::mantissa;
  T scale;
  memcpy(&scale, &bits, sizeof scale);
  return x < SoftBits<T>::lowest ? T(0) : sum * scale;
}

enum SoftFalloff : int32_t { soft_sigmoid, soft_exponential };

// How a face's probability falls off with distance: p, and 1 - p without cancellation.
template <class T>
struct SoftProbability {
  T p, rest;
};

template <SoftFalloff Falloff, class T>
LG_HD SoftProbability<T> soft_probability(T dist, bool inside, T inverse_sigma) {
  const T e = soft_exp(-dist * inverse_sigma);
  if (Falloff == soft_exponential) return {inside ? T(1) : e, inside ? T(0) : 1 - e};
  const T large = 1 / (1 + e), small = e * large;
  return {inside ? large : small, inside ? small : large};
}

// How the transmittance, the product of all (1 - p), depends on a face's unsigned squared distance.
template <SoftFalloff Falloff, class T>
LG_HD T soft_transmittance_slope(const SoftProbability<T>& at, bool inside, T transmittance, T inverse_sigma) {
  if (Falloff == soft_exponential) {
    const bool exists = !inside & (at.rest > 0);
    return exists ? transmittance * at.p * inverse_sigma / (exists ? at.rest : T(1)) : T(0);
  }
  return transmittance * at.p * (inside ? -inverse_sigma : inverse_sigma);
}

// Nearness of a point: 1 at the near end and 0 at the far one.
template <class T>
struct SoftNearness {
  bool by_w;  // (far - w) / (far - near), else (1 - z) / 2
  T far, inverse_range;

  LG_HD T operator()(const SoftWeights<T>& at) const {
    return by_w ? (far - at.below) * inverse_range : (1 - at.z) * T(0.5);
  }
  LG_HD T grad_z(T grad) const { return by_w ? T(0) : -grad * T(0.5); }
  LG_HD T grad_below(T grad) const { return by_w ? -grad * inverse_range : T(0); }
};

}  // namespace lg
