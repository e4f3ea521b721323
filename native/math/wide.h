// Sixteen values at once, in float or double: pixels of a 4x4 block, or neighbours of a row.
//
// Every operation is exact or rounded as IEEE says, and sums have one order, so results are the same for every
// instruction set.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "runtime/config.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lg {
namespace wide {

// Bit l belongs to lane l; higher bits mean nothing.
using Mask = uint32_t;
constexpr Mask all_lanes = 0xffffu;

// The general form: vectors of the compiler's, as wide as the instruction set's, or plain loops where it has none.
#if defined(__GNUC__) || defined(__clang__)

#if defined(__AVX512F__)
constexpr int register_bytes = 64;
#elif defined(__AVX2__)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

template <class T>
struct Register {
  using Integer = typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type;
  typedef T type __attribute__((vector_size(register_bytes)));
  typedef Integer integers __attribute__((vector_size(register_bytes)));
  static constexpr int lanes = register_bytes / static_cast<int>(sizeof(T)), count = 16 / lanes;
};

template <class T>
struct Lanes {
  using R = Register<T>;
  typename R::type v[R::count];
  Lanes() = default;
  LG_HD Lanes(T a) {                                                   // NOLINT: a scalar is meant to become lanes
    for (int i = 0; i < R::count; ++i) v[i] = a - typename R::type{};  // less zero: adding it would turn -0 into 0
  }
};

template <class T>
LG_HD Lanes<T> load(const T* p) {
  Lanes<T> out;
  std::memcpy(&out, p, sizeof out);
  return out;
}
template <class T>
LG_HD void store(T* p, const Lanes<T>& a) {
  std::memcpy(p, &a, sizeof a);
}

// Register by register.
template <class T, class Operation>
LG_HD Lanes<T> each_register(Operation&& operation) {
  Lanes<T> out;
  for (int i = 0; i < Register<T>::count; ++i) out.v[i] = operation(i);
  return out;
}

#define LG_LANES_BINARY(op)                                           \
  template <class T>                                                  \
  LG_HD Lanes<T> operator op(const Lanes<T>& a, const Lanes<T>& b) {  \
    return each_register<T>([&](int i) { return a.v[i] op b.v[i]; }); \
  }

template <class T>
LG_HD Lanes<T> maximum(const Lanes<T>& a, const Lanes<T>& b) {
  return each_register<T>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
template <class T>
LG_HD Lanes<T> minimum(const Lanes<T>& a, const Lanes<T>& b) {
  return each_register<T>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
template <class T>
LG_HD Lanes<T> select(Mask m, const Lanes<T>& yes, const Lanes<T>& no) {
  using R = Register<T>;
  typename R::integers bit;
  for (int l = 0; l < R::lanes; ++l) bit[l] = typename R::Integer{1} << l;
  return each_register<T>([&](int i) {
    const typename R::integers bits = typename R::integers{} + static_cast<typename R::Integer>(m >> (i * R::lanes));
    return (bits & bit) != 0 ? yes.v[i] : no.v[i];
  });
}

#else

template <class T>
struct Lanes {
  T v[16];
  Lanes() = default;
  Lanes(T a) {  // NOLINT: a scalar is meant to become lanes
    for (int l = 0; l < 16; ++l) v[l] = a;
  }
};

template <class T>
LG_HD Lanes<T> load(const T* p) {
  Lanes<T> out;
  for (int l = 0; l < 16; ++l) out.v[l] = p[l];
  return out;
}
template <class T>
LG_HD void store(T* p, const Lanes<T>& a) {
  for (int l = 0; l < 16; ++l) p[l] = a.v[l];
}

#define LG_LANES_BINARY(op)                                          \
  template <class T>                                                 \
  LG_HD Lanes<T> operator op(const Lanes<T>& a, const Lanes<T>& b) { \
    Lanes<T> out;                                                    \
    for (int l = 0; l < 16; ++l) out.v[l] = a.v[l] op b.v[l];        \
    return out;                                                      \
  }

template <class T>
LG_HD Lanes<T> maximum(const Lanes<T>& a, const Lanes<T>& b) {
  Lanes<T> out;
  for (int l = 0; l < 16; ++l) out.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l];
  return out;
}
template <class T>
LG_HD Lanes<T> minimum(const Lanes<T>& a, const Lanes<T>& b) {
  Lanes<T> out;
  for (int l = 0; l < 16; ++l) out.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l];
  return out;
}
template <class T>
LG_HD Lanes<T> select(Mask m, const Lanes<T>& yes, const Lanes<T>& no) {
  Lanes<T> out;
  for (int l = 0; l < 16; ++l) out.v[l] = (m >> l & 1) ? yes.v[l] : no.v[l];
  return out;
}

#endif

LG_LANES_BINARY(+)
LG_LANES_BINARY(-)
LG_LANES_BINARY(*)
LG_LANES_BINARY(/)
#undef LG_LANES_BINARY

// Lane by lane, for what has no vector form: operation(a) of each lane's value.
template <class T, class Operation>
LG_HD Lanes<T> each(const Lanes<T>& a, Operation&& operation) {
  alignas(64) T values[16];
  store(values, a);
  for (int l = 0; l < 16; ++l) values[l] = operation(values[l]);
  return load(values);
}

template <class T>
LG_HD Lanes<T> root(const Lanes<T>& a) {
  return each(a, [](T x) { return std::sqrt(x); });
}

// The lanes where test(a, b) holds.
template <class T, class Test>
LG_HD Mask compare(const Lanes<T>& a, const Lanes<T>& b, Test&& test) {
  alignas(64) T x[16], y[16];
  store(x, a);
  store(y, b);
  Mask m = 0;
  for (int l = 0; l < 16; ++l) m |= static_cast<Mask>(test(x[l], y[l])) << l;
  return m;
}
template <class T>
LG_HD Mask less(const Lanes<T>& a, const Lanes<T>& b) {
  return compare(a, b, [](T x, T y) { return x < y; });
}
template <class T>
LG_HD Mask less_equal(const Lanes<T>& a, const Lanes<T>& b) {
  return compare(a, b, [](T x, T y) { return x <= y; });
}

template <class T>
LG_HD T sum(const Lanes<T>& a) {
  alignas(64) T s[16];
  store(s, a);
  for (int l = 0; l < 8; ++l) s[l] = s[l] + s[l + 8];
  for (int l = 0; l < 4; ++l) s[l] = s[l] + s[l + 4];
  return (s[0] + s[2]) + (s[1] + s[3]);
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
LG_HD F operator+(const F& a, const F& b) {
  return _mm512_add_ps(a.v, b.v);
}
template <>
LG_HD F operator-(const F& a, const F& b) {
  return _mm512_sub_ps(a.v, b.v);
}
template <>
LG_HD F operator*(const F& a, const F& b) {
  return _mm512_mul_ps(a.v, b.v);
}
template <>
LG_HD F operator/(const F& a, const F& b) {
  return _mm512_div_ps(a.v, b.v);
}
// The zero-masked forms: GCC 12 warns about the undefined register inside the plain ones.
template <>
LG_HD F root(const F& a) {
  return _mm512_maskz_sqrt_ps(0xffff, a.v);
}
template <>
LG_HD F maximum(const F& a, const F& b) {
  return _mm512_maskz_max_ps(0xffff, a.v, b.v);
}
template <>
LG_HD F minimum(const F& a, const F& b) {
  return _mm512_maskz_min_ps(0xffff, a.v, b.v);
}
template <>
LG_HD Mask less(const F& a, const F& b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
}
template <>
LG_HD Mask less_equal(const F& a, const F& b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ);
}
template <>
LG_HD F select(Mask m, const F& yes, const F& no) {
  return _mm512_mask_mov_ps(no.v, static_cast<__mmask16>(m), yes.v);
}
template <>
LG_HD F load(const float* p) {
  return _mm512_loadu_ps(p);
}
template <>
LG_HD void store(float* p, const F& a) {
  _mm512_storeu_ps(p, a.v);
}
template <>
LG_HD float sum(const F& a) {
  const __m256 s8 =
      _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, a.v, 0), _mm512_maskz_extractf32x8_ps(0xff, a.v, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
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
LG_HD F operator+(const F& x, const F& y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
template <>
LG_HD F operator-(const F& x, const F& y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
template <>
LG_HD F operator*(const F& x, const F& y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
template <>
LG_HD F operator/(const F& x, const F& y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
template <>
LG_HD F root(const F& x) {
  return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
}
template <>
LG_HD F maximum(const F& x, const F& y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
template <>
LG_HD F minimum(const F& x, const F& y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
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
LG_HD F load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
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

}  // namespace wide
}  // namespace lg
