// The pixels of one tile of an image of triangle numbers in blocks of 4x4, cut into the parts that
// show one triangle.
//
// In fine meshes, a triangle has fewer parts of blocks than runs of rows, and each costs about as much as a few pixels.
// As in tile_chunks.h, memory is prefetched some rows ahead.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/quads.h"
#include "parallel/tile_chunks.h"
#include "parallel/tiles.h"
#include "surface/block_parts.h"

namespace lg::surface {

// Up to four blocks side by side.
struct PixelPiece {
  static constexpr int blocks = chunk_lanes / block_size;

  int64_t first;  // its first pixel's place in the image
  int32_t column, row, columns, rows;
  const uint16_t* seen;    // the lanes of each block that show a triangle
  const BlockPart* parts;  // of all blocks, concatenated

  bool empty() const { return (seen[0] | seen[1] | seen[2] | seen[3]) == 0; }
};

class TileBlocks {
 public:
  // Goes through the tile once. find(triangle, column, row) returns the tile's number for a triangle that is first met
  // at pixel (column, row).
  template <class Find>
  void number(const PixelTile& tile, int64_t height, int64_t width, const int32_t* frag_tri, Find&& find) {
    tile_ = tile;
    start_ = tile.view * height * width;
    width_ = width;
    BlockPart* next = parts_;
    for_places([&](int64_t row, int64_t column, uint16_t* seen) {
      const int32_t* ids = frag_tri + start_ + row * width_ + column;
      for (int64_t r = block_size; r < 2 * block_size && row + r < tile_.y1; ++r) LG_PREFETCH(ids + r * width_);
      std::fill_n(seen, PixelPiece::blocks, uint16_t{0});
      const bool whole = column + chunk_lanes <= tile_.x1 && row + block_size <= tile_.y1;
      if (whole && shows_nothing(ids)) return;
      for (int b = 0; b < PixelPiece::blocks && column + b * block_size < tile_.x1; ++b) {
        const int64_t x = column + b * block_size;
        const uint32_t inside = lanes_inside(x, row, tile_.x1, tile_.y1);
        const Lanes<int32_t> lanes = load_block(ids + b * block_size, inside);
        seen[b] = static_cast<uint16_t>(seen_lanes(lanes));
        next = cut_block(lanes, seen[b], next, [&](int32_t triangle, int lane) LG_INLINE_LAMBDA {
          return find(triangle, static_cast<int32_t>(x + (lane & 3)), static_cast<int32_t>(row + (lane >> 2)));
        });
      }
    });
  }

  // Calls body(piece) for the pieces that show a triangle; it returns the end of the piece's parts. ahead(piece)
  // prefetches what body will read for a later piece.
  template <class Ahead, class Body>
  void for_each(Ahead&& ahead, Body&& body) {
    const BlockPart* parts = parts_;
    for_places([&](int64_t row, int64_t column, const uint16_t* seen) {
      if (row + block_size < tile_.y1) {
        const PixelPiece later = piece_at(row + block_size, column, seen + seen_per_row, nullptr);
        if (!later.empty()) ahead(later);
      }
      const PixelPiece piece = piece_at(row, column, seen, parts);
      if (!piece.empty()) parts = body(piece);
    });
  }

 private:
  static constexpr int largest_size = 64, seen_per_row = largest_size / block_size;

  template <class Body>
  void for_places(Body&& body) {
    uint16_t* seen = seen_;
    for (int64_t row = tile_.y0; row < tile_.y1; row += block_size, seen += seen_per_row) {
      uint16_t* here = seen;
      for (int64_t column = tile_.x0; column < tile_.x1; column += chunk_lanes, here += PixelPiece::blocks) {
        body(row, column, here);
      }
    }
  }

  bool shows_nothing(const int32_t* ids) const {
    const Lanes<int32_t> all = (load(ids) & load(ids + width_)) & (load(ids + 2 * width_) & load(ids + 3 * width_));
    return seen_lanes(all) == 0;
  }

  // -1 in lanes outside.
  Lanes<int32_t> load_block(const int32_t* ids, uint32_t inside) const {
    if (LG_LIKELY(inside == all_lanes)) return load_quads(ids, width_);
    int32_t padded[block_lanes];
    for (int l = 0; l < block_lanes; ++l) padded[l] = (inside >> l & 1) != 0 ? ids[(l >> 2) * width_ + (l & 3)] : -1;
    return load(padded);
  }

  PixelPiece piece_at(int64_t row, int64_t column, const uint16_t* seen, const BlockPart* parts) const {
    return {start_ + row * width_ + column,
            static_cast<int32_t>(column),
            static_cast<int32_t>(row),
            static_cast<int32_t>(std::min<int64_t>(chunk_lanes, tile_.x1 - column)),
            static_cast<int32_t>(std::min<int64_t>(block_size, tile_.y1 - row)),
            seen,
            parts};
  }

  PixelTile tile_ = {};
  int64_t start_ = 0, width_ = 0;
  BlockPart parts_[largest_size * largest_size];
  uint16_t seen_[largest_size * seen_per_row / block_size];
};

}  // namespace lg::surface
