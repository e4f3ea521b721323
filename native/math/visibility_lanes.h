// Sixteen pixels at once: the vector type of the visibility kernel, for AVX-512, AVX2 and plain C++; and
// several triangles at once, in float64, for setting them up.
//
// Only these innermost parts of rasterization are written with it; everything else is left to the compiler's
// vectoriser. Every operation is exact or IEEE-rounded the same way in all three versions, so results do not
// depend on which one runs.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/config.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lg {

#if defined(__AVX512F__)

struct IntLanes {
  __m512i v;
};
struct FloatLanes {
  __m512 v;
};
struct LaneMask {
  __mmask16 v;
};

inline IntLanes broadcast(int32_t a) { return {_mm512_set1_epi32(a)}; }
inline FloatLanes broadcast(float a) { return {_mm512_set1_ps(a)}; }
inline IntLanes load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline FloatLanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(int32_t* p, IntLanes a) { _mm512_storeu_si512(p, a.v); }
inline void store(float* p, FloatLanes a) { _mm512_storeu_ps(p, a.v); }
inline IntLanes operator+(IntLanes a, IntLanes b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline IntLanes operator*(IntLanes a, IntLanes b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
inline IntLanes operator|(IntLanes a, IntLanes b) { return {_mm512_or_si512(a.v, b.v)}; }
inline FloatLanes operator+(FloatLanes a, FloatLanes b) { return {_mm512_add_ps(a.v, b.v)}; }
inline FloatLanes operator*(FloatLanes a, FloatLanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
// The zero-masked forms: GCC 12 warns about the undefined register inside the plain ones.
inline FloatLanes minimum(FloatLanes a, FloatLanes b) { return {_mm512_maskz_min_ps(0xffff, a.v, b.v)}; }
inline FloatLanes maximum(FloatLanes a, FloatLanes b) { return {_mm512_maskz_max_ps(0xffff, a.v, b.v)}; }
inline LaneMask non_negative(IntLanes a) { return {_mm512_cmpge_epi32_mask(a.v, _mm512_setzero_si512())}; }
inline LaneMask less(IntLanes a, IntLanes b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
inline LaneMask less(FloatLanes a, FloatLanes b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline LaneMask less_equal(FloatLanes a, FloatLanes b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline LaneMask operator&(LaneMask a, LaneMask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
inline LaneMask operator|(LaneMask a, LaneMask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
inline LaneMask from_bits(uint32_t bits) { return {static_cast<__mmask16>(bits)}; }
inline bool any(LaneMask a) { return a.v != 0; }
inline IntLanes select(LaneMask m, IntLanes yes, IntLanes no) { return {_mm512_mask_mov_epi32(no.v, m.v, yes.v)}; }
inline FloatLanes select(LaneMask m, FloatLanes yes, FloatLanes no) { return {_mm512_mask_mov_ps(no.v, m.v, yes.v)}; }

#elif defined(__AVX2__)

struct IntLanes {
  __m256i a, b;
};
struct FloatLanes {
  __m256 a, b;
};
struct LaneMask {
  __m256 a, b;
};

inline IntLanes broadcast(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline FloatLanes broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline IntLanes load(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
inline FloatLanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(int32_t* p, IntLanes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), x.b);
}
inline void store(float* p, FloatLanes x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline IntLanes operator+(IntLanes x, IntLanes y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline IntLanes operator*(IntLanes x, IntLanes y) {
  return {_mm256_mullo_epi32(x.a, y.a), _mm256_mullo_epi32(x.b, y.b)};
}
inline IntLanes operator|(IntLanes x, IntLanes y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
inline FloatLanes operator+(FloatLanes x, FloatLanes y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline FloatLanes operator*(FloatLanes x, FloatLanes y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline FloatLanes minimum(FloatLanes x, FloatLanes y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline FloatLanes maximum(FloatLanes x, FloatLanes y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline LaneMask as_mask(__m256i a, __m256i b) { return {_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)}; }
inline LaneMask less(IntLanes x, IntLanes y) {
  return as_mask(_mm256_cmpgt_epi32(y.a, x.a), _mm256_cmpgt_epi32(y.b, x.b));
}
inline LaneMask non_negative(IntLanes x) { return less(broadcast(-1), x); }
inline LaneMask less(FloatLanes x, FloatLanes y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
inline LaneMask less_equal(FloatLanes x, FloatLanes y) {
  return {_mm256_cmp_ps(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LE_OQ)};
}
inline LaneMask operator&(LaneMask x, LaneMask y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
inline LaneMask operator|(LaneMask x, LaneMask y) { return {_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)}; }
inline LaneMask from_bits(uint32_t bits) {
  const __m256i low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), high = _mm256_slli_epi32(low, 8);
  const __m256i all = _mm256_set1_epi32(static_cast<int32_t>(bits));
  return as_mask(_mm256_cmpeq_epi32(_mm256_and_si256(all, low), low),
                 _mm256_cmpeq_epi32(_mm256_and_si256(all, high), high));
}
inline bool any(LaneMask x) { return (_mm256_movemask_ps(x.a) | _mm256_movemask_ps(x.b)) != 0; }
inline FloatLanes select(LaneMask m, FloatLanes yes, FloatLanes no) {
  return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
inline IntLanes select(LaneMask m, IntLanes yes, IntLanes no) {
  return {_mm256_blendv_epi8(no.a, yes.a, _mm256_castps_si256(m.a)),
          _mm256_blendv_epi8(no.b, yes.b, _mm256_castps_si256(m.b))};
}

#else

struct IntLanes {
  int32_t v[16];
};
struct FloatLanes {
  float v[16];
};
struct LaneMask {
  int32_t v[16];  // 0 or -1
};

template <class To, class Operation>
inline To for_lanes(Operation&& operation) {
  To out;
  for (int l = 0; l < 16; ++l) out.v[l] = operation(l);
  return out;
}

inline IntLanes broadcast(int32_t a) {
  return for_lanes<IntLanes>([&](int) { return a; });
}
inline FloatLanes broadcast(float a) {
  return for_lanes<FloatLanes>([&](int) { return a; });
}
inline IntLanes load(const int32_t* p) {
  return for_lanes<IntLanes>([&](int l) { return p[l]; });
}
inline FloatLanes load(const float* p) {
  return for_lanes<FloatLanes>([&](int l) { return p[l]; });
}
inline void store(int32_t* p, const IntLanes& a) {
  for (int l = 0; l < 16; ++l) p[l] = a.v[l];
}
inline void store(float* p, const FloatLanes& a) {
  for (int l = 0; l < 16; ++l) p[l] = a.v[l];
}
inline IntLanes operator+(const IntLanes& a, const IntLanes& b) {
  return for_lanes<IntLanes>([&](int l) { return a.v[l] + b.v[l]; });
}
inline IntLanes operator*(const IntLanes& a, const IntLanes& b) {
  return for_lanes<IntLanes>([&](int l) { return a.v[l] * b.v[l]; });
}
inline IntLanes operator|(const IntLanes& a, const IntLanes& b) {
  return for_lanes<IntLanes>([&](int l) { return a.v[l] | b.v[l]; });
}
inline FloatLanes operator+(const FloatLanes& a, const FloatLanes& b) {
  return for_lanes<FloatLanes>([&](int l) { return a.v[l] + b.v[l]; });
}
inline FloatLanes operator*(const FloatLanes& a, const FloatLanes& b) {
  return for_lanes<FloatLanes>([&](int l) { return a.v[l] * b.v[l]; });
}
inline FloatLanes minimum(const FloatLanes& a, const FloatLanes& b) {
  return for_lanes<FloatLanes>([&](int l) { return a.v[l] < b.v[l] ? a.v[l] : b.v[l]; });
}
inline FloatLanes maximum(const FloatLanes& a, const FloatLanes& b) {
  return for_lanes<FloatLanes>([&](int l) { return a.v[l] > b.v[l] ? a.v[l] : b.v[l]; });
}
inline LaneMask non_negative(const IntLanes& a) {
  return for_lanes<LaneMask>([&](int l) { return -(a.v[l] >= 0); });
}
inline LaneMask less(const IntLanes& a, const IntLanes& b) {
  return for_lanes<LaneMask>([&](int l) { return -(a.v[l] < b.v[l]); });
}
inline LaneMask less(const FloatLanes& a, const FloatLanes& b) {
  return for_lanes<LaneMask>([&](int l) { return -(a.v[l] < b.v[l]); });
}
inline LaneMask less_equal(const FloatLanes& a, const FloatLanes& b) {
  return for_lanes<LaneMask>([&](int l) { return -(a.v[l] <= b.v[l]); });
}
inline LaneMask operator&(const LaneMask& a, const LaneMask& b) {
  return for_lanes<LaneMask>([&](int l) { return a.v[l] & b.v[l]; });
}
inline LaneMask operator|(const LaneMask& a, const LaneMask& b) {
  return for_lanes<LaneMask>([&](int l) { return a.v[l] | b.v[l]; });
}
inline LaneMask from_bits(uint32_t bits) {
  return for_lanes<LaneMask>([&](int l) { return -static_cast<int32_t>(bits >> l & 1); });
}
inline bool any(const LaneMask& a) {
  int32_t bits = 0;
  for (int l = 0; l < 16; ++l) bits |= a.v[l];
  return bits != 0;
}
inline IntLanes select(const LaneMask& m, const IntLanes& yes, const IntLanes& no) {
  return for_lanes<IntLanes>([&](int l) { return m.v[l] ? yes.v[l] : no.v[l]; });
}
inline FloatLanes select(const LaneMask& m, const FloatLanes& yes, const FloatLanes& no) {
  return for_lanes<FloatLanes>([&](int l) { return m.v[l] ? yes.v[l] : no.v[l]; });
}

#endif

// ---- Float64 lanes ----------------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int double_lanes = 8;
#elif defined(__AVX2__)
constexpr int double_lanes = 4;
#else
constexpr int double_lanes = 2;
#endif

// Lanes are loaded from and stored to T as well, which they are converted from and to.
#if defined(__GNUC__) || defined(__clang__)

typedef double DoubleLanes __attribute__((vector_size(8 * double_lanes)));

template <class T>
struct Narrow {
  typedef T type __attribute__((vector_size(sizeof(T) * double_lanes)));
};
template <class T>
inline DoubleLanes load_doubles(const T* from) {
  typename Narrow<T>::type values;
  std::memcpy(&values, from, sizeof values);
  return __builtin_convertvector(values, DoubleLanes);
}
template <class T>
inline void store_doubles(T* to, const DoubleLanes& a) {
  const auto values = __builtin_convertvector(a, typename Narrow<T>::type);
  std::memcpy(to, &values, sizeof values);
}

#else

struct DoubleLanes {
  double v[double_lanes];
};

template <class Operation>
inline DoubleLanes for_double_lanes(Operation&& operation) {
  DoubleLanes out;
  for (int l = 0; l < double_lanes; ++l) out.v[l] = operation(l);
  return out;
}
#define LG_LANE_OPERATOR(op)                                                   \
  inline DoubleLanes operator op(const DoubleLanes& a, const DoubleLanes& b) { \
    return for_double_lanes([&](int l) { return a.v[l] op b.v[l]; });          \
  }                                                                            \
  inline DoubleLanes operator op(const DoubleLanes& a, double b) {             \
    return for_double_lanes([&](int l) { return a.v[l] op b; });               \
  }                                                                            \
  inline DoubleLanes operator op(double a, const DoubleLanes& b) {             \
    return for_double_lanes([&](int l) { return a op b.v[l]; });               \
  }
LG_LANE_OPERATOR(+)
LG_LANE_OPERATOR(-)
LG_LANE_OPERATOR(*)
LG_LANE_OPERATOR(/)
#undef LG_LANE_OPERATOR
inline DoubleLanes operator-(const DoubleLanes& a) { return 0.0 - a; }
inline DoubleLanes& operator+=(DoubleLanes& a, const DoubleLanes& b) { return a = a + b; }

template <class T>
inline DoubleLanes load_doubles(const T* from) {
  return for_double_lanes([&](int l) { return static_cast<double>(from[l]); });
}
template <class T>
inline void store_doubles(T* to, const DoubleLanes& a) {
  for (int l = 0; l < double_lanes; ++l) to[l] = static_cast<T>(a.v[l]);
}
inline DoubleLanes zero_unless_finite(const DoubleLanes& condition, const DoubleLanes& value) {
  return for_double_lanes([&](int l) { return condition.v[l] - condition.v[l] == 0 ? value.v[l] : 0.0; });
}

#endif

}  // namespace lg
