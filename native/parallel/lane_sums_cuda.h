// Sums over the lanes of a warp that show the same triangle, through shared memory.
//
// Each lane writes its values as a row. Then, in one step per triangle, lane i sums column i over the rows of the
// triangle's lanes. The sums of a triangle are then in neighbouring lanes, and one atomic instruction adds all of them
// to their places. For many values, exchanges between lanes (add_up_peers) take more instructions.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"

namespace lg {

// Of one warp.
template <class T, int N>
struct LaneValues {
  static constexpr int pitch = N | 1;  // odd, so that neither rows nor columns meet in one bank of the memory
  T value[warp_size * pitch];
};

// The sum of a column over some rows, in an order that depends only on the rows.
template <class T, int N>
LG_DEVICE T sum_of_rows(const LaneValues<T, N>& values, uint32_t rows, unsigned column) {
  constexpr int at_once = 4;  // loads that are in flight together
  T sum = 0;
  while (rows != 0) {
    T part[at_once];
#pragma unroll
    for (int k = 0; k < at_once; ++k) {
      part[k] = rows != 0 ? values.value[lowest_bit(rows) * LaneValues<T, N>::pitch + column] : T(0);
      rows &= rows - 1;
    }
    sum += (part[0] + part[1]) + (part[2] + part[3]);
  }
  return sum;
}

// Calls add(triangle, i, sum) for all i < N, in different lanes, for every triangle among the lanes that count. peers:
// the lanes with the same triangle, warp_match(triangle). Every lane of the warp takes part.
template <class T, int N, class Add>
LG_DEVICE void add_up_triangles(LaneValues<T, N>& values, uint32_t peers, int32_t triangle, bool counts,
                                const T (&value)[N], const Add& add) {
  static_assert(N <= static_cast<int>(warp_size), "a lane for each column");
  const unsigned lane = lane_id();
#pragma unroll
  for (int i = 0; i < N; ++i) values.value[lane * LaneValues<T, N>::pitch + i] = value[i];
  warp_barrier();
  for (uint32_t leaders = warp_ballot(counts && is_lowest(peers)); leaders; leaders &= leaders - 1) {
    const auto leader = static_cast<unsigned>(lowest_bit(leaders));
    const uint32_t rows = warp_shuffle(peers, leader);
    const int32_t theirs = warp_shuffle(triangle, leader);
    if (lane < N) add(theirs, static_cast<int32_t>(lane), sum_of_rows(values, rows, lane));
  }
  warp_barrier();  // before the next values are written
}

}  // namespace lg
