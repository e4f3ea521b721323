// The occupied cells of a box: bits for [slices, rows, columns] cells over the box, in words of 4 x 4 x 4.
//
// Word ((z / 4) bricks_y + y / 4) bricks_x + x / 4 has the cell (x, y, z) as bit 16 (z % 4) + 4 (y % 4) + x % 4. A
// brick is empty if its word is zero.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::field {

struct Occupancy {
  const int64_t* words;        // null: everything is occupied
  int32_t size[3];             // x, y, z
  int32_t first[3], after[3];  // no cell outside of [first, after) is occupied

  LG_HD int32_t bricks(int axis) const { return (size[axis] + 3) / 4; }

  // The cell's word; cell: x, y, z.
  LG_HD uint64_t word(const int32_t* cell) const {
    const int64_t row = static_cast<int64_t>(cell[2] >> 2) * bricks(1) + (cell[1] >> 2);
    return static_cast<uint64_t>(words[row * bricks(0) + (cell[0] >> 2)]);
  }
  LG_HD static bool has(uint64_t word, const int32_t* cell) {
    return (word >> (16 * (cell[2] & 3) + 4 * (cell[1] & 3) + (cell[0] & 3)) & 1) != 0;
  }
};

LG_HD Occupancy make_occupancy(const int64_t* words, int64_t slices, int64_t rows, int64_t columns) {
  const auto x = static_cast<int32_t>(columns), y = static_cast<int32_t>(rows), z = static_cast<int32_t>(slices);
  return {words, {x, y, z}, {0, 0, 0}, {x, y, z}};
}

}  // namespace lg::field
