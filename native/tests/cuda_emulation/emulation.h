// CUDA's vocabulary for a C++ compiler, so that tests can run the kernels of *_cuda.cu on a processor.
//
// Blocks run one after another, the threads of a block as fibers that take turns: a thread runs until it waits
// for others (a barrier, a warp function) or ends. This shows whether the kernels' logic is right, whether all lanes of
// a warp reach the same warp functions and, with AddressSanitizer, what they read and write. It shows neither races nor
// the memory model nor speed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static thread_local

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

using cudaStream_t = void*;

namespace lg {
namespace emulation {

struct Coordinates {
  dim3 thread, block, block_size, grid;
};
extern thread_local Coordinates now;

// Runs body(data) for every thread of the grid.
void run(dim3 grid, dim3 block, void (*body)(void*), void* data);

// The values that a warp's lanes have contributed. Valid until the lane's next exchange.
struct Exchange {
  const unsigned char* values;  // 32 slots of slot_bytes
  uint32_t lanes;               // the lanes that take part: all that have not ended
};
constexpr size_t slot_bytes = 256;
Exchange exchange(const char* what, const void* value, size_t size);
void barrier();
unsigned lane();

template <class V>
V value_of(const Exchange& all, unsigned lane) {
  V value;
  std::memcpy(&value, all.values + lane * slot_bytes, sizeof value);
  return value;
}

}  // namespace emulation

constexpr uint32_t warp_size = 32;
constexpr uint32_t all_lanes = 0xffffffffu;

inline unsigned lane_id() { return emulation::lane(); }
inline void __syncthreads() { emulation::barrier(); }

inline uint32_t warp_ballot(bool condition) {
  const auto all = emulation::exchange("ballot", &condition, sizeof condition);
  uint32_t mask = 0;
  for (unsigned l = 0; l < warp_size; ++l) {
    if ((all.lanes >> l & 1) && emulation::value_of<bool>(all, l)) mask |= 1u << l;
  }
  return mask;
}
inline void warp_sync() { warp_ballot(true); }
inline bool warp_any(bool condition) { return warp_ballot(condition) != 0; }

template <class V>
V warp_shuffle(const V& value, unsigned from) {
  const auto all = emulation::exchange("shuffle", &value, sizeof value);
  return all.lanes >> from & 1 ? emulation::value_of<V>(all, from) : value;
}

// values[i] of lane `from`, for all i.
template <int N, class V>
void warp_shuffle_all(const V (&values)[N], unsigned from, V (&out)[N]) {
  static_assert(sizeof values <= emulation::slot_bytes, "too much to shuffle");
  const auto all = emulation::exchange("shuffle", &values, sizeof values);
  std::memcpy(&out, all.values + (all.lanes >> from & 1 ? from : lane_id()) * emulation::slot_bytes, sizeof out);
}

// The lanes with the same value.
template <class V>
uint32_t warp_match(V value) {
  const auto all = emulation::exchange("match", &value, sizeof value);
  uint32_t mask = 0;
  for (unsigned l = 0; l < warp_size; ++l) {
    if ((all.lanes >> l & 1) && emulation::value_of<V>(all, l) == value) mask |= 1u << l;
  }
  return mask;
}

inline void warp_barrier() {
  const char nothing = 0;
  emulation::exchange("barrier", &nothing, sizeof nothing);
}

template <class V>
V atomic_add(V* place, V value) {
  const V before = *place;
  *place = before + value;
  return before;
}
template <class V>
V atomic_min(V* place, V value) {
  const V before = *place;
  *place = std::min(before, value);
  return before;
}
template <class V>
V atomic_max(V* place, V value) {
  const V before = *place;
  *place = std::max(before, value);
  return before;
}
template <class V>
V atomic_or(V* place, V value) {
  const V before = *place;
  *place = before | value;
  return before;
}
template <class V>
V atomic_exchange(V* place, V value) {
  return std::exchange(*place, value);
}
template <class V>
V atomic_compare_exchange(V* place, V expected, V wanted) {
  const V before = *place;
  if (before == expected) *place = wanted;
  return before;
}
template <class V>
V load_fresh(const V* place) {
  return *place;
}

inline int bit_count(uint32_t mask) { return __builtin_popcount(mask); }
inline int lowest_bit(uint32_t mask) { return __builtin_ctz(mask); }
inline int lowest_bit(uint64_t mask) { return __builtin_ctzll(mask); }
inline int highest_bit(uint32_t mask) { return 31 - __builtin_clz(mask); }
inline uint32_t float_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float bits_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace lg

#define threadIdx (::lg::emulation::now.thread)
#define blockIdx (::lg::emulation::now.block)
#define blockDim (::lg::emulation::now.block_size)
#define gridDim (::lg::emulation::now.grid)
