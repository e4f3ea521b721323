// The entries of each tile of an image, from chunks of work that were binned independently.
#pragma once

#include <cstdint>

#include "runtime/memory.h"

namespace lg::surface {

// Each chunk first counts its entries per tile, then places them. Entries are ordered by tile, and within a tile by
// chunk, so the order does not depend on the threads.
class TileBins {
 public:
  void begin(int64_t chunks, int64_t tiles) {
    tiles_ = tiles;
    counts_ = Buffer<uint32_t>(static_cast<size_t>(chunks * tiles));
    place_ = Buffer<int64_t>(static_cast<size_t>(chunks * tiles));
  }

  // One count per tile, to be filled in by the chunk.
  uint32_t* counts(int64_t chunk) { return counts_.data() + chunk * tiles_; }

  // Converts counts to places. first_chunk [views + 1]: the first chunk of each view.
  void place(const int64_t* first_chunk, int64_t views) {
    first_ = Buffer<int64_t>(static_cast<size_t>(views * tiles_ + 1));
    int64_t next = 0;
    for (int64_t view = 0; view < views; ++view) {
      for (int64_t tile = 0; tile < tiles_; ++tile) {
        first_[view * tiles_ + tile] = next;
        for (int64_t c = first_chunk[view]; c < first_chunk[view + 1]; ++c) {
          place_[c * tiles_ + tile] = next;
          next += counts_[c * tiles_ + tile];
        }
      }
    }
    first_[views * tiles_] = next;
    if (static_cast<int64_t>(entries_.size()) < next) entries_ = Buffer<int32_t>(static_cast<size_t>(next));
  }

  void add(int64_t chunk, int64_t tile, int32_t entry) { entries_[place_[chunk * tiles_ + tile]++] = entry; }

  // The entries of a tile: [begin, end).
  const int32_t* begin_of(int64_t view_tile) const { return entries_.data() + first_[view_tile]; }
  const int32_t* end_of(int64_t view_tile) const { return entries_.data() + first_[view_tile + 1]; }

 private:
  int64_t tiles_ = 0;
  Buffer<uint32_t> counts_;  // [chunks, tiles]
  Buffer<int64_t> place_;    // [chunks, tiles]: the place of the chunk's next entry of the tile
  Buffer<int64_t> first_;    // [views * tiles + 1]
  Buffer<int32_t> entries_;
};

}  // namespace lg::surface
