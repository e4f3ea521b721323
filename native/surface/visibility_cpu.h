// Finds the triangle that each pixel sees, tile by tile, and hands every finished tile to a sink.
#pragma once

#include <cstdint>

namespace lg::surface {

constexpr int tile_size = 64;
constexpr int block_size = 4;  // tiles store pixels in 4x4 blocks of 16 lanes
constexpr int block_lanes = block_size * block_size;
constexpr int blocks_per_row = tile_size / block_size;
constexpr int tile_blocks = blocks_per_row * blocks_per_row;

struct VisibilityRequest {
  int32_t threads, dtype;
  const void* pos;        // [views, vertices, 4] or, with ranges, [vertices, 4]
  const int32_t* tri;     // [triangles, 3]
  const int64_t* ranges;  // [views, 2] or null
  int64_t views, vertices, triangles, height, width;
  int32_t subpixel_bits;
  const int32_t* after_tri;  // the layer in front, [views, height, width], or null
  const float* after_zbuffer;
  bool drop_coincident;
};

// A finished tile. Pixel (column, row) of the tile is lane (column & 3) + 4 * (row & 3) of block
// (row / 4) * blocks_per_row + column / 4. Pixels beyond the image hold garbage.
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

// Throws InvalidArgument for an index in tri that no vertex has.
void resolve_visibility(const VisibilityRequest& request, TileSink& sink);

}  // namespace lg::surface
