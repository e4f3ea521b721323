// Where the corners of a triangle lie, for kernels that are given numbers of triangles which may be wrong.
#pragma once

#include <cstdint>

#include "runtime/cuda/device.h"

namespace lg {

struct MeshIndex {
  const int32_t* tri;
  int64_t vertices, triangles;
  bool shared;  // one set of positions for all views

  // Rows of pos; false for a triangle that does not exist or has a vertex that does not.
  LG_DEVICE bool rows(int64_t view, int32_t triangle, int64_t (&row)[3]) const {
    if (triangle < 0 || triangle >= triangles) return false;
    for (int k = 0; k < 3; ++k) {
      const int32_t index = tri[3 * static_cast<int64_t>(triangle) + k];
      if (index < 0 || index >= vertices) return false;
      row[k] = (shared ? 0 : view * vertices) + index;
    }
    return true;
  }
};

}  // namespace lg
