// Comparisons of sixteen triangle numbers at once, as bit masks.
#pragma once

#include <cstdint>

#include "runtime/config.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace lg {

// Bit l is set where values[l] == wanted, for l in [0, 16).
inline uint32_t equal_lanes(const int32_t* values, int32_t wanted) {
#if defined(__AVX512F__)
  return _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(values), _mm512_set1_epi32(wanted));
#elif defined(__AVX2__)
  const __m256i w = _mm256_set1_epi32(wanted);
  const __m256i lo = _mm256_cmpeq_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)), w);
  const __m256i hi = _mm256_cmpeq_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + 8)), w);
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(lo))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(hi))) << 8;
#elif defined(__SSE2__) || defined(_M_X64)
  uint32_t mask = 0;
  for (int quad = 0; quad < 4; ++quad) {
    const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + 4 * quad));
    const __m128 equal = _mm_castsi128_ps(_mm_cmpeq_epi32(four, _mm_set1_epi32(wanted)));
    mask |= static_cast<uint32_t>(_mm_movemask_ps(equal)) << (4 * quad);
  }
  return mask;
#else
  uint32_t mask = 0;
  for (int l = 0; l < 16; ++l) mask |= static_cast<uint32_t>(values[l] == wanted) << l;
  return mask;
#endif
}

// Bit l is set where values[l] is negative, for l in [0, 16).
inline uint32_t sign_lanes(const int32_t* values) {
#if defined(__AVX512F__)
  return _mm512_cmplt_epi32_mask(_mm512_loadu_si512(values), _mm512_setzero_si512());
#elif defined(__SSE2__) || defined(_M_X64)
  uint32_t mask = 0;
  for (int quad = 0; quad < 4; ++quad) {
    const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + 4 * quad));
    mask |= static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(four))) << (4 * quad);
  }
  return mask;
#else
  uint32_t mask = 0;
  for (int l = 0; l < 16; ++l) mask |= static_cast<uint32_t>(values[l] < 0) << l;
  return mask;
#endif
}

// Bit l is set where ids[l] is a triangle, for l in [0, count), count at most 16.
inline uint32_t seen_lanes(const int32_t* ids, int count) {
  if (LG_LIKELY(count == 16)) return ~sign_lanes(ids) & 0xffffu;
  uint32_t seen = 0;
  for (int l = 0; l < count; ++l) seen |= static_cast<uint32_t>(ids[l] >= 0) << l;
  return seen;
}

// Bit l is set where ids[l] differs from the one before, for l in [0, count), count at most 16; bit 0 always is.
inline uint32_t run_starts(const int32_t* ids, int count) {
#if defined(__AVX512F__)
  if (LG_LIKELY(count == 16)) {
    const __m512i here = _mm512_loadu_si512(ids), before = _mm512_maskz_alignr_epi32(0xffff, here, here, 15);
    return _mm512_cmpneq_epi32_mask(here, before) | 1u;
  }
#endif
  uint32_t starts = 1;
  for (int l = 1; l < count; ++l) starts |= static_cast<uint32_t>(ids[l] != ids[l - 1]) << l;
  return starts;
}

// The position of the lowest set bit. mask must not be zero.
inline int lowest_lane(uint32_t mask) {
#if defined(_MSC_VER)
  unsigned long index;
  _BitScanForward(&index, mask);
  return static_cast<int>(index);
#else
  return __builtin_ctz(mask);
#endif
}

// The lowest set bit and all above it: the lanes from the beginning of a run on. Later runs overwrite what is theirs.
inline uint32_t lanes_from_lowest(uint32_t mask) { return mask | (0u - mask); }

// The number of set bits.
inline int count_lanes(uint32_t mask) {
#if defined(_MSC_VER)
  return static_cast<int>(__popcnt(mask));
#else
  return __builtin_popcount(mask);
#endif
}

// The position of the lowest of 64 bits.
inline int lowest_bit(uint64_t mask) {
#if defined(_MSC_VER)
  unsigned long index;
  _BitScanForward64(&index, mask);
  return static_cast<int>(index);
#else
  return __builtin_ctzll(mask);
#endif
}

// The end of the run of equal values that starts at `begin`, at most `end`.
inline int64_t run_end(const int32_t* values, int64_t begin, int64_t end) {
  const int32_t value = values[begin];
  int64_t i = begin + 1;
  while (i < end && i < begin + 4) {  // most runs are short
    if (values[i] != value) return i;
    ++i;
  }
  for (; i + 16 <= end; i += 16) {
    const uint32_t different = ~equal_lanes(values + i, value) & 0xffffu;
    if (different) return i + lowest_lane(different);
  }
  while (i < end && values[i] == value) ++i;
  return i;
}

}  // namespace lg
