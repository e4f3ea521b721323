// Finds the visible triangle of every pixel, tile by tile, and passes each finished tile to a sink.
#pragma once

#include <cstdint>

#include "runtime/status.h"
#include "surface/block_parts.h"
#include "surface/visibility.h"

namespace lg::surface {

constexpr int tile_size = 64;
// Tiles store pixels in blocks of 16 lanes.
constexpr int blocks_per_row = tile_size / block_size;
constexpr int tile_blocks = blocks_per_row * blocks_per_row;

// A finished tile. Pixel (column, row) of the tile is lane (column & 3) + 4 * (row & 3) of block
// (row / 4) * blocks_per_row + column / 4. Pixels beyond the image are undefined.
struct Tile {
  int64_t view;
  int32_t x, y, width, height;  // in pixels; the last tiles of a row or column are narrower
  bool empty;                   // no triangle touched it: triangle and depth are not filled
  const int32_t* triangle;      // tile_blocks * block_lanes, -1 for background
  const float* depth;
};

class TileSink {
 public:
  virtual void consume(const Tile& tile, int worker) = 0;

 protected:
  ~TileSink() = default;
};

inline void check_resolution(int64_t height, int64_t width) {
  if (height <= max_resolution && width <= max_resolution) return;
  throw InvalidArgument("size: at most %d pixels a side, got (%lld, %lld)", static_cast<int>(max_resolution),
                        static_cast<long long>(height), static_cast<long long>(width));
}

// Throws InvalidArgument if an index in tri has no vertex.
void resolve_visibility(int32_t threads, const VisibilityRequest& request, TileSink& sink);

}  // namespace lg::surface
