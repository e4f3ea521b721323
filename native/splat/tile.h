// One tile's pixels while they are being composited: 4x4 blocks of sixteen lanes, values beside one another.
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
  int columns, rows;           // of it within the image
  int64_t width, first_pixel;  // of the image; of the tile's corner in the batch

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

  // Calls body(index within the tile's arrays, pixel of the batch) for the tile's pixels in the image.
  template <class Body>
  void for_pixels(Body&& body) const {
    for (int row = 0; row < rows; ++row) {
      const int64_t line = first_pixel + row * width;
      const int base = row / block_size * blocks_across * 16 + row % block_size * block_size;
      for (int column = 0; column < columns; ++column) {
        body(base + column / block_size * 16 + column % block_size, line + column);
      }
    }
  }
};

// A growing array on recycled memory, which begins at a cache line: vectors do not straddle two.
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

// Where the pixels are.
template <class T>
class TilePlaces {
 public:
  void begin(const TileFrame& frame, const Camera& camera, bool needs_plane) {
    if (!needs_plane) return;
    for (int block = 0; block < tile_blocks; ++block) {
      for (int l = 0; l < 16; ++l) {
        const double left = block % blocks_across * block_size + l % block_size + 0.5;
        const double top = block / blocks_across * block_size + l / block_size + 0.5;
        const double x = (static_cast<double>(frame.x0) + left - camera.cx) / camera.fx;
        const double y = (camera.cy - static_cast<double>(frame.y0) - top) / camera.fy;
        plane_[0][block * 16 + l] = T(x);
        plane_[1][block * 16 + l] = T(y);
        plane_[2][block * 16 + l] = T(1 / std::sqrt(x * x + y * y + 1));
      }
    }
  }
  template <bool NeedsPlane>
  LG_INLINE Pixels<Lanes<T>> block(int b) const {
    Pixels<Lanes<T>> out;
    out.left = T(b % blocks_across * block_size) + T(0.5) + load(LaneOffsets<T>::block_x);
    out.top = T(b / blocks_across * block_size) + T(0.5) + load(LaneOffsets<T>::block_y);
    if (NeedsPlane) {
      out.x = load(plane_[0] + b * 16);
      out.y = load(plane_[1] + b * 16);
      out.inverse_length = load(plane_[2] + b * 16);
    }
    return out;
  }

 private:
  alignas(64) T plane_[3][tile_pixels];
};

// Calls body(lane) for the lanes of a mask.
template <class M, class Body>
LG_INLINE void for_lanes_of(const M& mask, Body&& body) {
  for (uint32_t bits = bits_of(mask); bits; bits &= bits - 1) body(lowest_lane(bits));
}

}  // namespace splat
}  // namespace lg
