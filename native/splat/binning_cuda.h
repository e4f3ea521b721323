// Which primitives a tile has to composite, front to back, on CUDA.
#pragma once

#include "math/divide_up.h"
#include "runtime/cuda/algorithms.h"
#include "splat/scene.h"

namespace lg {
namespace splat {

constexpr int cuda_tile = 16;  // pixels a side

// Handed to kernels. An item is a primitive of a view, view * primitives + p; a rank is an item's place among those of
// all views, sorted front to back. What is not drawn comes last, with hidden_key.
//
// The items of the first *listed ranks are in the lists of the tiles that they meet. There was no room for the lists of
// the others, if any: a tile has to go through them by itself.
struct TileLists {
  const Bound* bounds;          // [items]
  const uint32_t* keys;         // [ranks]: depths
  const uint32_t* items;        // [ranks]
  const uint32_t* ranks;        // tile by tile
  const uint32_t *begin, *end;  // [tiles]: which of them
  const uint32_t* listed;
  const uint32_t* max_opacity;  // as bits of a float
  int64_t count, across, per_view;
};

class BinningPass {
 public:
  BinningPass(int64_t items, const Tiles& image);

  void plan(Workspace& workspace);
  template <class T>
  TileLists run(Queue& queue, const Scene<T>& scene, int32_t footprint);

  int64_t tiles() const { return views_ * per_view(); }

 private:
  void list_all(Queue& queue, int64_t primitives);
  int64_t per_view() const { return across_ * divide_up(height_, cuda_tile); }

  int64_t items_, views_, height_, width_, across_;
  PairSort by_depth_, by_tile_;
  RunningSum pairs_before_;
  Bound* bounds_ = nullptr;
  uint32_t *tile_counts_ = nullptr, *begin_ = nullptr, *end_ = nullptr;
  uint32_t* numbers_ = nullptr;  // listed, pairs, max_opacity
};

// Items and tiles are counted with 31 bits.
inline bool too_many_splats(int64_t items, const Tiles& image) {
  constexpr int64_t most = 0x7fffffff;
  const int64_t tiles = image.views * divide_up(image.width, cuda_tile) * divide_up(image.height, cuda_tile);
  return items > most || tiles > most || image.width > most || image.height > most;
}

}  // namespace splat
}  // namespace lg
