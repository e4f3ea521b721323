// An image, its incoming gradient, and the mesh it shows: the input of the visibility gradient methods.
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"

namespace lg::surface {

template <class T>
struct SurfaceImage {
  const T *color, *grad;  // [views, height, width, channels]
  const int32_t* frag_tri;
  const T* pos;
  MeshIndex mesh;
  ImageSize image;
  int64_t channels;

  // The clip positions of a triangle's corners. False if there is no such triangle.
  LG_HD bool corners(int64_t view, int32_t triangle, const T* (&corner)[3]) const {
    int64_t row[3];
    if (!mesh.rows(view, triangle, row)) return false;
    for (int k = 0; k < 3; ++k) corner[k] = pos + 4 * row[k];
    return true;
  }
};

template <class T>
SurfaceImage<T> make_surface_image(const void* color, const void* grad, const int32_t* frag_tri, const void* pos,
                                   const int32_t* tri, int32_t shared, int64_t views, int64_t vertices,
                                   int64_t triangles, int64_t height, int64_t width, int64_t channels) {
  return {static_cast<const T*>(color),
          static_cast<const T*>(grad),
          frag_tri,
          static_cast<const T*>(pos),
          {tri, vertices, triangles, shared != 0},
          {views, height, width},
          channels};
}

}  // namespace lg::surface
