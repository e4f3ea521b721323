// Sixteen pixels of a 4x4 block at once.
//
// Footprints (footprints.h) are written for any value type with these operations: Lanes here, a plain scalar where
// one thread has one pixel.
#pragma once

#include "math/wide.h"
#include "splat/scalar.h"

namespace lg {

// Beside the other operations of Lanes, where code that is written for any value type finds it by its argument.
namespace wide {

template <class T>
LG_HD Lanes<T> exponential(const Lanes<T>& a) {
  return each(a, [](T x) { return splat::scalar_exp(x); });
}

// The exponential's scaling of q by 2^n; rounded: n and the magic number, whose low bits are n.
#if defined(__AVX512F__)
LG_HD F scale_by_power(const F& q, const F& rounded) {
  const __m512i bits = _mm512_add_epi32(_mm512_maskz_slli_epi32(0xffff, _mm512_castps_si512(rounded.v), 23),
                                        _mm512_set1_epi32(127 << 23));
  return q * F(_mm512_castsi512_ps(bits));
}
#elif defined(__AVX2__)
LG_HD F scale_by_power(const F& q, const F& rounded) {
  const __m256i one = _mm256_set1_epi32(127 << 23);
  const __m256i low = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(rounded.a), 23), one);
  const __m256i high = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(rounded.b), 23), one);
  return q * F(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
}
#endif

#if defined(__AVX512F__) || defined(__AVX2__)
template <>
LG_HD F exponential(const F& a) {
  using E = splat::Exponential;
  const F x = minimum(maximum(a, F(E::low)), F(E::high));
  const F rounded = x * F(E::log2e) + F(E::magic), n = rounded - F(E::magic);
  const F r = (x - n * F(E::ln2_high)) - n * F(E::ln2_low);
  F q = E::p[0];
  for (int i = 1; i < 6; ++i) q = q * r + F(E::p[i]);
  q = q * (r * r) + r + F(1.0f);
  return scale_by_power(q, rounded);
}
#endif

}  // namespace wide

namespace splat {
using namespace wide;
}

}  // namespace lg
