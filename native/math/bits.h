// Comparisons of sixteen triangle numbers at once, as bit masks.
#pragma once

#include <cstdint>

#include "math/lanes.h"
#include "runtime/config.h"

namespace lg {

// Bit l is set where values[l] == wanted, for l in [0, 16).
LG_INLINE uint32_t equal_lanes(const Lanes<int32_t>& values, int32_t wanted) {
#if defined(__AVX512F__)
  return _mm512_cmpeq_epi32_mask((__m512i)values.part[0], _mm512_set1_epi32(wanted));
#else
  return bits_of(values == wanted);
#endif
}
inline uint32_t equal_lanes(const int32_t* values, int32_t wanted) {
  return equal_lanes(Lanes<int32_t>::load(values), wanted);
}

// Bit l is set where values[l] is negative, for l in [0, 16).
inline uint32_t sign_lanes(const int32_t* values) {
#if defined(__AVX512F__)
  return _mm512_cmplt_epi32_mask(_mm512_loadu_si512(values), _mm512_setzero_si512());
#else
  return bits_of(Lanes<int32_t>::load(values) < 0);
#endif
}

// Bit l is set where ids[l] is a triangle, for l in [0, 16), or in [0, count), count at most 16.
LG_INLINE uint32_t seen_lanes(const Lanes<int32_t>& ids) {
#if defined(__AVX512F__)
  return _mm512_cmpge_epi32_mask((__m512i)ids.part[0], _mm512_setzero_si512());
#else
  return bits_of(0 <= ids);
#endif
}
inline uint32_t seen_lanes(const int32_t* ids, int count) {
  if (LG_LIKELY(count == 16)) return seen_lanes(Lanes<int32_t>::load(ids));
  uint32_t seen = 0;
  for (int l = 0; l < count; ++l) seen |= static_cast<uint32_t>(ids[l] >= 0) << l;
  return seen;
}

// Bit l is set where ids[l] differs from the one before, for l in [0, count), count at most 16. Bit 0 is always set.
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
inline int lowest_lane(uint32_t mask) { return __builtin_ctz(mask); }

// The lowest set bit and all above it: the lanes from the start of a run on. Later runs overwrite their own lanes.
inline uint32_t lanes_from_lowest(uint32_t mask) { return mask | (0u - mask); }

// The number of set bits.
inline int count_lanes(uint32_t mask) { return __builtin_popcount(mask); }

// The position of the lowest of 64 bits.
inline int lowest_bit(uint64_t mask) { return __builtin_ctzll(mask); }
inline int highest_bit(uint64_t mask) { return 63 - __builtin_clzll(mask); }

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
