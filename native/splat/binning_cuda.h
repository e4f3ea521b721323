// The primitives that each tile has to composite, front to back, on CUDA.
#pragma once

#include "math/divide_up.h"
#include "runtime/cuda/algorithms.h"
#include "splat/scene.h"

namespace lg {
namespace splat {

constexpr int cuda_tile = 16;  // pixels per side

// The primitives that each tile has to composite. Stored after the pixels of `last`, where the backward pass finds them
// again. Passed to kernels. An item is a primitive of a view, view * primitives + p; a rank is an item's place among
// those of all views, sorted front to back.
//
// The items of the first `listed` ranks are in the lists of the tiles that they meet. Others, if any, did not fit into
// the lists: tiles have to test them.
struct TileLists {
  enum { listed, pairs, max_opacity, numbers };  // listed ranks, their pairs, the bits of a float opacity
  static constexpr uint32_t no_item = 0xffffffffu;

  Bound* bounds;          // [count]
  uint32_t* items;        // [count]: the items by rank; no_item for those that are not drawn, which come last
  uint32_t *begin, *end;  // [tiles]: the range of the tile's entries
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

// Items and tiles have 31-bit numbers.
inline bool too_many_splats(int64_t items, const Tiles& image) {
  constexpr int64_t most = 0x7fffffff;
  const int64_t tiles = image.views * divide_up(image.width, cuda_tile) * divide_up(image.height, cuda_tile);
  return items > most || tiles > most || image.width > most || image.height > most;
}

}  // namespace splat
}  // namespace lg
