// The triangles met in one tile, and their planes, set up several at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/gather.h"
#include "math/lanes.h"
#include "math/quads.h"
#include "math/unrolled.h"
#include "parallel/triangle_numbers.h"
#include "runtime/memory.h"
#include "surface/attributes.h"
#include "surface/geometry.h"

namespace lg::surface {

// Triangles are set up in float64, one register of them at a time.
constexpr int setup_lanes = register_bytes / 8;
using SetupLanes = Lanes<double, setup_lanes>;

// Numbers the triangles of a tile in the order in which they are met. A triangle's planes are anchored at the pixel
// where it is met first. This follows from the tile's scan order alone, so results depend on nothing else.
template <class T>
class TileTriangles {
 public:
  void begin_tile() {
    numbers_.clear();
    anchor_.clear();
  }

  // The number of a triangle. It gets a new number if it has not been met or has been overwritten since, and then has
  // two.
  int32_t find(const Geometry<T>& geometry, int32_t triangle, int32_t column, int32_t row) {
    const int32_t before = numbers_.count(), number = numbers_.find(triangle);
    if (number == before) {
      LG_PREFETCH(geometry.mesh.tri + 3 * static_cast<int64_t>(triangle));
      anchor_.push_back({column, row});
    }
    return number;
  }

  int32_t count() const { return numbers_.count(); }
  int32_t triangle(int32_t number) const { return numbers_[number]; }
  const Planes<T>& planes(int32_t number) const { return planes_[number]; }

  // Sets up the planes of all triangles met so far. Keeps their frames if wanted.
  void set_up(const Geometry<T>& geometry, int64_t view, bool keep_frames) {
    const int32_t batches = (count() + gather_lanes - 1) / gather_lanes;
    planes_.clear();
    planes_.extend(static_cast<size_t>(count()));
    frames_.clear();
    frames_.extend(static_cast<size_t>(keep_frames ? batches : 1) * frames_per_batch);
    for (int32_t batch = 0; batch < batches; ++batch) {
      prefetch_batch(geometry, view, (batch + 1) * gather_lanes);
      set_up_batch(geometry, view, batch * gather_lanes, frames_.data() + (keep_frames ? batch * frames_per_batch : 0));
    }
  }

  // Converts the gradients of the planes of `count` triangles, starting at `first`, to those of their vertices: the
  // first 12 values of rows with the given `stride`.
  void finish(int32_t first, int32_t count, T* values, int64_t stride) const {
    alignas(64) T rows[12][setup_lanes];
    for (int l = 0; l < setup_lanes; ++l) {
      for (int k = 0; k < 12; ++k) rows[k][l] = l < count ? values[l * stride + k] : T(0);
    }
    PlaneValues<SetupLanes> sums;
    SetupLanes* const planes[3] = {sums.at, sums.dx, sums.dy};
    for (int k = 0; k < 12; ++k) planes[k / 4][k % 4] = SetupLanes::load(rows[k]);
    SetupLanes out[3][4];
    vertex_gradients(frames_[first / setup_lanes], sums, out);
    for (int k = 0; k < 12; ++k) out[k / 4][k % 4].store(rows[k]);
    for (int l = 0; l < count; ++l) {
      for (int k = 0; k < 12; ++k) values[l * stride + k] = rows[k][l];
    }
  }

 private:
  struct Pixel {
    int32_t column, row;
  };
  static constexpr int32_t frames_per_batch = gather_lanes / setup_lanes;

  int32_t batch_count(int32_t first) const { return std::min<int32_t>(gather_lanes, count() - first); }

  void prefetch_batch(const Geometry<T>& geometry, int64_t view, int32_t first) const {
    const T* pos = geometry.positions(view);
    for (int32_t l = 0; l < batch_count(first); ++l) {
      prefetch_corners(pos, 4, geometry.mesh.tri + 3 * static_cast<int64_t>(numbers_[first + l]), 1);
    }
  }

  void set_up_batch(const Geometry<T>& geometry, int64_t view, int32_t first, TriangleFrame<SetupLanes>* frames) {
    const int32_t batch = batch_count(first);
    int32_t index[3 * gather_lanes];
    alignas(64) double column[gather_lanes] = {}, row[gather_lanes] = {};
    for (int32_t l = 0; l < batch; ++l) {
      // Copied value by value: GCC 12 turns such short copies into calls.
      const int32_t* vertex = geometry.mesh.tri + 3 * static_cast<int64_t>(numbers_[first + l]);
      unrolled<3>([&](int k) LG_INLINE_LAMBDA { index[3 * l + k] = vertex[k]; });
      column[l] = anchor_[first + l].column;
      row[l] = anchor_[first + l].row;
    }
    alignas(64) T corner[3][4][gather_lanes], planes[3][4][gather_lanes];
    gather_corners(geometry.positions(view), index, batch, corner[0][0], corner[1][0], corner[2][0]);
    for (int32_t l = 0; l < batch; l += setup_lanes) {
      SetupLanes p[3][4];
      for (int k = 0; k < 12; ++k) p[k / 4][k % 4] = SetupLanes::load(corner[k / 4][k % 4] + l);
      TriangleFrame<SetupLanes>& frame = frames[l / setup_lanes];
      make_frame(p, SetupLanes::load(column + l), SetupLanes::load(row + l), geometry.image.width,
                 geometry.image.height, frame);
      PlaneValues<SetupLanes> values;
      make_planes(frame, values);
      for (int k = 0; k < 4; ++k) values.at[k].store(planes[0][k] + l);
      for (int k = 0; k < 4; ++k) values.dx[k].store(planes[1][k] + l);
      for (int k = 0; k < 4; ++k) values.dy[k].store(planes[2][k] + l);
    }
    static_assert(gather_lanes == 16, "four quads");
    unrolled<3>([&](int kind) LG_INLINE_LAMBDA {
      Lanes<T> rows[4];
      unrolled<4>([&](int k) LG_INLINE_LAMBDA { rows[k] = load(planes[kind][k]); });
      transpose_quads(rows);
      unrolled<4>([&](int k) LG_INLINE_LAMBDA { store(planes[kind][k], rows[k]); });
    });
    for (int32_t l = 0; l < batch; ++l) {
      Planes<T>& out = planes_[first + l];
      const auto quad = [&](int kind) LG_INLINE_LAMBDA { return Lanes<T, 4>::load(planes[kind][l % 4] + l / 4 * 4); };
      store(out.at, quad(0));
      store(out.dx, quad(1));
      store(out.dy, quad(2));
      out.anchor_x = anchor_[first + l].column;
      out.anchor_y = anchor_[first + l].row;
    }
  }

  TriangleNumbers numbers_;
  Array<Pixel> anchor_;
  Array<Planes<T>> planes_;
  Array<TriangleFrame<SetupLanes>> frames_;
};

}  // namespace lg::surface
