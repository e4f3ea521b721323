// Drawing prepared triangles into one tile of the visibility pass, in 4x4 blocks with integer edge functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/lane_offsets.h"
#include "math/lanes.h"
#include "surface/candidates_cpu.h"
#include "surface/coverage.h"
#include "surface/visibility.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {

struct alignas(64) TileBuffers {
  int32_t triangle[tile_blocks * block_lanes];
  float depth[tile_blocks * block_lanes];
};

// The difference of an edge's value between the lanes of a block and its first lane.
LG_INLINE Lanes<int32_t> ramp(const PartEdge& edge) {
  using Offsets = LaneOffsets<int32_t>;
  return load(Offsets::block_x) * edge.step_x + load(Offsets::block_y) * edge.step_y;
}

// The visibility depth at a block's lanes, with the operations in the order that the rule requires.
struct DepthLanes {
  explicit DepthLanes(const DepthPlane& p)
      : at_anchor(p.at_anchor),
        dx(p.dx),
        dy(p.dy),
        low(p.low),
        high(p.high),
        anchor_x(p.anchor_x),
        anchor_y(p.anchor_y) {}

  LG_INLINE Lanes<float> at(int32_t column, int32_t row) const {
    const Lanes<float> x = load(LaneOffsets<float>::block_x) + static_cast<float>(column - anchor_x);
    const Lanes<float> y = load(LaneOffsets<float>::block_y) + static_cast<float>(row - anchor_y);
    return maximum(low, minimum(high, (at_anchor + dy * y) + dx * x));
  }

  Lanes<float> at_anchor, dx, dy, low, high;
  int32_t anchor_x, anchor_y;
};

// A triangle ready to be drawn into a tile. Pixel coordinates are relative to the tile's first pixel.
struct PreparedTriangle {
  PartEdge edge[3];
  PixelBox box;  // clamped to the tile
  DepthPlane depth;
  int32_t triangle;
};

inline bool is_small(const SnappedTriangle& t) {
  return max3(t.a.x, t.b.x, t.c.x) - min3(t.a.x, t.b.x, t.c.x) <= small_extent &&
         max3(t.a.y, t.b.y, t.c.y) - min3(t.a.y, t.b.y, t.c.y) <= small_extent;
}

// Sixteen small triangles, set up side by side in plain loops over the lanes, which compilers vectorise. The formulas
// are those of coverage.h in tile coordinates.
struct alignas(64) SmallTriangles {
  static constexpr int capacity = 16;

  int count = 0;
  int32_t triangle[capacity];
  int32_t ax[capacity], ay[capacity], bx[capacity], by[capacity], cx[capacity], cy[capacity];
  float az[capacity], bz[capacity], cz[capacity];
  int32_t value[3][capacity], step_x[3][capacity], step_y[3][capacity];
  int32_t x0[capacity], y0[capacity], x1[capacity], y1[capacity], anchor_x[capacity], anchor_y[capacity];
  float at_anchor[capacity], dx[capacity], dy[capacity], low[capacity], high[capacity];

  void add(const SnappedTriangle& t, const Tile& tile, int32_t bits, int32_t number) {
    const int32_t left = tile.x << bits, top = tile.y << bits;
    ax[count] = t.a.x - left, ay[count] = t.a.y - top, az[count] = t.a.z;
    bx[count] = t.b.x - left, by[count] = t.b.y - top, bz[count] = t.b.z;
    cx[count] = t.c.x - left, cy[count] = t.c.y - top, cz[count] = t.c.z;
    triangle[count++] = number;
  }

  void prepare(const Tile& tile, int32_t bits) {
    // Unused lanes repeat the first triangle, so that no lane divides by garbage.
    for (int l = count; l < capacity; ++l) {
      ax[l] = ax[0], ay[l] = ay[0], bx[l] = bx[0], by[l] = by[0], cx[l] = cx[0], cy[l] = cy[0];
      az[l] = az[0], bz[l] = bz[0], cz[l] = cz[0];
    }
    int32_t area[capacity];
    orient(area);
    prepare_edge(0, bits, ax, ay, bx, by);
    prepare_edge(1, bits, bx, by, cx, cy);
    prepare_edge(2, bits, cx, cy, ax, ay);
    prepare_box(tile, bits);
    prepare_depth(bits, area);
  }

  PreparedTriangle operator[](int l) const {
    PreparedTriangle t;
    for (int k = 0; k < 3; ++k) t.edge[k] = {value[k][l], step_x[k][l], step_y[k][l]};
    t.box = {x0[l], y0[l], x1[l], y1[l]};
    t.depth = {at_anchor[l], dx[l], dy[l], low[l], high[l], anchor_x[l], anchor_y[l]};
    t.triangle = triangle[l];
    return t;
  }

