// An image, its incoming gradient, and the mesh it shows: what the gradient methods go by.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/config.h"
#include "runtime/status.h"

namespace lg::surface {

template <class T>
struct SurfaceImage {
  const T* color;  // [views, height, width, channels]
  const T* grad;
  const int32_t* frag_tri;
  const T* pos;
  const int32_t* tri;
  bool shared;  // one set of positions for all views
  int64_t views, vertices, triangles, height, width, channels;

  // The corners of a triangle, checked.
  std::array<const T*, 3> corners(int64_t view, int32_t triangle) const {
    if (LG_UNLIKELY(triangle >= triangles)) {
      throw InvalidArgument("frags.tri holds triangle %d, but tri has %lld triangles", static_cast<int>(triangle),
                            static_cast<long long>(triangles));
    }
    const int32_t* index = tri + 3 * static_cast<int64_t>(triangle);
    const T* base = pos + (shared ? 0 : view * vertices * 4);
    std::array<const T*, 3> out;
    for (int k = 0; k < 3; ++k) {
      if (LG_UNLIKELY(index[k] < 0 || index[k] >= vertices)) {
        throw InvalidArgument("tri[%d, %d] is %d, but pos has %lld vertices", static_cast<int>(triangle), k,
                              static_cast<int>(index[k]), static_cast<long long>(vertices));
      }
      out[k] = base + 4 * static_cast<int64_t>(index[k]);
    }
    return out;
  }
};

}  // namespace lg::surface
