// Division of images into tiles, and the order of depths.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/config.h"

namespace lg {
namespace splat {

constexpr int tile_size = 32;  // pixels per side
constexpr int block_size = 4;  // pixels per side of a block, which one vector holds
constexpr int blocks_across = tile_size / block_size;
constexpr uint32_t hidden_key = 0xffffffffu;  // of primitives that are not drawn

struct Tiles {
  int64_t views, height, width;
  int64_t across() const { return (width + tile_size - 1) / tile_size; }
  int64_t down() const { return (height + tile_size - 1) / tile_size; }
  int64_t per_view() const { return across() * down(); }
  int64_t count() const { return views * per_view(); }
};

// A depth as an unsigned number of the same order, less than hidden_key for every depth that is a number.
LG_HD uint32_t depth_key(float depth) {
  uint32_t bits;
  std::memcpy(&bits, &depth, 4);
  const uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return key < hidden_key ? key : hidden_key - 1;
}

}  // namespace splat
}  // namespace lg
