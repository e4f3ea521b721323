// The forward pass after visibility: attributes, computed once per visible pixel. Tiles are shaded in blocks of 4x4
// pixels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "math/bits.h"
#include "math/unrolled.h"
#include "surface/attributes.h"
#include "surface/fragment_images.h"
#include "surface/lane_planes.h"
#include "surface/tile_attributes_cpu.h"
#include "surface/tile_triangles.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {

// What is known about the triangles met in a tile.
template <class T, int Channels>
struct MetTriangles {
  TileTriangles<T> planes;
  TileAttributes<T, Channels> attributes;
};

// Vertex attributes at the block's lanes, interpolated by u and v. corners: channels of vertex 0, then of 1 and
// 2.
template <class T, int Channels>
LG_INLINE void interpolate_block(const Lanes<T>* corners, BlockAttributes<T, Channels>& LG_RESTRICT out) {
  const Lanes<T> u = load(out.u), v = load(out.v), w = T(1) - u - v;
  unrolled<Channels>([&](int c) LG_INLINE_LAMBDA {
    store(out.attributes[c], (u * corners[c] + v * corners[Channels + c]) + w * corners[2 * Channels + c]);
  });
}

// Attributes of a block in which every lane shows the same triangle.
template <class T, bool Derivatives, int Channels>
LG_INLINE void shade_uniform(const MetTriangles<T, Channels>& met, int32_t number, int32_t column, int32_t row,
                             BlockAttributes<T, Channels>& LG_RESTRICT out) {
  const Planes<T> p = met.planes.planes(number);
  const T x = static_cast<T>(column - p.anchor_x), y = static_cast<T>(row - p.anchor_y);
  LG_VECTORIZE
  for (int l = 0; l < block_lanes; ++l) {
    const PixelPlanes<T> pixel = evaluate(p, x + static_cast<T>(l & 3), y + static_cast<T>(l >> 2));
    const PixelAttributes<T> a = clamp_attributes(pixel);
    out.u[l] = a.u;
    out.v[l] = a.v;
    out.depth[l] = a.depth;
    if (Derivatives) {
      T d[4];
      derivatives(p, pixel, d);
      for (int k = 0; k < 4; ++k) out.d[k][l] = d[k];
    }
  }
  if constexpr (Channels > 0) {
    Lanes<T> corners[3 * Channels];
    const T* from = met.attributes.corners(number);
    unrolled<3 * Channels>([&](int k) LG_INLINE_LAMBDA { corners[k] = Lanes<T>(from[k]); });
    interpolate_block<T, Channels>(corners, out);
  }
}

// Attributes of a block whose lanes show different triangles, or none (where `seen` has no bit). parts: the block's
// parts, which together cover all seen lanes; returns their end.
template <class T, bool Derivatives, int Channels>
LG_INLINE const BlockPart* shade_mixed(const MetTriangles<T, Channels>& met, const BlockPart* parts, uint32_t seen,
                                       int32_t column, int32_t row, BlockAttributes<T, Channels>& LG_RESTRICT out) {
  LanePlanes<T> planes(column, row);
  Lanes<T> corners[std::max(1, 3 * Channels)];
  unrolled<3 * Channels>([&](int k) LG_INLINE_LAMBDA { corners[k] = Lanes<T>(T(0)); });
  for (uint32_t rest = seen; rest; rest &= ~parts++->lanes) {
    const auto mask = mask_of<T>(parts->lanes);
    planes.set(mask, met.planes.planes(parts->number));
    if constexpr (Channels > 0) {
      const T* from = met.attributes.corners(parts->number);
      unrolled<3 * Channels>([&](int k) LG_INLINE_LAMBDA { corners[k] = select(mask, Lanes<T>(from[k]), corners[k]); });
    }
  }
  alignas(64) T values[4][block_lanes], dx[3][block_lanes], dy[3][block_lanes];
  planes.evaluate(LaneOffsets<T>::block_x, LaneOffsets<T>::block_y, values);
  for (int k = 0; Derivatives && k < 3; ++k) {
    store(dx[k], planes.dx[k]);
    store(dy[k], planes.dy[k]);
  }
  LG_VECTORIZE
  for (int l = 0; l < block_lanes; ++l) {
    const T at[4] = {values[0][l], values[1][l], values[2][l], values[3][l]};
    const PixelPlanes<T> pixel = project(at);
    const PixelAttributes<T> a = clamp_attributes(pixel);
    const bool mine = (seen >> l & 1) != 0;
    out.u[l] = mine ? a.u : T(0);
    out.v[l] = mine ? a.v : T(0);
    out.depth[l] = mine ? a.depth : T(0);
    if (Derivatives) {
      Planes<T> p;
      for (int k = 0; k < 3; ++k) p.dx[k] = dx[k][l], p.dy[k] = dy[k][l];
      T d[4];
      derivatives(p, pixel, d);
      for (int k = 0; k < 4; ++k) out.d[k][l] = mine ? d[k] : T(0);
    }
  }
  if constexpr (Channels > 0) interpolate_block<T, Channels>(corners, out);
  return parts;
}

