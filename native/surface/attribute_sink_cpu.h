// What follows visibility in the forward pass: attributes, once per visible pixel. Tiles are shaded in blocks of 4x4
// pixels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "math/bits.h"
#include "surface/attributes.h"
#include "surface/fragment_images.h"
#include "surface/lane_planes.h"
#include "surface/tile_attributes_cpu.h"
#include "surface/tile_triangles.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {

// Attributes of a block all of whose lanes show one triangle.
template <class T, bool Derivatives>
LG_INLINE void shade_uniform(const Planes<T>& planes, int32_t column, int32_t row,
                             BlockAttributes<T>& LG_RESTRICT out) {
  const T x = static_cast<T>(column - planes.anchor_x), y = static_cast<T>(row - planes.anchor_y);
  const Planes<T> p = planes;
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
}

// The lanes of a block that show one triangle.
struct BlockPart {
  int32_t number;
  uint32_t lanes;
};

// Attributes of a block whose lanes show different triangles, or (where `seen` has no bit) none. parts: those of the
// block, which together are all seen lanes; returns their end.
template <class T, bool Derivatives>
LG_INLINE const BlockPart* shade_mixed(const TileTriangles<T>& triangles, const BlockPart* parts, uint32_t seen,
                                       int32_t column, int32_t row, BlockAttributes<T>& LG_RESTRICT out) {
  LanePlanes<T> planes(column, row);
  for (uint32_t rest = seen; rest; rest &= ~parts++->lanes) planes.set(parts->lanes, triangles.planes(parts->number));
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
  return parts;
}

// Attributes of the vertices in a block's lanes, zero in those that show nothing. parts, seen: as above; in: of the
// block.
template <class T, int Channels>
LG_INLINE void interpolate_block(const TileAttributes<T, Channels>& attributes, const BlockPart* parts, uint32_t seen,
                                 const BlockAttributes<T>& in, BlockChannels<T, Channels>& LG_RESTRICT out) {
  Lanes<T> corner[3 * Channels];
  for (auto& lanes : corner) lanes = T(0);
  for (uint32_t rest = seen; rest; rest &= ~parts++->lanes) {
    const auto mask = mask_of<T>(parts->lanes);
    const T* of = attributes.corners(parts->number);
    for (int k = 0; k < 3 * Channels; ++k) corner[k] = select(mask, Lanes<T>(of[k]), corner[k]);
  }
  const Lanes<T> u = load(in.u), v = load(in.v), w = T(1) - u - v;
  for (int c = 0; c < Channels; ++c) {
    const Lanes<T>&a = corner[c], &b = corner[Channels + c], &last = corner[2 * Channels + c];
    store(out.value[c], only(mask_of<T>(seen), (u * a + v * b) + w * last));
  }
}

// Computes the attributes of finished tiles and writes them to the images. Channels: of attributes of the vertices,
// which are interpolated; 0: none.
template <class T, int Channels = 0>
class AttributeSink final : public TileSink {
 public:
  AttributeSink(const Geometry<T>& geometry, int workers, const FragmentImages<T>& images,
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
    met.triangles.set_up(geometry_, tile.view, false);
    if constexpr (Channels > 0) met.attributes.set_up(attributes_, geometry_.mesh.tri, tile.view, met.triangles);
    if (images_.bary_d) {
      shade<true>(tile, met);
    } else {
      shade<false>(tile, met);
    }
  }

 private:
  // The triangles of a tile, and which lanes of its blocks show them, block by block.
  struct Met {
    Met() {}  // does not clear `parts`
    TileTriangles<T> triangles;
    TileAttributes<T, Channels> attributes;
    BlockPart parts[tile_blocks * block_lanes];
  };

  // The first lane of the block at (x, y) of a tile.
  static int first_lane(int32_t x, int32_t y) {
    return ((y / block_size) * blocks_per_row + x / block_size) * block_lanes;
  }

  static constexpr uint32_t all_lanes = (1u << block_lanes) - 1;

  // The lanes of a block that show a triangle.
  static uint32_t seen_lanes(const Tile& tile, const int32_t* ids, int32_t x, int32_t y) {
    return ~equal_lanes(ids, -1) & lanes_inside(tile, x, y);
  }

