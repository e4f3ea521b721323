// The pixels of one tile during compositing: 4x4 blocks of sixteen lanes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "math/bits.h"
#include "math/lane_offsets.h"
#include "math/lanes.h"
#include "splat/scene.h"

namespace lg {
namespace splat {

constexpr int tile_pixels = tile_size * tile_size, tile_blocks = blocks_across * blocks_across;

struct TileFrame {
  int64_t view, x0, y0;
  int columns, rows;           // its part within the image
  int64_t width, first_pixel;  // of the image; index of the tile's corner in the batch

  TileFrame(const Tiles& tiles, int64_t tile) {
    view = tile / tiles.per_view();
    const int64_t in_view = tile % tiles.per_view();
    x0 = in_view % tiles.across() * tile_size;
    y0 = in_view / tiles.across() * tile_size;
    columns = static_cast<int>(std::min<int64_t>(tile_size, tiles.width - x0));
    rows = static_cast<int>(std::min<int64_t>(tile_size, tiles.height - y0));
    width = tiles.width;
    first_pixel = (view * tiles.height + y0) * width + x0;
  }
  Window window() const { return {static_cast<double>(x0), static_cast<double>(y0)}; }

  // The pixel of the batch at a lane of a block.
  int64_t pixel(int block, int lane) const {
    const int row = block / blocks_across * block_size + lane / block_size;
    const int column = block % blocks_across * block_size + lane % block_size;
    return first_pixel + row * width + column;
  }

  // Calls body(block, lane, pixel of the batch) for the tile's pixels inside the image, row by row.
  template <class Body>
  void for_pixels(Body&& body) const {
    for (int row = 0; row < rows; ++row) {
      const int64_t line = first_pixel + row * width;
      const int first_block = row / block_size * blocks_across, first_lane = row % block_size * block_size;
      for (int column = 0; column < columns; ++column) {
        body(first_block + column / block_size, first_lane + column % block_size, line + column);
      }
    }
  }
};

// A growing array on recycled memory that begins at a cache line, so that vectors do not straddle two.
template <class T>
class Aligned {
 public:
  void resize(int64_t count) {
    if (static_cast<int64_t>(buffer_.size()) < count) buffer_ = Buffer<T>(static_cast<size_t>(count));
  }
  T* data() { return buffer_.data(); }

 private:
  Buffer<T> buffer_;
};

// The positions of the pixels. NeedsPlane: also on the plane at distance 1.
template <class T, bool NeedsPlane>
class TilePlaces {
  using V = Lanes<T>;

 public:
  TilePlaces() {
    for (int b = 0; b < tile_blocks; ++b) {
      left_[b] = T(b % blocks_across * block_size) + T(0.5);
      top_[b] = T(b / blocks_across * block_size) + T(0.5);
    }
  }

  void begin(const TileFrame& frame, const Camera& camera) {
    for (int b = 0; NeedsPlane && b < tile_blocks; ++b) begin_block(frame, camera, b);
  }

  LG_INLINE Pixels<V> block(int b) const {
    Pixels<V> out;
    out.left = left_[b] + load(LaneOffsets<T>::block_x);
    out.top = top_[b] + load(LaneOffsets<T>::block_y);
    if constexpr (NeedsPlane) {
      out.x = plane_[b].x;
      out.y = plane_[b].y;
      out.inverse_length = plane_[b].inverse_length;
    }
    return out;
  }

 private:
  struct Plane {
    V x, y, inverse_length;
  };

  void begin_block(const TileFrame& frame, const Camera& camera, int b) {
    alignas(64) T places[3][16];
    for (int l = 0; l < 16; ++l) {
      const double left = b % blocks_across * block_size + l % block_size + 0.5;
      const double top = b / blocks_across * block_size + l / block_size + 0.5;
      const double x = (static_cast<double>(frame.x0) + left - camera.cx) / camera.fx;
      const double y = (camera.cy - static_cast<double>(frame.y0) - top) / camera.fy;
      places[0][l] = T(x);
      places[1][l] = T(y);
      places[2][l] = T(1 / std::sqrt(x * x + y * y + 1));
    }
    plane_[b] = {load(places[0]), load(places[1]), load(places[2])};
  }

  T left_[tile_blocks], top_[tile_blocks];  // of the blocks' first pixels
  Plane plane_[NeedsPlane ? tile_blocks : 1];
};

// Masks of the lanes within the image, block by block.
class TileInside {
 public:
  void begin(const TileFrame& frame) {
    std::fill_n(bits_, tile_blocks, 0u);
    frame.for_pixels([&](int b, int l, int64_t) { bits_[b] |= 1u << l; });
  }
  uint32_t bits(int b) const { return bits_[b]; }

 private:
  uint32_t bits_[tile_blocks];
};

}  // namespace splat
}  // namespace lg
