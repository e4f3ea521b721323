// Radix sort, eight bits a pass: count the digits of each chunk, sum up along the chunks, place. Warps rank their lanes
// among those of the same digit, so that equal keys keep their order.
#include "splat/radix_sort_cuda.h"

namespace lg {
namespace {

struct SortPass {
  const uint32_t *keys, *values;
  uint32_t *to_keys, *to_values, *places, *totals;
  const uint32_t* count;  // how many items there are, where the device alone knows; else null
  uint32_t most, row;     // row: chunks that `places` has room for
  int shift;

  LG_DEVICE uint32_t items() const { return count && *count < most ? *count : most; }
  LG_DEVICE uint32_t digit(uint32_t i) const { return keys[i] >> shift & (digits - 1); }
};

__global__ void __launch_bounds__(sort_threads) count_digits(SortPass pass) {
  __shared__ uint32_t counted[digits];
  const uint32_t items = pass.items();
  for (int64_t chunk = blockIdx.x; chunk * sort_chunk < items; chunk += gridDim.x) {
    counted[threadIdx.x] = 0;
    __syncthreads();
    for (int round = 0; round < sort_rounds; ++round) {
      const int64_t i = chunk * sort_chunk + round * sort_threads + threadIdx.x;
      if (i < items) atomic_add(counted + pass.digit(static_cast<uint32_t>(i)), uint32_t{1});
    }
    __syncthreads();
    pass.places[threadIdx.x * static_cast<int64_t>(pass.row) + chunk] = counted[threadIdx.x];
    __syncthreads();
  }
}

// A warp per digit.
__global__ void __launch_bounds__(sort_threads) sum_digits(SortPass pass) {
  const int64_t chunks = (pass.items() + sort_chunk - 1) / sort_chunk, digit = first_item() / warp_size;
  uint32_t* places = pass.places + digit * pass.row;
  const unsigned lane = lane_id();
  if (chunks == 1) {  // nothing to add up
    if (lane == 0) pass.totals[digit] = places[0];
    if (lane == 0) places[0] = 0;
    return;
  }
  uint32_t sum = 0;
  for (int64_t first = 0; first < chunks; first += warp_size) {
    const int64_t chunk = first + lane;
    const uint32_t mine = chunk < chunks ? places[chunk] : 0;
    const uint32_t until = sum_until(mine);
    if (chunk < chunks) places[chunk] = sum + until - mine;
    sum += warp_shuffle(until, warp_size - 1);
  }
  if (lane == 0) pass.totals[digit] = sum;
}

__global__ void __launch_bounds__(sort_threads) place_items(SortPass pass) {
  __shared__ uint32_t of_warps[sort_warps], next[sort_warps][digits];
  const uint32_t items = pass.items(), warp = threadIdx.x / warp_size;
  uint32_t all;
  const uint32_t first = sum_before(pass.totals[threadIdx.x], of_warps, &all);  // of this thread's digit
  for (int64_t chunk = blockIdx.x; chunk * sort_chunk < items; chunk += gridDim.x) {
    const int64_t begin = chunk * sort_chunk + warp * (sort_rounds * warp_size) + lane_id();
    for (int w = 0; w < sort_warps; ++w) next[w][threadIdx.x] = 0;
    __syncthreads();
    for (int round = 0; round < sort_rounds; ++round) {
      const int64_t i = begin + round * warp_size;
      if (i < items) atomic_add(next[warp] + pass.digit(static_cast<uint32_t>(i)), uint32_t{1});
    }
    __syncthreads();
    uint32_t place = first + pass.places[threadIdx.x * static_cast<int64_t>(pass.row) + chunk];
    for (int w = 0; w < sort_warps; ++w) {
      const uint32_t count = next[w][threadIdx.x];
      next[w][threadIdx.x] = place;
      place += count;
    }
    __syncthreads();
    for (int round = 0; round < sort_rounds && begin - lane_id() + round * warp_size < items; ++round) {
      const int64_t i = begin + round * warp_size;
      const bool there = i < items;
      const uint32_t digit = there ? pass.digit(static_cast<uint32_t>(i)) : digits;
      const uint32_t peers = warp_match(digit);
      uint32_t to = 0;
      if (there) {
        to = next[warp][digit] + static_cast<uint32_t>(bit_count(peers & lanes_below()));
        pass.to_keys[to] = pass.keys[i];
        pass.to_values[to] = pass.values[i];
      }
      warp_barrier();
      if (there && is_lowest(peers)) next[warp][digit] = to + static_cast<uint32_t>(bit_count(peers));
      warp_barrier();
    }
    __syncthreads();
  }
}

}  // namespace

int radix_sort(Queue& queue, const SortBuffers& buffers, const uint32_t* count, int bits) {
  int from = 0;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(buffers.chunks(), 8 * multiprocessors()));
  for (int shift = 0; shift < bits && blocks > 0; shift += digit_bits, from = 1 - from) {
    const SortPass pass = {buffers.keys[from],
                           buffers.values[from],
                           buffers.keys[1 - from],
                           buffers.values[1 - from],
                           buffers.places,
                           buffers.totals,
                           count,
                           static_cast<uint32_t>(buffers.most),
                           static_cast<uint32_t>(buffers.chunks()),
                           shift};
    queue.launch(count_digits, dim3(blocks), dim3(sort_threads), pass);
    queue.launch(sum_digits, dim3(digits / sort_warps), dim3(sort_threads), pass);
    queue.launch(place_items, dim3(blocks), dim3(sort_threads), pass);
  }
  return from;
}

}  // namespace lg
