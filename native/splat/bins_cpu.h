// Converts bounds on the screen to lists of primitives, one per tile, each sorted front to back.
#pragma once

#include <cstdint>

#include "runtime/memory.h"
#include "splat/bounds.h"
#include "splat/tiles.h"

namespace lg {
namespace splat {

struct Bins {
  Buffer<int64_t> begin;  // [tiles + 1]: tile t has the entries begin[t] to begin[t + 1]
  Buffer<int32_t> entry;  // the primitive (within its view)
  // The entries of a primitive, in the order of tiles: slot[first[i]] and the next ones, count[i] in all; i = view *
  // primitives + p.
  Buffer<int64_t> first;
  Buffer<int32_t> count;
  Buffer<int64_t> slot;
};

// bounds, keys [views * primitives]. with_slots: whether to make the map from primitives to entries.
Bins make_bins(int threads, const Tiles& tiles, int64_t primitives, const Bound* bounds, const uint32_t* keys,
               bool with_slots);

}  // namespace splat
}  // namespace lg