  void meet(const Tile& tile, Met& met) const {
    met.triangles.begin_tile();
    BlockPart* next = met.parts;
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += block_size) {
        const int32_t* ids = tile.triangle + first_lane(x, y);
        for (uint32_t rest = seen_lanes(tile, ids, x, y); rest; rest &= ~next++->lanes) {
          const int32_t id = ids[lowest_lane(rest)];
          *next = {met.triangles.find(geometry_, id, tile.x + x, tile.y + y), equal_lanes(ids, id) & rest};
        }
      }
    }
  }

  int64_t pixel(const Tile& tile, int32_t x, int32_t y) const {
    return geometry_.image.pixel(tile.view, tile.y + y, tile.x + x);
  }

  template <bool Derivatives>
  void shade(const Tile& tile, const Met& met) {
    Strip<T> strip;
    const BlockPart* parts = met.parts;
    for (int32_t y = 0; y < tile.height; y += block_size) {
      uint64_t shaded = 0;  // blocks
      for (int32_t x = 0; x < tile.width; x += block_size) {
        const uint32_t seen = seen_lanes(tile, tile.triangle + first_lane(x, y), x, y);
        parts = shade_block<Derivatives>(tile, x, y, seen, met, parts, strip);
        shaded |= static_cast<uint64_t>(seen != 0) << (x / block_size);
      }
      for (int r = 0; r < std::min(block_size, tile.height - y); ++r)
        write_row(tile, y + r, shaded, strip.row(r, Channels));
    }
  }

  // In pieces that fill cache lines.
  void write_row(const Tile& tile, int32_t y, uint64_t shaded_blocks, const FragmentImages<T>& row) const {
    constexpr int piece = 4 * block_size;
    for (int32_t x = 0; x < tile.width; x += piece) {
      const int64_t first = pixel(tile, x, y), count = std::min(piece, tile.width - x);
      if ((shaded_blocks >> (x / block_size) & 0xfu) == 0) {
        images_.clear(first, count);
      } else if (LG_LIKELY(count == piece)) {
        images_.write(first, piece, row, x);
      } else {
        images_.write(first, count, row, x);
      }
    }
  }

  // Returns the end of the block's parts.
  template <bool Derivatives>
  const BlockPart* shade_block(const Tile& tile, int32_t x, int32_t y, uint32_t seen, const Met& met,
                               const BlockPart* parts, Strip<T>& strip) const {
    const int32_t* ids = tile.triangle + first_lane(x, y);
    const BlockPart* first = parts;
    BlockAttributes<T> out;
    if (seen == 0) {
      std::memset(&out, 0, Derivatives ? sizeof out : sizeof out - sizeof out.d);
    } else if (parts->lanes == all_lanes) {
      shade_uniform<T, Derivatives>(met.triangles.planes(parts++->number), tile.x + x, tile.y + y, out);
    } else {
      parts = shade_mixed<T, Derivatives>(met.triangles, parts, seen, tile.x + x, tile.y + y, out);
    }
    strip.template set_block<Derivatives>(x, ids, out, images_.rast != nullptr);
    if (images_.zbuffer) strip.set_zbuffer(x, ids, tile.depth + first_lane(x, y));
    if constexpr (Channels > 0) {
      BlockChannels<T, Channels> channels;
      interpolate_block(met.attributes, first, seen, out, channels);
      strip.template set_attributes<Channels>(x, channels);
    }
    return parts;
  }

  static uint32_t lanes_inside(const Tile& tile, int32_t x, int32_t y) {
    if (x + block_size <= tile.width && y + block_size <= tile.height) return 0xffffu;
    uint32_t lanes = 0;
    for (int l = 0; l < block_lanes; ++l) {
      lanes |= static_cast<uint32_t>(x + (l & 3) < tile.width && y + (l >> 2) < tile.height) << l;
    }
    return lanes;
  }

  const Geometry<T> geometry_;
  const VertexAttributes<T> attributes_;
  std::vector<Met> met_;
  const FragmentImages<T> images_;
};

}  // namespace lg::surface
