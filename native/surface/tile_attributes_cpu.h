// Vertex attributes of the triangles met in one tile, with the corners of a triangle side by side.
#pragma once

#include <cstdint>

#include "math/unrolled.h"
#include "runtime/config.h"
#include "runtime/memory.h"
#include "surface/tile_triangles.h"

namespace lg::surface {

// attr [views or 1, vertices, channels]
template <class T>
struct VertexAttributes {
  const T* attr = nullptr;
  int64_t views = 0, vertices = 0, channels = 0;

  const T* of(int64_t view) const { return attr + (views > 1 ? view * vertices * channels : 0); }
};

template <class T, int Channels>
class TileAttributes {
 public:
  // Of all triangles met so far.
  void set_up(const VertexAttributes<T>& in, const int32_t* tri, int64_t view, const TileTriangles<T>& triangles) {
    const T* attr = in.of(view);
    const int32_t count = triangles.count();
    corners_.clear();
    T* to = corners_.extend(static_cast<size_t>(count) * row);
    for (int32_t i = 0; i < count; ++i, to += row) {
      if (i + ahead < count) prefetch_corners(attr, Channels, tri + 3 * index_of(triangles, i + ahead), 1);
      const int32_t* index = tri + 3 * index_of(triangles, i);
      // Copied value by value: GCC 12 turns such short copies into calls.
      unrolled<3>([&](int k) LG_INLINE_LAMBDA {
        const T* from = attr + int64_t{Channels} * index[k];
        unrolled<Channels>([&](int c) LG_INLINE_LAMBDA { to[k * Channels + c] = from[c]; });
      });
    }
  }

  // Replaces the channels of vertices 0 and 1 by their differences from those of vertex 2.
  void subtract_last() {
    for (T *at = corners_.begin(), *end = corners_.end(); at != end; at += row) {
      for (int c = 0; c < Channels; ++c) {
        at[c] -= at[2 * Channels + c];
        at[Channels + c] -= at[2 * Channels + c];
      }
    }
  }

  // Channels of vertex 0, then of 1 and 2.
  const T* corners(int32_t number) const { return corners_.data() + number * row; }

 private:
  static constexpr int row = 3 * Channels;
  static constexpr int32_t ahead = 8;  // triangles

  static int64_t index_of(const TileTriangles<T>& triangles, int32_t number) { return triangles.triangle(number); }

  Array<T> corners_;
};

// No attributes.
template <class T>
class TileAttributes<T, 0> {};

}  // namespace lg::surface
