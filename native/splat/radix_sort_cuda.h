// Stable radix sort of 32-bit keys with 32-bit values, of which there may be fewer than the host knows.
#pragma once

#include "runtime/cuda/launch.h"

namespace lg {

constexpr int sort_threads = 256, sort_warps = sort_threads / 32;
constexpr int digit_bits = 8, digits = 1 << digit_bits;
static_assert(digits == sort_threads, "a thread per digit");
constexpr int sort_rounds = 16;  // of a warp over its part of a chunk
constexpr int64_t sort_chunk = sort_threads * sort_rounds;

// The sum of `value` over the warp's lanes up to this one.
template <class V>
LG_DEVICE V sum_until(V value) {
  const unsigned lane = lane_id();
  for (unsigned step = 1; step < warp_size; step *= 2) {
    const V before = warp_shuffle(value, lane >= step ? lane - step : lane);
    value += lane >= step ? before : V(0);
  }
  return value;
}

// The sum of `value` over the block's threads before this one; *all: over all of them. Every thread comes here.
// of_warps: shared.
template <class V>
LG_DEVICE V sum_before(V value, V (&of_warps)[sort_warps], V* all) {
  const unsigned warp = threadIdx.x / warp_size;
  V sum = sum_until(value);
  __syncthreads();  // the last call's sums have been read
  if (lane_id() == warp_size - 1) of_warps[warp] = sum;
  __syncthreads();
  V total = 0;
  sum -= value;
  for (unsigned w = 0; w < sort_warps; ++w) {
    if (w < warp) sum += of_warps[w];
    total += of_warps[w];
  }
  *all = total;
  return sum;
}

// Memory of a sort of up to `most` items.
struct SortBuffers {
  uint32_t *keys[2], *values[2];
  uint32_t* places;  // [digits, chunks]
  uint32_t* totals;  // [digits]
  int64_t most;

  int64_t chunks() const { return divide_up(most, sort_chunk); }
  void plan(Workspace& workspace, int64_t items) {
    most = items;
    for (int k = 0; k < 2; ++k) {
      keys[k] = workspace.take<uint32_t>(most);
      values[k] = workspace.take<uint32_t>(most);
    }
    places = workspace.take<uint32_t>(digits * chunks());
    totals = workspace.take<uint32_t>(digits);
  }
};

// Sorts what lies in keys[0] and values[0] by the lowest `bits` bits, and returns which of the two has the result.
// count: how many items there are, where the device alone knows; else null.
int radix_sort(Queue& queue, const SortBuffers& buffers, const uint32_t* count, int bits);

}  // namespace lg
