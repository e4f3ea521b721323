// The absorption of a segment, and the extinction that an interpolated density stands for. Loops over these vectorise.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/exp.h"
#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::field {

// e^x = scale + scale less_one, for |x| up to -Decay<T>::lowest; like exponential_decay().
template <class T>
struct Power {
  T scale, less_one;

  LG_HD explicit Power(T x) {
    using D = Decay<T>;
    using Int = typename D::Int;
    const T magic = T(1.5) * T(Int(1) << D::mantissa);  // adding it rounds to an integer
    const T n = (x * T(1.4426950408889634074) + magic) - magic;
    const T r = (x - n * T(0.693145751953125)) - n * T(1.42860682030941723212e-6);
    T sum = 1;
    for (int k = D::terms; k > 1; --k) sum = 1 + sum * r * (T(1) / T(k));
    less_one = sum * r;
    scale = reinterpret<T>(Int((static_cast<Int>(n) + D::bias) << D::mantissa));
  }
  LG_HD T value() const { return scale + scale * less_one; }
};

template <class T>
LG_HD T limit_power(T x) {
  const T low = x > Decay<T>::lowest ? x : Decay<T>::lowest;
  return low < -Decay<T>::lowest ? low : -Decay<T>::lowest;
}

// e^-tau and 1 - e^-tau. Both keep their digits for small tau. tau may be negative.
template <class T>
struct Absorption {
  T passed, absorbed;
};

template <class T>
LG_HD Absorption<T> absorb(T tau) {
  const Power<T> power(limit_power(-tau));
  const bool all = -tau < Decay<T>::lowest;
  return {all ? T(0) : power.value(), all ? T(1) : (1 - power.scale) - power.scale * power.less_one};
}

// log(1 + x) for x from 0 to 1, accurate to a few units in the last place: with s = x / (2 + x) it is log((1 + s) / (1
// - s)), whose series is 2 (s + s^3 / 3 + s^5 / 5 + ...).
template <class T>
LG_HD T log_of_one_and(T x) {
  constexpr int terms = sizeof(T) == 4 ? 8 : 17;
  const T s = x / (2 + x), square = s * s;
  T sum = T(1) / T(2 * terms + 1);
  for (int k = terms - 1; k >= 0; --k) sum = T(1) / T(2 * k + 1) + square * sum;
  return 2 * s * sum;
}

enum class Activation : int32_t { none, relu, softplus, exponential };

// The extinction that an interpolated value stands for, and its derivative. Values that are not finite count as empty.
template <class T>
struct Extinction {
  T value, slope;
};

template <Activation activation, class T>
LG_HD Extinction<T> extinction_of(T value) {
  const bool finite = is_finite(value);
  if constexpr (activation == Activation::none) {
    return {finite ? value : T(0), finite ? T(1) : T(0)};
  } else if constexpr (activation == Activation::relu) {
    const bool counts = value > 0 && finite;
    return {counts ? value : T(0), counts ? T(1) : T(0)};
  } else if constexpr (activation == Activation::softplus) {
    const T decay = absorb(value > 0 ? value : -value).passed, larger = 1 / (1 + decay);
    const T rest = log_of_one_and(decay), grown = (value > 0 ? value : T(0)) + rest;
    const T slope = value > 0 ? larger : decay * larger;
    return {finite ? grown : T(0), finite ? slope : T(0)};
  } else {
    const T limit = -Decay<T>::lowest, power = absorb(-value).passed;
    return {finite ? power : T(0), finite && value < limit ? power : T(0)};
  }
}

template <class T>
LG_HD Extinction<T> extinction_of(Activation activation, T value) {
  if (activation == Activation::none) return extinction_of<Activation::none>(value);
  if (activation == Activation::relu) return extinction_of<Activation::relu>(value);
  if (activation == Activation::softplus) return extinction_of<Activation::softplus>(value);
  return extinction_of<Activation::exponential>(value);
}

}  // namespace lg::field
