// The few words of CUDA that kernels use. *_cuda.cu compiles with nvcc and, for tests, with a C++ compiler and
// LG_CUDA_EMULATED (native/tests/cuda_emulation), which provides the same words on a processor.
#pragma once

#include <cstdint>

#include "runtime/config.h"

#if defined(LG_CUDA_EMULATED)
#include "tests/cuda_emulation/emulation.h"
#define LG_DEVICE inline
#define LG_DEVICE_NOINLINE LG_NOINLINE
#else
#include <cuda_runtime.h>
#define LG_DEVICE __device__ __forceinline__
#define LG_DEVICE_NOINLINE __device__ __noinline__

namespace lg {

constexpr uint32_t warp_size = 32;
constexpr uint32_t all_lanes = 0xffffffffu;

LG_DEVICE unsigned lane_id() {
  unsigned lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

// All lanes of a warp call these together.
LG_DEVICE uint32_t warp_ballot(bool condition) { return __ballot_sync(all_lanes, condition); }
LG_DEVICE bool warp_any(bool condition) { return __any_sync(all_lanes, condition) != 0; }
template <class V>
LG_DEVICE V warp_shuffle(const V& value, unsigned from) {
  return __shfl_sync(all_lanes, value, static_cast<int>(from));
}
// All lanes of the warp see what lanes have written to memory before this call.
LG_DEVICE void warp_sync() { __syncwarp(); }
template <int N, class V>
LG_DEVICE void warp_shuffle_all(const V (&values)[N], unsigned from, V (&out)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) out[i] = __shfl_sync(all_lanes, values[i], static_cast<int>(from));
}
template <class V>
LG_DEVICE uint32_t warp_match(V value) {
  return __match_any_sync(all_lanes, value);
}

// All lanes of the warp can read what lanes have written before this call.
LG_DEVICE void warp_barrier() { __syncwarp(); }

LG_DEVICE uint32_t atomic_add(uint32_t* place, uint32_t value) { return atomicAdd(place, value); }
LG_DEVICE float atomic_add(float* place, float value) { return atomicAdd(place, value); }
LG_DEVICE double atomic_add(double* place, double value) { return atomicAdd(place, value); }
LG_DEVICE uint64_t atomic_add(uint64_t* place, uint64_t value) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(place), static_cast<unsigned long long>(value));
}
LG_DEVICE uint64_t atomic_min(uint64_t* place, uint64_t value) {
  return atomicMin(reinterpret_cast<unsigned long long*>(place), static_cast<unsigned long long>(value));
}
LG_DEVICE int32_t atomic_max(int32_t* place, int32_t value) { return atomicMax(place, value); }
LG_DEVICE uint32_t atomic_max(uint32_t* place, uint32_t value) { return atomicMax(place, value); }
LG_DEVICE uint64_t atomic_max(uint64_t* place, uint64_t value) {
  return atomicMax(reinterpret_cast<unsigned long long*>(place), static_cast<unsigned long long>(value));
}
LG_DEVICE uint32_t atomic_or(uint32_t* place, uint32_t value) { return atomicOr(place, value); }
LG_DEVICE int32_t atomic_exchange(int32_t* place, int32_t value) { return atomicExch(place, value); }
LG_DEVICE uint64_t atomic_compare_exchange(uint64_t* place, uint64_t expected, uint64_t wanted) {
  return atomicCAS(reinterpret_cast<unsigned long long*>(place), static_cast<unsigned long long>(expected),
                   static_cast<unsigned long long>(wanted));
}
// Reads what atomics of other blocks have written, bypassing the private cache of the multiprocessor.
LG_DEVICE uint64_t load_fresh(const uint64_t* place) {
  return __ldcg(reinterpret_cast<const unsigned long long*>(place));
}
LG_DEVICE uint32_t load_fresh(const uint32_t* place) { return __ldcg(place); }

