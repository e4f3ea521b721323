// Sixteen pixels of a 4x4 block at once, in float or double.
//
// Footprints (footprints.h) are written for any value type with these operations: Lanes here, a plain scalar where
// one thread has one pixel. Every operation is exact or rounded as IEEE says, and sums have one order, so results are
// the same for every instruction set.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/config.h"
#include "splat/scalar.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lg {
namespace splat {

// Bit l belongs to lane l.
using Mask = uint32_t;
constexpr Mask all_lanes = 0xffffu;

// The general form: plain loops for the compiler to vectorise.
template <class T>
struct Lanes {
  T v[16];
  Lanes() = default;
  Lanes(T a) {  // NOLINT: a scalar is meant to become lanes
    for (int l = 0; l < 16; ++l) v[l] = a;
  }
};

template <class T, class Operation>
LG_HD Lanes<T> each(Operation&& operation) {
  Lanes<T> out;
  for (int l = 0; l < 16; ++l) out.v[l] = operation(l);
  return out;
}

#define LG_LANES_BINARY(op)                                                  \
  template <class T>                                                         \
  LG_HD Lanes<T> operator op(const Lanes<T>& a, const Lanes<T>& b) {         \
    return each<T>([&](int l) { return a.v[l] op b.v[l]; });                 \
  }
LG_LANES_BINARY(+)
LG_LANES_BINARY(-)
LG_LANES_BINARY(*)
LG_LANES_BINARY(/)
#undef LG_LANES_BINARY

template <class T>
LG_HD Lanes<T> root(const Lanes<T>& a) {
  return each<T>([&](int l) { return std::sqrt(a.v[l]); });
}
template <class T>
LG_HD Lanes<T> maximum(const Lanes<T>& a, const Lanes<T>& b) {
  return each<T>([&](int l) { return a.v[l] > b.v[l] ? a.v[l] : b.v[l]; });
}
template <class T>
LG_HD Lanes<T> minimum(const Lanes<T>& a, const Lanes<T>& b) {
  return each<T>([&](int l) { return a.v[l] < b.v[l] ? a.v[l] : b.v[l]; });
}
template <class T>
LG_HD Mask less(const Lanes<T>& a, const Lanes<T>& b) {
  Mask m = 0;
  for (int l = 0; l < 16; ++l) m |= static_cast<Mask>(a.v[l] < b.v[l]) << l;
  return m;
}
template <class T>
LG_HD Mask less_equal(const Lanes<T>& a, const Lanes<T>& b) {
  Mask m = 0;
  for (int l = 0; l < 16; ++l) m |= static_cast<Mask>(a.v[l] <= b.v[l]) << l;
  return m;
}
template <class T>
LG_HD Lanes<T> select(Mask m, const Lanes<T>& yes, const Lanes<T>& no) {
  return each<T>([&](int l) { return (m >> l & 1) ? yes.v[l] : no.v[l]; });
}
template <class T>
LG_HD Lanes<T> load(const T* p) {
  return each<T>([&](int l) { return p[l]; });
}
template <class T>
LG_HD void store(T* p, const Lanes<T>& a) {
  for (int l = 0; l < 16; ++l) p[l] = a.v[l];
}
template <class T>
LG_HD T sum(const Lanes<T>& a) {
  T s[8];
  for (int l = 0; l < 8; ++l) s[l] = a.v[l] + a.v[l + 8];
  for (int l = 0; l < 4; ++l) s[l] = s[l] + s[l + 4];
  return (s[0] + s[2]) + (s[1] + s[3]);
}

template <class T>
LG_HD Lanes<T> exponential(const Lanes<T>& a) {
  return each<T>([&](int l) { return scalar_exp(a.v[l]); });
}

#if defined(__AVX512F__)

template <>
struct Lanes<float> {
  __m512 v;
  Lanes() = default;
  LG_HD Lanes(__m512 a) : v(a) {}
  LG_HD Lanes(float a) : v(_mm512_set1_ps(a)) {}
};
using F = Lanes<float>;
template <>
LG_HD F operator+(const F& a, const F& b) { return _mm512_add_ps(a.v, b.v); }
template <>
LG_HD F operator-(const F& a, const F& b) { return _mm512_sub_ps(a.v, b.v); }
template <>
LG_HD F operator*(const F& a, const F& b) { return _mm512_mul_ps(a.v, b.v); }
template <>
LG_HD F operator/(const F& a, const F& b) { return _mm512_div_ps(a.v, b.v); }
// The zero-masked forms: GCC 12 warns about the undefined register inside the plain ones.
template <>
LG_HD F root(const F& a) { return _mm512_maskz_sqrt_ps(0xffff, a.v); }
template <>
LG_HD F maximum(const F& a, const F& b) { return _mm512_maskz_max_ps(0xffff, a.v, b.v); }
template <>
LG_HD F minimum(const F& a, const F& b) { return _mm512_maskz_min_ps(0xffff, a.v, b.v); }
template <>
LG_HD Mask less(const F& a, const F& b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
template <>
LG_HD Mask less_equal(const F& a, const F& b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
template <>
LG_HD F select(Mask m, const F& yes, const F& no) {
  return _mm512_mask_mov_ps(no.v, static_cast<__mmask16>(m), yes.v);
}
template <>
LG_HD F load(const float* p) { return _mm512_loadu_ps(p); }
template <>
LG_HD void store(float* p, const F& a) { _mm512_storeu_ps(p, a.v); }
template <>
LG_HD float sum(const F& a) {
  const __m256 high = _mm512_castps512_ps256(_mm512_maskz_shuffle_f32x4(0xffff, a.v, a.v, 0x4e));
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), high);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
template <>
LG_HD F exponential(const F& a) {
  using E = Exponential;
  const F x = minimum(maximum(a, F(E::low)), F(E::high));
  const F rounded = x * F(E::log2e) + F(E::magic), n = rounded - F(E::magic);
  const F r = (x - n * F(E::ln2_high)) - n * F(E::ln2_low);
  F q = E::p[0];
  for (int i = 1; i < 6; ++i) q = q * r + F(E::p[i]);
  q = q * (r * r) + r + F(1.0f);
  const __m512i bits = _mm512_add_epi32(_mm512_maskz_slli_epi32(0xffff, _mm512_castps_si512(rounded.v), 23),
                                        _mm512_set1_epi32(127 << 23));
  return q * F(_mm512_castsi512_ps(bits));
}
LG_HD Mask at_least(const int32_t* values, int32_t bound) {
  return _mm512_cmpge_epi32_mask(_mm512_loadu_si512(values), _mm512_set1_epi32(bound));
}

#elif defined(__AVX2__)

template <>
struct Lanes<float> {
  __m256 a, b;
  Lanes() = default;
  LG_HD Lanes(__m256 low, __m256 high) : a(low), b(high) {}
  LG_HD Lanes(float x) : a(_mm256_set1_ps(x)), b(a) {}
};
using F = Lanes<float>;
template <>
LG_HD F operator+(const F& x, const F& y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
template <>
LG_HD F operator-(const F& x, const F& y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
template <>
LG_HD F operator*(const F& x, const F& y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
template <>
LG_HD F operator/(const F& x, const F& y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
template <>
LG_HD F root(const F& x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
template <>
LG_HD F maximum(const F& x, const F& y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
template <>
LG_HD F minimum(const F& x, const F& y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
LG_HD Mask bits_of(__m256 a, __m256 b) {
  return static_cast<Mask>(_mm256_movemask_ps(a)) | static_cast<Mask>(_mm256_movemask_ps(b)) << 8;
}
template <>
LG_HD Mask less(const F& x, const F& y) {
  return bits_of(_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ));
}
template <>
LG_HD Mask less_equal(const F& x, const F& y) {
  return bits_of(_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ));
}
template <>
LG_HD F select(Mask m, const F& yes, const F& no) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i low = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(m)), lane);
  const __m256i high = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(m >> 8)), lane);
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(low, lane))),
          _mm256_blendv_ps(no.b, yes.b, _mm256_castsi256_ps(_mm256_cmpeq_epi32(high, lane)))};
}
template <>
LG_HD F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
template <>
LG_HD void store(float* p, const F& x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
template <>
LG_HD float sum(const F& x) {
  const __m256 s8 = _mm256_add_ps(x.a, x.b);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
template <>
LG_HD F exponential(const F& a) {
  using E = Exponential;
  const F x = minimum(maximum(a, F(E::low)), F(E::high));
  const F rounded = x * F(E::log2e) + F(E::magic), n = rounded - F(E::magic);
  const F r = (x - n * F(E::ln2_high)) - n * F(E::ln2_low);
  F q = E::p[0];
  for (int i = 1; i < 6; ++i) q = q * r + F(E::p[i]);
  q = q * (r * r) + r + F(1.0f);
  const __m256i one = _mm256_set1_epi32(127 << 23);
  const __m256i low = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(rounded.a), 23), one);
  const __m256i high = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(rounded.b), 23), one);
  return q * F(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
}

#endif

#if !defined(__AVX512F__)
LG_HD Mask at_least(const int32_t* values, int32_t bound) {
  Mask m = 0;
  for (int l = 0; l < 16; ++l) m |= static_cast<Mask>(values[l] >= bound) << l;
  return m;
}
#endif

// a where the mask is set, else 0.
template <class T>
LG_HD Lanes<T> only(Mask m, const Lanes<T>& a) {
  return select(m, a, Lanes<T>(T(0)));
}

}  // namespace splat
}  // namespace lg
