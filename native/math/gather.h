// Fetches sixteen records of four 32-bit values from anywhere in an array, and transposes them.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/config.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lg {

constexpr int gather_lanes = 16;

#if defined(__SSE2__)

LG_HD __m128i load_record(const void* records, int64_t number) {
  return _mm_loadu_si128(static_cast<const __m128i*>(records) + number);
}

#endif

// out[place][lane] = value `place` of record index[lane * stride]; out: 4 x 16 values of 32 bits.
inline void gather_records(const void* records, const int32_t* index, int stride, void* out) {
#if defined(__AVX512F__)
  // Record 4 j + i goes to quarter j of row i; then every quarter is transposed. The zero-masked forms: GCC 12 warns
  // about the undefined register inside the plain ones.
  __m512i rows[4];
  for (int i = 0; i < 4; ++i) {
    const int32_t* at = index + i * stride;
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load_record(records, at[0])),
                                                load_record(records, at[4 * stride]), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load_record(records, at[8 * stride])),
                                                 load_record(records, at[12 * stride]), 1);
    rows[i] = _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(low), high, 1);
  }
  const __mmask16 all = 0xffff;
  const __m512i a = _mm512_maskz_unpacklo_epi32(all, rows[0], rows[1]),
                b = _mm512_maskz_unpackhi_epi32(all, rows[0], rows[1]);
  const __m512i c = _mm512_maskz_unpacklo_epi32(all, rows[2], rows[3]),
                d = _mm512_maskz_unpackhi_epi32(all, rows[2], rows[3]);
  int32_t* to = static_cast<int32_t*>(out);
  _mm512_storeu_si512(to, _mm512_maskz_unpacklo_epi64(0xff, a, c));
  _mm512_storeu_si512(to + 16, _mm512_maskz_unpackhi_epi64(0xff, a, c));
  _mm512_storeu_si512(to + 32, _mm512_maskz_unpacklo_epi64(0xff, b, d));
  _mm512_storeu_si512(to + 48, _mm512_maskz_unpackhi_epi64(0xff, b, d));
#elif defined(__SSE2__)
  for (int l = 0; l < gather_lanes; l += 4) {
    __m128i rows[4];
    for (int i = 0; i < 4; ++i) rows[i] = load_record(records, index[(l + i) * stride]);
    const __m128i a = _mm_unpacklo_epi32(rows[0], rows[1]), b = _mm_unpackhi_epi32(rows[0], rows[1]);
    const __m128i c = _mm_unpacklo_epi32(rows[2], rows[3]), d = _mm_unpackhi_epi32(rows[2], rows[3]);
    int32_t* to = static_cast<int32_t*>(out) + l;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi64(a, c));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm_unpackhi_epi64(a, c));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm_unpacklo_epi64(b, d));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 48), _mm_unpackhi_epi64(b, d));
  }
#else
  for (int l = 0; l < gather_lanes; ++l) {
    const char* record = static_cast<const char*>(records) + 16 * static_cast<int64_t>(index[l * stride]);
    for (int k = 0; k < 4; ++k) std::memcpy(static_cast<char*>(out) + 4 * (16 * k + l), record + 4 * k, 4);
  }
#endif
}

// The same for double: 4 x 16 values.
inline void gather_records(const double* records, const int32_t* index, int stride, double* out) {
  for (int l = 0; l < gather_lanes; ++l) {
    for (int k = 0; k < 4; ++k) out[16 * k + l] = records[4 * static_cast<int64_t>(index[l * stride]) + k];
  }
}

// The three corners of `count` triangles, at most sixteen; beyond, the first is repeated. index: three for each
// triangle.
template <class Record, class Out>
void gather_corners(const Record* records, const int32_t* index, int64_t count, Out* a, Out* b, Out* c) {
  int32_t padded[3 * gather_lanes];
  for (int i = 0; count < gather_lanes && i < 3 * gather_lanes; ++i) padded[i] = index[i < 3 * count ? i : i % 3];
  const int32_t* from = count < gather_lanes ? padded : index;
  gather_records(records, from, 3, a);
  gather_records(records, from + 1, 3, b);
  gather_records(records, from + 2, 3, c);
}

// Asks for what gather_corners() will read of another `count` triangles. record_values: values in a record.
template <class Value>
void prefetch_corners(const Value* records, int record_values, const int32_t* index, int64_t count) {
  for (int64_t i = 0; i < 3 * count; ++i) LG_PREFETCH(records + record_values * static_cast<int64_t>(index[i]));
}

}  // namespace lg
