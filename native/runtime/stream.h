// Writes that bypass the caches, for data that will not be read soon: the zeros of empty pixels.
//
// An ordinary store first reads the line that it is about to overwrite, and evicts lines that others still need.
// Streamed stores do neither if they fill whole lines. Other threads see them once run_parallel() has returned.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/config.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define LG_HAS_STREAMS 1
#elif defined(__SSE2__)
#include <emmintrin.h>
#define LG_HAS_STREAMS 1
#else
#define LG_HAS_STREAMS 0
#endif

namespace lg {

// Whether an output of this many bytes exceeds the inner caches anyway.
inline bool worth_streaming(int64_t bytes) { return LG_HAS_STREAMS && bytes >= int64_t{1} << 20; }

constexpr uintptr_t line_bytes = 64;

#if LG_HAS_STREAMS

LG_HD void stream_zero_line(char* to) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_setzero_si512());
#else
  for (int i = 0; i < 64; i += 16) _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm_setzero_si128());
#endif
}

// Orders streamed stores before all later ones of this thread.
inline void finish_streams() { _mm_sfence(); }

#else

inline void stream_zero_line(char* to) { std::memset(to, 0, 64); }
inline void finish_streams() {}

#endif

// Writes `count` zeros, streamed if requested and if they form whole lines.
template <class T>
LG_HD void write_zeros(T* to, int64_t count, bool stream) {
  const size_t bytes = sizeof(T) * static_cast<size_t>(count);
  if (stream && (reinterpret_cast<uintptr_t>(to) | bytes) % line_bytes == 0) {
    for (size_t i = 0; i < bytes; i += line_bytes) stream_zero_line(reinterpret_cast<char*>(to) + i);
  } else {
    std::memset(to, 0, bytes);
  }
}

}  // namespace lg
