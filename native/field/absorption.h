// How much a segment absorbs, and what an interpolated density stands for.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/exp.h"
#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::field {

// e^-tau and 1 - e^-tau. Both keep their digits where tau is small. tau may be negative.
template <class T>
struct Absorption {
  T passed, absorbed;
};

// As exponential_decay(), from e^r - 1 in place of e^r.
template <class T>
LG_HD Absorption<T> absorb(T tau) {
  using D = Decay<T>;
  using Int = typename D::Int;
  const T magic = T(1.5) * T(Int(1) << D::mantissa);  // adding it rounds to an integer
  const T low = -tau > D::lowest ? -tau : D::lowest, x = low < -D::lowest ? low : -D::lowest;
  const T n = (x * T(1.4426950408889634074) + magic) - magic;
  const T r = (x - n * T(0.693145751953125)) - n * T(1.42860682030941723212e-6);
  T sum = 1;
  for (int k = D::terms; k > 1; --k) sum = 1 + sum * r * (T(1) / T(k));
  const T less_one = sum * r;
  const T scale = reinterpret<T>(Int((static_cast<Int>(n) + D::bias) << D::mantissa));
  const T passed = -tau < D::lowest ? T(0) : scale + scale * less_one;
  const T absorbed = -tau < D::lowest ? T(1) : (1 - scale) - scale * less_one;
  return {passed, absorbed};
}

enum class Activation : int32_t { none, relu, softplus, exponential };

// The extinction that an interpolated value stands for, and its derivative. Values that are not finite are empty.
template <class T>
struct Extinction {
  T value, slope;
};

template <class T>
LG_HD Extinction<T> extinction_of(Activation activation, T value) {
  if (!(value - value == 0)) return {0, 0};
  if (activation == Activation::none) return {value, 1};
  if (activation == Activation::relu) return value > 0 ? Extinction<T>{value, 1} : Extinction<T>{0, 0};
  if (activation == Activation::softplus) {
    const T decay = std::exp(value > 0 ? -value : value);
    const T larger = 1 / (1 + decay);
    return {(value > 0 ? value : 0) + std::log1p(decay), value > 0 ? larger : decay * larger};
  }
  const T limit = -Decay<T>::lowest;
  const T power = std::exp(value < limit ? value : limit);
  return {power, value < limit ? power : T(0)};
}

}  // namespace lg::field