 private:
  void orient(int32_t* area) {
    for (int l = 0; l < capacity; ++l) {
      const int32_t twice = (bx[l] - ax[l]) * (cy[l] - ay[l]) - (cx[l] - ax[l]) * (by[l] - ay[l]);
      const bool flip = twice < 0;
      const int32_t old_bx = bx[l], old_by = by[l];
      const float old_bz = bz[l];
      bx[l] = flip ? cx[l] : old_bx, by[l] = flip ? cy[l] : old_by, bz[l] = flip ? cz[l] : old_bz;
      cx[l] = flip ? old_bx : cx[l], cy[l] = flip ? old_by : cy[l], cz[l] = flip ? old_bz : cz[l];
      area[l] = flip ? -twice : twice;
    }
  }

  void prepare_edge(int k, int32_t bits, const int32_t* px, const int32_t* py, const int32_t* qx, const int32_t* qy) {
    const int32_t half = 1 << (bits - 1);
    for (int l = 0; l < capacity; ++l) {
      const int32_t ex = qx[l] - px[l], ey = qy[l] - py[l];
      const int32_t top_left = (ey < 0) | ((ey == 0) & (ex > 0));
      value[k][l] = (ex * (half - py[l]) - ey * (half - px[l]) - (1 - top_left)) >> bits;
      step_x[k][l] = -ey;
      step_y[k][l] = ex;
    }
  }

  void prepare_box(const Tile& tile, int32_t bits) {
    const int32_t half = 1 << (bits - 1), up = (1 << bits) - 1 - half, last_x = tile.width - 1,
                  last_y = tile.height - 1;
    for (int l = 0; l < capacity; ++l) {
      const int32_t left = (min3(ax[l], bx[l], cx[l]) + up) >> bits, right = (max3(ax[l], bx[l], cx[l]) - half) >> bits;
      const int32_t top = (min3(ay[l], by[l], cy[l]) + up) >> bits, low_y = (max3(ay[l], by[l], cy[l]) - half) >> bits;
      anchor_x[l] = left < -tile.x ? -tile.x : left;
      anchor_y[l] = top < -tile.y ? -tile.y : top;
      x0[l] = left < 0 ? 0 : left;
      y0[l] = top < 0 ? 0 : top;
      x1[l] = right > last_x ? last_x : right;
      y1[l] = low_y > last_y ? last_y : low_y;
    }
  }

  void prepare_depth(int32_t bits, const int32_t* area) {
    const double size = static_cast<double>(1 << bits), half = size / 2;
    for (int l = 0; l < capacity; ++l) {
      const double z0 = az[l], dz1 = static_cast<double>(bz[l]) - z0, dz2 = static_cast<double>(cz[l]) - z0;
      const double zx = (dz1 * (cy[l] - ay[l]) - dz2 * (by[l] - ay[l])) / static_cast<double>(area[l]) * size;
      const double zy = (dz2 * (bx[l] - ax[l]) - dz1 * (cx[l] - ax[l])) / static_cast<double>(area[l]) * size;
      at_anchor[l] = static_cast<float>(z0 + zx * ((anchor_x[l] * size + half - ax[l]) / size) +
                                        zy * ((anchor_y[l] * size + half - ay[l]) / size));
      dx[l] = static_cast<float>(zx);
      dy[l] = static_cast<float>(zy);
      low[l] = min3(az[l], bz[l], cz[l]);
      high[l] = max3(az[l], bz[l], cz[l]);
    }
  }
};

// Sets up a triangle of any size. False if the tile is outside one of its edges.
inline bool prepare_large(const SnappedTriangle& corners, const Tile& tile, const Viewport& viewport,
                          PreparedTriangle* out) {
  const int32_t bits = viewport.subpixel_bits;
  if (!make_part_edges(corners, tile.x, tile.y, tile_size, tile_size, bits, out->edge)) return false;
  const PixelBox box = corners.box(viewport);
  out->depth = depth_plane_of(corners, box, bits);
  out->depth.anchor_x -= tile.x;
  out->depth.anchor_y -= tile.y;
  out->box = {std::max(0, box.x0 - tile.x), std::max(0, box.y0 - tile.y), std::min(tile.width - 1, box.x1 - tile.x),
              std::min(tile.height - 1, box.y1 - tile.y)};
  return true;
}

// Draws triangles into a tile, first those that are not tiny, in the order of their numbers. When peeling, only
// fragments strictly behind the layer in front are drawn.
template <bool Peeling>
class Drawing {
 public:
  Drawing(const Viewport& viewport, bool drop_coincident, const Tile& tile, TileBuffers& buffers,
          const TileBuffers* layer)
      : viewport_(viewport), drop_coincident_(drop_coincident), tile_(tile), buffers_(buffers), layer_(layer) {}

  void draw(SmallTriangles& batch) const {
    if (batch.count == 0) return;
    batch.prepare(tile_, viewport_.subpixel_bits);
    for (int l = 0; l < batch.count; ++l) draw<false>(batch[l]);
    batch.count = 0;
  }

  void draw(const SnappedTriangle& corners, int32_t triangle) const {
    PreparedTriangle prepared;
    prepared.triangle = triangle;
    if (prepare_large(corners, tile_, viewport_, &prepared)) draw<true>(prepared);
  }

