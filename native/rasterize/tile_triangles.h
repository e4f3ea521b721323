// The triangles met in one tile, and their planes, set up several at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/lanes.h"
#include "common/memory.h"
#include "common/triangle_numbers.h"
#include "rasterize/attributes.h"

namespace lg {

// Everything that says where the three vertices of a triangle lie.
template <class T>
struct Geometry {
  const T* pos;
  const int32_t* tri;
  int64_t vertices, width, height;
  bool shared;  // one set of positions for all views

  const T* corner(int64_t view, int32_t triangle, int k) const {
    const int64_t vertex = tri[3 * static_cast<int64_t>(triangle) + k];
    return pos + 4 * ((shared ? 0 : view * vertices) + vertex);
  }
};

// Numbers the triangles of a tile in the order they are met. The anchor of a triangle's planes is the place
// where it was met first, which the tile's scan order fixes: results do not depend on anything else.
template <class T>
class TileTriangles {
 public:
  void begin_tile() {
    numbers_.clear();
    anchor_.clear();
  }

  // The number of a triangle; a new one if it has not been met (or was forgotten: then it has two numbers).
  int32_t find(const Geometry<T>& geometry, int32_t triangle, int32_t column, int32_t row) {
    const int32_t before = numbers_.count(), number = numbers_.find(triangle);
    if (number == before) {
      LG_PREFETCH(geometry.tri + 3 * static_cast<int64_t>(triangle));
      anchor_.push_back({column, row});
    }
    return number;
  }

  int32_t count() const { return numbers_.count(); }
  int32_t triangle(int32_t number) const { return numbers_[number]; }
  const Planes<T>& planes(int32_t number) const { return planes_[number]; }

  // Sets up the planes of all triangles met so far. Keeps the frames they came from if wanted.
  void set_up(const Geometry<T>& geometry, int64_t view, bool keep_frames) {
    const int32_t groups = (count() + double_lanes - 1) / double_lanes;
    planes_.clear();
    planes_.extend(static_cast<size_t>(groups) * double_lanes);
    frames_.clear();
    frames_.extend(static_cast<size_t>(keep_frames ? groups : 1));
    for (int32_t group = 0; group < groups; ++group) {
      prefetch_group(geometry, view, group + 1);
      set_up_group(geometry, view, group, frames_[keep_frames ? group : 0]);
    }
  }

  // From the gradients of the planes of `count` triangles from `first` (rows of 12) to those of its vertices.
  void finish(int32_t first, int32_t count, T* values) const {
    PlaneValues<DoubleLanes> sums;
    DoubleLanes* const planes[3] = {sums.at, sums.dx, sums.dy};
    for (int k = 0; k < 12; ++k) {
      DoubleLanes& sum = planes[k / 4][k % 4];
      sum = DoubleLanes{};
      for (int l = 0; l < count; ++l) set_lane(sum, l, values[l * 12 + k]);
    }
    DoubleLanes out[3][4];
    vertex_gradients(frames_[first / double_lanes], sums, out);
    for (int k = 0; k < 12; ++k) {
      for (int l = 0; l < count; ++l) values[l * 12 + k] = static_cast<T>(lane(out[k / 4][k % 4], l));
    }
  }

 private:
  struct Pixel {
    int32_t column, row;
  };

  void prefetch_group(const Geometry<T>& geometry, int64_t view, int32_t group) const {
    const int32_t end = std::min(count(), (group + 1) * double_lanes);
    for (int32_t number = group * double_lanes; number < end; ++number) {
      for (int k = 0; k < 3; ++k) LG_PREFETCH(geometry.corner(view, numbers_[number], k));
    }
  }

  void set_up_group(const Geometry<T>& geometry, int64_t view, int32_t group, TriangleFrame<DoubleLanes>& frame) {
    DoubleLanes p[3][4], column, row;
    for (int l = 0; l < double_lanes; ++l) {
      const int32_t number = std::min(count() - 1, group * double_lanes + l);
      for (int k = 0; k < 3; ++k) {
        const T* corner = geometry.corner(view, numbers_[number], k);
        for (int c = 0; c < 4; ++c) set_lane(p[k][c], l, corner[c]);
      }
      set_lane(column, l, anchor_[number].column);
      set_lane(row, l, anchor_[number].row);
    }
    make_frame(p, column, row, geometry.width, geometry.height, frame);
    PlaneValues<DoubleLanes> values;
    make_planes(frame, values);
    for (int l = 0; l < double_lanes; ++l) {
      const int32_t number = group * double_lanes + l;
      Planes<T>& out = planes_[number];
      for (int k = 0; k < 4; ++k) {
        out.at[k] = static_cast<T>(lane(values.at[k], l));
        out.dx[k] = static_cast<T>(lane(values.dx[k], l));
        out.dy[k] = static_cast<T>(lane(values.dy[k], l));
      }
      const Pixel anchor = anchor_[std::min(count() - 1, number)];
      out.anchor_x = anchor.column;
      out.anchor_y = anchor.row;
    }
  }

  TriangleNumbers numbers_;
  Array<Pixel> anchor_;
  Array<Planes<T>> planes_;
  Array<TriangleFrame<DoubleLanes>> frames_;
};

}  // namespace lg