// Computes the attributes of finished tiles and writes them to the images. Channels: the number of interpolated vertex
// attributes, or 0 for none.
template <class T, int Channels = 0>
class AttributeSink final : public TileSink {
 public:
  AttributeSink(const Geometry<T>& geometry, int workers, const FragmentImages<T, Channels>& images,
                const VertexAttributes<T>& attributes = {})
      : geometry_(geometry),
        attributes_(attributes),
        met_(static_cast<size_t>(std::max(1, workers))),
        images_(images) {}

  void consume(const Tile& tile, int worker) override {
    if (tile.empty) {
      for (int32_t y = 0; y < tile.height; ++y) images_.clear(pixel(tile, 0, y), tile.width);
      return;
    }
    Met& met = met_[worker];
    meet(tile, met);
    met.planes.set_up(geometry_, tile.view, false);
    if constexpr (Channels > 0) met.attributes.set_up(attributes_, geometry_.mesh.tri, tile.view, met.planes);
    if (images_.bary_d) {
      shade<true>(tile, met);
    } else {
      shade<false>(tile, met);
    }
  }

 private:
  // The triangles of a tile and the lanes that show them, block by block.
  struct Met : MetTriangles<T, Channels> {
    Met() {}  // does not clear `parts`
    BlockPart parts[tile_blocks * block_lanes];
  };

  // The first lane of the block at (x, y) of a tile.
  static int first_lane(int32_t x, int32_t y) {
    return ((y / block_size) * blocks_per_row + x / block_size) * block_lanes;
  }

  // The lanes of a block that show a triangle.
  static uint32_t seen_lanes(const Tile& tile, const int32_t* ids, int32_t x, int32_t y) {
    return lg::seen_lanes(load(ids)) & lanes_inside(x, y, tile.width, tile.height);
  }

  void meet(const Tile& tile, Met& met) const {
    met.planes.begin_tile();
    BlockPart* next = met.parts;
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += block_size) {
        const int32_t* ids = tile.triangle + first_lane(x, y);
        next = cut_block(load(ids), seen_lanes(tile, ids, x, y), next, [&](int32_t triangle, int) LG_INLINE_LAMBDA {
          return met.planes.find(geometry_, triangle, tile.x + x, tile.y + y);
        });
      }
    }
  }

  int64_t pixel(const Tile& tile, int32_t x, int32_t y) const {
    return geometry_.image.pixel(tile.view, tile.y + y, tile.x + x);
  }

  template <bool Derivatives>
  void shade(const Tile& tile, const Met& met) const {
    const BlockPart* parts = met.parts;
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += Piece<T>::width) {
        parts = shade_piece<Derivatives>(tile, x, y, met, parts);
      }
    }
  }

  // Returns the end of the piece's parts.
  template <bool Derivatives>
  const BlockPart* shade_piece(const Tile& tile, int32_t x, int32_t y, const Met& met, const BlockPart* parts) const {
    constexpr int blocks = Piece<T>::width / block_size;
    uint32_t seen[blocks], any = 0;
    for (int b = 0; b < blocks; ++b) {
      const int32_t column = x + b * block_size;
      seen[b] = seen_lanes(tile, tile.triangle + first_lane(column, y), column, y);
      any |= seen[b];
    }
    const int count = std::min(Piece<T>::width, tile.width - x), rows = std::min(block_size, tile.height - y);
    if (any == 0) {
      for (int r = 0; r < rows; ++r) images_.clear(pixel(tile, x, y + r), count);
      return parts;
    }
    Piece<T> piece;
    for (int b = 0; b < blocks; ++b) {
      parts = shade_block<Derivatives>(tile, x + b * block_size, y, seen[b], met, parts, b * block_size, piece);
    }
    for (int r = 0; r < rows; ++r) images_.write(pixel(tile, x, y + r), count, piece.row[r]);
    return parts;
  }

  // column: the block's, within the piece. Returns the end of the block's parts.
  template <bool Derivatives>
  LG_INLINE const BlockPart* shade_block(const Tile& tile, int32_t x, int32_t y, uint32_t seen, const Met& met,
                                         const BlockPart* parts, int column, Piece<T>& piece) const {
    const int32_t* ids = tile.triangle + first_lane(x, y);
    BlockAttributes<T, Channels> out;
    if (seen == 0) {
      std::memset(static_cast<void*>(&out), 0, Derivatives ? sizeof out : sizeof out - sizeof out.d);
    } else if (parts->lanes == all_lanes) {
      shade_uniform<T, Derivatives, Channels>(met, parts++->number, tile.x + x, tile.y + y, out);
    } else {
      parts = shade_mixed<T, Derivatives, Channels>(met, parts, seen, tile.x + x, tile.y + y, out);
    }
    piece.template set_block<Derivatives, Channels>(column, ids, out, images_.rast != nullptr);
    if (images_.zbuffer) piece.set_zbuffer(column, ids, tile.depth + first_lane(x, y));
    return parts;
  }

  const Geometry<T> geometry_;
  const VertexAttributes<T> attributes_;
  std::vector<Met> met_;
  const FragmentImages<T, Channels> images_;
};

}  // namespace lg::surface
