// From bounds on the screen to lists of primitives, one per tile, each sorted front to back.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/memory.h"
#include "splat/bounds.h"

namespace lg {
namespace splat {

constexpr int tile_size = 32;  // pixels a side
constexpr int block_size = 4;  // pixels a side of what one vector holds
constexpr int blocks_across = tile_size / block_size;
constexpr uint32_t hidden_key = 0xffffffffu;  // of primitives that are not drawn

struct Tiles {
  int64_t views, height, width;
  int64_t across() const { return (width + tile_size - 1) / tile_size; }
  int64_t down() const { return (height + tile_size - 1) / tile_size; }
  int64_t per_view() const { return across() * down(); }
  int64_t count() const { return views * per_view(); }
};

// A depth as an unsigned number of the same order, below hidden_key for every number that is one.
LG_HD uint32_t depth_key(float depth) {
  uint32_t bits;
  std::memcpy(&bits, &depth, 4);
  const uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return key < hidden_key ? key : hidden_key - 1;
}

struct Bins {
  Buffer<int64_t> begin;  // [tiles + 1]: tile t has the entries begin[t] .. begin[t + 1]
  Buffer<int32_t> entry;  // the primitive (within its view)
  // The entries of a primitive, in the order of tiles: slot[first[i]] ..., count[i] of them; i = view * primitives + p.
  Buffer<int64_t> first;
  Buffer<int32_t> count;
  Buffer<int64_t> slot;
};

// bounds, keys [views * primitives]. with_slots: also the way back from primitives to entries.
Bins make_bins(int threads, const Tiles& tiles, int64_t primitives, const Bound* bounds, const uint32_t* keys,
               bool with_slots);

}  // namespace splat
}  // namespace lg
