// A face within one tile, and the blocks of 4x4 pixels that it may reach.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/lane_offsets.h"
#include "parallel/tiles.h"
#include "parallel/with_constant.h"
#include "soft/bins_cpu.h"
#include "soft/scene.h"

namespace lg::soft {

constexpr int block_lanes = 16, block_size = 4;  // a block has 4x4 pixels, one per lane
using Offsets = LaneOffsets<int32_t>;

// A face set up around the tile's first pixel, and its box within the tile in pixels.
template <class T>
struct TileFace {
  Face<T> face;
  Box box;
  T least_z;  // a lower bound of its depth
  int32_t number;
};

// Sets up a face for a tile. Returns false if the face is not visible there.
template <class T>
bool make_tile_face(const Scene<T>& scene, const PixelTile& tile, int32_t number, FaceFrame& frame, TileFace<T>& out) {
  double p[3][4];
  scene.corners(tile.view, number, p);
  if (!make_frame(p, tile.x0, tile.y0, scene.viewport, scene.flags, frame)) return false;
  make_face(frame, scene.flags, out.face);
  out.number = number;
  const auto x0 = static_cast<int32_t>(tile.x0), y0 = static_cast<int32_t>(tile.y0);
  const int32_t columns = static_cast<int32_t>(tile.x1) - x0, rows = static_cast<int32_t>(tile.y1) - y0;
  Viewport part = scene.viewport;
  part.width = columns, part.height = rows;
  out.box = frame_box(frame, part, scene.reach);
  out.least_z = min_z_of(out.face, scene.flags);
  return !out.box.empty();
}

// Calls body(block number, column, row) for the blocks of the face's box that it may reach. Blocks are numbered row by
// row, with `blocks_across` per row.
template <class T, class Body>
void for_blocks(const Face<T>& face, const Box& box, T step, T reach, int blocks_across, Body&& body) {
  const int32_t bx0 = box.x0 / block_size, bx1 = box.x1 / block_size, by0 = box.y0 / block_size,
                by1 = box.y1 / block_size;
  const bool small = (bx1 - bx0) * (by1 - by0) <= 2;
  // All pixels of a block are within this distance of its centre.
  const T margin = (reach + T(1.5 * 1.4143) * step) * T(1.0001);
  for (int32_t by = by0; by <= by1; ++by) {
    for (int32_t bx = bx0; bx <= bx1; ++bx) {
      if (!small) {
        const T x = (T(bx * block_size) + T(1.5)) * step, y = -(T(by * block_size) + T(1.5)) * step;
        if (!may_reach(face, x, y, margin)) continue;
      }
      body(by * blocks_across + bx, bx * block_size, by * block_size);
    }
  }
}

}  // namespace lg::soft
