// The rows of tiles that the bounds of a warp's lanes meet, distributed among the lanes: a large bound has hundreds of
// rows, most have one or two.
#pragma once

#include "runtime/cuda/launch.h"
#include "splat/binning_cuda.h"
#include "splat/bounds.h"

namespace lg {
namespace splat {

// Called by all lanes of a warp.
class SharedRows {
 public:
  // One row: the lane that its bound belongs to, and its tiles.
  struct Row {
    unsigned owner;
    int row, first, tiles;
  };

  // there: false for a lane without a bound.
  LG_DEVICE SharedRows(const Bound& bound, bool there, int width, int height) : width_(width), height_(height) {
    const TileRows<cuda_tile> rows(bound, width, height);
    first_row_ = rows.row() + 1;
    mine_ = there ? rows.left() : 0;
    end_ = running_sum(mine_);
    values_[0] = bound.x, values_[1] = bound.y, values_[2] = bound.half_width, values_[3] = bound.half_height;
    values_[4] = bound.shear, values_[5] = bound.bend, values_[6] = bound.tip, values_[7] = bound.margin;
  }

  // Over all lanes.
  LG_DEVICE int64_t count() const { return warp_shuffle(end_, warp_size - 1); }

  // Row `number` of all rows, a different one for each lane. Those after the last have no tiles.
  LG_DEVICE Row at(int64_t number) const {
    Row out{lane_with(end_, number), 0, 0, 0};
    const int64_t begin = warp_shuffle(end_ - mine_, out.owner);
    out.row = warp_shuffle(first_row_, out.owner) + static_cast<int>(number - begin);
    float v[8];
    warp_shuffle_all(values_, out.owner, v);
    const Bound bound = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
    const bool exists = number < count();
    int last;
    if (exists && TileRows<cuda_tile>::columns(bound, width_, height_, out.row, &out.first, &last)) {
      out.tiles = last - out.first + 1;
    }
    return out;
  }

  // The number of tiles that this lane's bound meets.
  LG_DEVICE uint32_t tiles() const {
    const int64_t rows = count();
    uint32_t total = 0;
    for (int64_t base = 0; base < rows; base += warp_size) {
      const uint32_t running = running_sum(static_cast<uint32_t>(at(base + lane_id()).tiles));
      // The lanes with this lane's rows are consecutive.
      const int64_t begin = limited(end_ - mine_ - base), end = limited(end_ - base);
      const uint32_t before = warp_shuffle(running, static_cast<unsigned>(begin > 0 ? begin - 1 : 0));
      const uint32_t up_to = warp_shuffle(running, static_cast<unsigned>(end > 0 ? end - 1 : 0));
      if (begin < end) total += up_to - (begin > 0 ? before : 0u);
    }
    return total;
  }

 private:
  static LG_DEVICE int64_t limited(int64_t lane) {
    return lane < 0 ? 0 : lane > int64_t{warp_size} ? int64_t{warp_size} : lane;
  }

  int width_, height_, first_row_;
  int64_t mine_, end_;  // number of rows, and its running sum
  float values_[8];     // of the bound
};

}  // namespace splat
}  // namespace lg
