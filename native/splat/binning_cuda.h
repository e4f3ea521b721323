// Which primitives a tile has to composite, front to back, on CUDA.
#pragma once

#include "math/divide_up.h"
#include "runtime/cuda/algorithms.h"
#include "splat/scene.h"

namespace lg {
namespace splat {

constexpr int cuda_tile = 16;  // pixels a side

// Which primitives each tile has to composite. They lie behind the pixels of `last`, so that the backward pass finds
// them again. Handed to kernels. An item is a primitive of a view, view * primitives + p; a rank is an item's place
// among those of all views, sorted front to back.
//
// The items of the first `listed` ranks are in the lists of the tiles that they meet. There was no room for the lists
// of the others, if any: a tile has to test them itself.
struct TileLists {
  enum { listed, pairs, max_opacity, numbers };  // listed ranks, their pairs, and an opacity as bits of a float
  static constexpr uint32_t no_item = 0xffffffffu;

  Bound* bounds;          // [count]
  uint32_t* items;        // [count]: of ranks; no_item for those that are not drawn, which come last
  uint32_t *begin, *end;  // [tiles]: which of the entries
  uint32_t* number;       // [numbers]
  uint32_t* entries;      // [room]: items, tile by tile
  int64_t count, tiles, room, across, per_view;

  TileLists(const int32_t* last, int64_t items, const Tiles& image);
};

class BinningPass {
 public:
  BinningPass(const TileLists& lists, const Tiles& image);

  void plan(Workspace& workspace);
  template <class T>
  void run(Queue& queue, const Scene<T>& scene, int32_t footprint);

  const TileLists& lists() const { return lists_; }

 private:
  void list_all(Queue& queue, int64_t primitives);

  TileLists lists_;
  int64_t height_, width_;
  PairSort by_depth_, by_tile_;
  RunningSum pairs_before_;
  uint32_t* tile_counts_ = nullptr;
};

// Items and tiles are counted with 31 bits.
inline bool too_many_splats(int64_t items, const Tiles& image) {
  constexpr int64_t most = 0x7fffffff;
  const int64_t tiles = image.views * divide_up(image.width, cuda_tile) * divide_up(image.height, cuda_tile);
  return items > most || tiles > most || image.width > most || image.height > most;
}

}  // namespace splat
}  // namespace lg
