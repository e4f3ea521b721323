// e^x for plain numbers and for lanes. The maths library's version would prevent the vectorisation of loops, and
// differs between machines.
#pragma once

#include <cmath>

#include "math/scalar.h"

#if !defined(__CUDACC__)
#include "math/lanes.h"
#endif

namespace lg {

// exp for |x| up to 87, clamped beyond: 2^n p(r), x = n ln 2 + r, relative error below 2e-7. The minimax polynomial p
// and the two parts of ln 2, whose first has few bits so that n times it is exact, are those of expf() in the Cephes
// library (S. L. Moshier, Methods and Programs for Mathematical Functions, 1989).
struct Exponential {
  static constexpr float low = -87.0f, high = 87.0f, log2e = 1.44269504f, ln2_high = 0.693359375f,
                         ln2_low = -2.12194440e-4f, magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds
  static constexpr float p[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
};

template <class V>
LG_HD V exponential_of_floats(const V& a) {
  using E = Exponential;
  const V x = minimum(maximum(a, V(E::low)), V(E::high));
  const V rounded = x * E::log2e + E::magic, n = rounded - E::magic;
  const V r = (x - n * E::ln2_high) - n * E::ln2_low;
  V q = E::p[0];
  for (int i = 1; i < 6; ++i) q = q * r + E::p[i];
  q = q * (r * r) + r + 1.0f;
  // The low bits of `rounded` are n; they become the exponent of 2^n.
  return q * reinterpret<float>((reinterpret<uint32_t>(rounded) << 23) + (127u << 23));
}

// On a device, its own instruction, which is off by about 1e-6 of the result.
LG_HD float exponential(float a) {
#if defined(__CUDA_ARCH__)
  return __expf(minimum(maximum(a, Exponential::low), Exponential::high));
#else
  return exponential_of_floats(a);
#endif
}
LG_HD double exponential(double a) { return std::exp(a); }

#if !defined(__CUDACC__)
template <int N>
LG_INLINE Lanes<float, N> exponential(const Lanes<float, N>& a) {
  return exponential_of_floats(a);
}
template <int N>
LG_INLINE Lanes<double, N> exponential(const Lanes<double, N>& a) {
  alignas(64) double values[N];
  store(values, a);
  for (int l = 0; l < N; ++l) values[l] = std::exp(values[l]);
  return Lanes<double, N>::load(values);
}
#endif

// e^x for x <= 0, accurate to a few units in the last place; zero below `lowest`. The Taylor series, after the
// reduction with the two parts of ln 2 of exp() in the Cephes library.
template <class T>
struct Decay;
template <>
struct Decay<float> {
  using Int = int32_t;
  static constexpr int mantissa = 23, bias = 127, terms = 7;
  static constexpr float lowest = -87.0f;
};
template <>
struct Decay<double> {
  using Int = int64_t;
  static constexpr int mantissa = 52, bias = 1023, terms = 13;
  static constexpr double lowest = -708.0;
};

template <class T>
LG_HD T exponential_decay(T x) {
  using D = Decay<T>;
  using Int = typename D::Int;
  const T magic = T(1.5) * T(Int(1) << D::mantissa);  // adding it rounds to an integer
  const T limited = x > D::lowest ? x : D::lowest;
  const T shifted = limited * T(1.4426950408889634074) + magic;
  const T n = shifted - magic;
  const T r = (limited - n * T(0.693145751953125)) - n * T(1.42860682030941723212e-6);
  T sum = 1;
  for (int k = D::terms; k > 0; --k) sum = 1 + sum * r * (T(1) / T(k));
  const T scale = reinterpret<T>(Int((static_cast<Int>(n) + D::bias) << D::mantissa));
  return x < D::lowest ? T(0) : sum * scale;
}

}  // namespace lg
