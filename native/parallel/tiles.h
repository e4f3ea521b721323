// The fixed division of images into tiles for gradient passes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/threads.h"

namespace lg {

constexpr int64_t usual_tile = 64;  // pixels per side

struct PixelTile {
  int64_t view, x0, y0, x1, y1;  // pixels [x0, x1) x [y0, y1)
};

class TileGrid {
 public:
  TileGrid(int64_t views, int64_t height, int64_t width, int64_t size = usual_tile)
      : height_(height),
        width_(width),
        size_(size),
        across_(divide_up(width, size)),
        down_(divide_up(height, size)),
        count_(views * across_ * down_) {}

  int64_t count() const { return count_; }

  PixelTile operator[](int64_t i) const {
    const int64_t view = i / (across_ * down_), in_view = i % (across_ * down_);
    const int64_t x0 = in_view % across_ * size_, y0 = in_view / across_ * size_;
    return {view, x0, y0, std::min(width_, x0 + size_), std::min(height_, y0 + size_)};
  }

 private:
  int64_t height_, width_, size_, across_, down_, count_;
};

}  // namespace lg
