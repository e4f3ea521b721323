// Blocks of 4x4 pixels and the triangles that they show. Lane (column & 3) + 4 * (row & 3) of a block is the pixel at
// (column, row).
#pragma once

#include <cstdint>

#include "math/bits.h"
#include "math/lanes.h"
#include "runtime/config.h"

namespace lg::surface {

constexpr int block_size = 4;
constexpr int block_lanes = block_size * block_size;
constexpr uint32_t all_lanes = (1u << block_lanes) - 1;

// The lanes of a block that show one triangle.
struct BlockPart {
  int32_t number;
  uint32_t lanes;
};

// The lanes that exist in a block that begins at (x, y), in a tile of the given width and height.
inline uint32_t lanes_inside(int64_t x, int64_t y, int64_t width, int64_t height) {
  if (x + block_size <= width && y + block_size <= height) return all_lanes;
  uint32_t lanes = 0;
  for (int l = 0; l < block_lanes; ++l) {
    lanes |= static_cast<uint32_t>(x + (l & 3) < width && y + (l >> 2) < height) << l;
  }
  return lanes;
}

// Cuts the seen lanes of a block into parts, numbered by number_of(triangle, its first lane). ids: one per lane.
// Returns the end of the parts.
template <class NumberOf>
LG_INLINE BlockPart* cut_block(const Lanes<int32_t>& ids, uint32_t seen, BlockPart* next, NumberOf&& number_of) {
  alignas(64) int32_t id[block_lanes];
  store(id, ids);
  for (uint32_t rest = seen; rest; rest &= ~next++->lanes) {
    const int lane = lowest_lane(rest);
    const int32_t triangle = id[lane];
    *next = {number_of(triangle, lane), equal_lanes(ids, triangle) & rest};
  }
  return next;
}

}  // namespace lg::surface