  // In any order.
  void draw(const TinyTriangle& t) const {
    const int32_t left = t.x - tile_.x, top = t.y - tile_.y;
    for (int32_t y = top >> 2; y <= (top + 3) >> 2; ++y) {
      const uint32_t rows = shift_rows(t.mask, top - block_size * y);
      if (rows == 0 || static_cast<uint32_t>(y) >= blocks_per_row) continue;
      for (int32_t x = left >> 2; x <= (left + 3) >> 2; ++x) {
        const uint32_t lanes = shift_columns(rows, left - block_size * x);
        if (lanes == 0 || static_cast<uint32_t>(x) >= blocks_per_row) continue;
        draw_lanes(t, mask_of<float>(lanes), block_size * x - left, block_size * y - top,
                   (y * blocks_per_row + x) * block_lanes);
      }
    }
  }

 private:
  // SkipEmpty: skips blocks without a covered pixel. In small boxes that branch is mispredicted half the time, which
  // costs more than drawing nothing.
  template <bool SkipEmpty>
  LG_INLINE void draw(const PreparedTriangle& t) const {
    const PartEdge &e0 = t.edge[0], &e1 = t.edge[1], &e2 = t.edge[2];
    const Lanes<int32_t> ramp0 = ramp(e0), ramp1 = ramp(e1), ramp2 = ramp(e2);
    const DepthLanes depth(t.depth);
    for (int32_t y = t.box.y0 / block_size; y <= t.box.y1 / block_size; ++y) {
      for (int32_t x = t.box.x0 / block_size; x <= t.box.x1 / block_size; ++x) {
        const int32_t column = x * block_size, row = y * block_size;
        const Lanes<int32_t> outside =  // its sign
            (ramp0 + e0.at(column, row)) | (ramp1 + e1.at(column, row)) | (ramp2 + e2.at(column, row));
        const Lanes<int32_t> inside = 0 <= outside;
        if (SkipEmpty && !any(inside)) continue;
        const Lanes<float> z = depth.at(column, row);
        const int64_t place = (y * blocks_per_row + x) * block_lanes;
        const Lanes<float> old_z = load(buffers_.depth + place);
        Lanes<int32_t> take = inside & (z <= old_z);
        if (Peeling) take = take & behind(z, t.triangle, place);
        store(buffers_.depth + place, select(take, z, old_z));
        store(buffers_.triangle + place, select(take, Lanes<int32_t>(t.triangle), load(buffers_.triangle + place)));
      }
    }
  }

  // A mask of 4x4 pixels moved down and to the right (negative: up and to the left). Pixels that leave the block are
  // dropped.
  static uint32_t shift_rows(uint32_t mask, int32_t by) {
    return by >= 0 ? mask << (4 * by) & 0xffffu : mask >> (-4 * by);
  }
  static uint32_t shift_columns(uint32_t mask, int32_t by) {
    constexpr uint32_t each_row = 0x1111u;
    return by >= 0 ? (mask & each_row * (0xfu >> by)) << by : (mask & each_row * (0xfu << -by & 0xfu)) >> -by;
  }

  // (column, row): the block's first pixel relative to the triangle's origin. place: the block's place in the buffers.
  LG_INLINE void draw_lanes(const TinyTriangle& t, const Lanes<int32_t>& lanes, int32_t column, int32_t row,
                            int32_t place) const {
    const Lanes<float> x = load(LaneOffsets<float>::block_x) + static_cast<float>(column);
    const Lanes<float> y = load(LaneOffsets<float>::block_y) + static_cast<float>(row);
    const Lanes<float> plane = (t.at_origin + y * t.dy) + x * t.dx;
    const Lanes<float> z = maximum(Lanes<float>(t.low), minimum(Lanes<float>(t.high), plane));
    const Lanes<float> old_z = load(buffers_.depth + place);
    const Lanes<int32_t> triangle = t.triangle, old = load(buffers_.triangle + place);
    Lanes<int32_t> take = lanes & (z <= old_z) & ((z < old_z) | (old < triangle));
    if (Peeling) take = take & behind(z, t.triangle, place);
    store(buffers_.depth + place, select(take, z, old_z));
    store(buffers_.triangle + place, select(take, triangle, old));
  }

  // The lanes in which (z, triangle) comes strictly after the layer in front.
  LG_INLINE Lanes<int32_t> behind(const Lanes<float>& z, int32_t triangle, int64_t place) const {
    const Lanes<float> front = load(layer_->depth + place);
    const Lanes<int32_t> deeper = front < z;
    if (drop_coincident_) return deeper;
    return deeper | ((front <= z) & (triangle < load(layer_->triangle + place)));
  }

  const Viewport& viewport_;
  const bool drop_coincident_;
  const Tile& tile_;
  TileBuffers& buffers_;
  const TileBuffers* layer_;
};

}  // namespace lg::surface
