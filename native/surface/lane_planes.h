// The planes of triangles (attributes.h) at sixteen pixels at once, which may show different triangles.
#pragma once

#include <cstdint>

#include "math/lane_offsets.h"
#include "math/lanes.h"
#include "surface/attributes.h"

namespace lg::surface {

constexpr int plane_lanes = 16;

// The planes of sixteen pixels' triangles, lane by lane, and the pixels' offsets from the planes' anchors.
template <class T>
struct LanePlanes {
  // (column, row): position of lane 0.
  LanePlanes(int32_t column, int32_t row) : column(column), row(row), x(T(0)), y(T(0)) {
    for (int k = 0; k < 4; ++k) at[k] = dx[k] = dy[k] = T(0);
  }

  // Sets the triangle of the lanes of the mask.
  LG_INLINE void set(const typename Lanes<T>::Mask& mask, const Planes<T>& p) {
    for (int k = 0; k < 4; ++k) at[k] = select(mask, Lanes<T>(p.at[k]), at[k]);
    for (int k = 0; k < 4; ++k) dx[k] = select(mask, Lanes<T>(p.dx[k]), dx[k]);
    for (int k = 0; k < 4; ++k) dy[k] = select(mask, Lanes<T>(p.dy[k]), dy[k]);
    x = select(mask, Lanes<T>(static_cast<T>(column - p.anchor_x)), x);
    y = select(mask, Lanes<T>(static_cast<T>(row - p.anchor_y)), y);
  }

  // The planes' values, plane by plane. Offsets: of the lanes, relative to lane 0.
  LG_INLINE void evaluate(const T* offset_x, const T* offset_y, T (*values)[plane_lanes]) {
    x = x + load(offset_x);
    y = y + load(offset_y);
    for (int k = 0; k < 4; ++k) store(values[k], (at[k] + dy[k] * y) + dx[k] * x);
  }

  int32_t column, row;
  Lanes<T> at[4], dx[4], dy[4], x, y;
};

}  // namespace lg::surface