LG_DEVICE int bit_count(uint32_t mask) { return __popc(mask); }
LG_DEVICE int lowest_bit(uint32_t mask) { return __ffs(static_cast<int>(mask)) - 1; }
LG_DEVICE int lowest_bit(uint64_t mask) { return __ffsll(static_cast<long long>(mask)) - 1; }
LG_DEVICE int highest_bit(uint32_t mask) { return 31 - __clz(static_cast<int>(mask)); }
LG_DEVICE uint32_t float_bits(float value) { return __float_as_uint(value); }
LG_DEVICE float bits_float(uint32_t bits) { return __uint_as_float(bits); }

}  // namespace lg
#endif

namespace lg {

LG_DEVICE uint32_t lanes_below() { return (1u << lane_id()) - 1; }

// Sums values among the lanes in `peers`, which is the same for all of them and differs between groups. The lowest lane
// of each group ends with the sum, the others with partial sums. Every lane of the warp takes part. The order of the
// sum depends only on the lanes.
template <int N, class T>
LG_DEVICE void add_up_peers(uint32_t peers, T (&values)[N]) {
  uint32_t above = peers & ~(lanes_below() << 1 | 1u);
  int rank = bit_count(peers & lanes_below());
  while (warp_any(above != 0)) {
    const bool takes = above != 0;
    const unsigned from = takes ? static_cast<unsigned>(lowest_bit(above)) : lane_id();
    T theirs[N];
    warp_shuffle_all(values, from, theirs);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += takes ? theirs[i] : T(0);
    // Lanes of odd rank have been taken.
    above &= ~warp_ballot((rank & 1) != 0);
    rank >>= 1;
  }
}

// Sums N values, 16 or 32, over all lanes of a warp: lane l ends with the sum of values[l % N]. Lanes give away one
// half of what they hold and take the other half from their partner, so it takes N exchanges in all.
template <int Half, class T>
LG_DEVICE T half_of_totals(const T (&values)[2 * Half]) {
  const bool upper = (lane_id() & Half) != 0;
  T given[Half], kept[Half], taken[Half];
#pragma unroll
  for (int i = 0; i < Half; ++i) {
    given[i] = upper ? values[i] : values[Half + i];
    kept[i] = upper ? values[Half + i] : values[i];
  }
  warp_shuffle_all(given, lane_id() ^ Half, taken);
#pragma unroll
  for (int i = 0; i < Half; ++i) kept[i] += taken[i];
  if constexpr (Half > 1) {
    return half_of_totals<Half / 2>(kept);
  } else {
    return kept[0];
  }
}
template <int N, class T>
LG_DEVICE T warp_totals(const T (&values)[N]) {
  static_assert(N == 16 || N == 32, "of all lanes or of half of them");
  const T total = half_of_totals<N / 2>(values);
  return N == 32 ? total : total + warp_shuffle(total, lane_id() ^ 16);
}

// Sums values over all lanes of a warp, in a fixed order; every lane ends with the same sums.
template <int N, class T>
LG_DEVICE void add_up_warp(T (&values)[N]) {
#pragma unroll
  for (unsigned step = warp_size / 2; step > 0; step /= 2) {
    T theirs[N];
    warp_shuffle_all(values, lane_id() ^ step, theirs);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += theirs[i];
  }
}

// The sum of the values of this lane and the lanes below it.
template <class V>
LG_DEVICE V running_sum(V value) {
#pragma unroll
  for (unsigned step = 1; step < warp_size; step *= 2) {
    const V before = warp_shuffle(value, lane_id() >= step ? lane_id() - step : lane_id());
    value += lane_id() >= step ? before : V(0);
  }
  return value;
}
// The first lane whose running sum exceeds `place`; the last lane if there is none. By passing 0, 1, 2, ..., lanes
// distribute the items of a warp's lanes among all of them.
template <class V>
LG_DEVICE unsigned lane_with(V running, V place) {
  unsigned lane = 0;
#pragma unroll
  for (unsigned step = warp_size / 2; step > 0; step /= 2) {
    if (warp_shuffle(running, lane + step - 1) <= place) lane += step;
  }
  return lane;
}

LG_DEVICE bool is_lowest(uint32_t peers) { return (peers & lanes_below()) == 0; }

}  // namespace lg
