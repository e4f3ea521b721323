// The planes of triangles (attributes.h) at sixteen pixels at once, which may see different triangles.
#pragma once

#include <cstdint>

#include "math/lane_offsets.h"
#include "math/wide.h"
#include "surface/attributes.h"

namespace lg::surface {

constexpr int plane_lanes = 16;

// The planes of sixteen pixels' triangles, lane by lane, and where the pixels lie from the planes' anchors.
template <class T>
struct LanePlanes {
  using Lanes = wide::Lanes<T>;

  // (column, row): of lane 0.
  LanePlanes(int32_t column, int32_t row) : column(column), row(row), x(T(0)), y(T(0)) {
    for (int k = 0; k < 4; ++k) at[k] = dx[k] = dy[k] = Lanes(T(0));
  }

  // Gives the lanes of the mask their triangle.
  void set(uint32_t lanes, const Planes<T>& p) {
    for (int k = 0; k < 4; ++k) at[k] = wide::select(lanes, Lanes(p.at[k]), at[k]);
    for (int k = 0; k < 4; ++k) dx[k] = wide::select(lanes, Lanes(p.dx[k]), dx[k]);
    for (int k = 0; k < 4; ++k) dy[k] = wide::select(lanes, Lanes(p.dy[k]), dy[k]);
    x = wide::select(lanes, Lanes(static_cast<T>(column - p.anchor_x)), x);
    y = wide::select(lanes, Lanes(static_cast<T>(row - p.anchor_y)), y);
  }

  // The planes' values, plane by plane. Offsets: of the lanes from lane 0.
  void evaluate(const T* offset_x, const T* offset_y, T (*values)[plane_lanes]) {
    x = x + wide::load(offset_x);
    y = y + wide::load(offset_y);
    for (int k = 0; k < 4; ++k) wide::store(values[k], (at[k] + dy[k] * y) + dx[k] * x);
  }

  int32_t column, row;
  Lanes at[4], dx[4], dy[4], x, y;
};

}  // namespace lg::surface
