// The positions of sixteen lanes: neighbours in a row, or the pixels of a 4x4 block.
#pragma once

namespace lg {

template <class T>
struct LaneOffsets {
  alignas(64) static constexpr T ahead[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  alignas(64) static constexpr T none[16] = {};
  alignas(64) static constexpr T block_x[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
  alignas(64) static constexpr T block_y[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
};

}  // namespace lg
