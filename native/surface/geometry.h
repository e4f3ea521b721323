// The triangles of a batch of views, and the incoming gradients of their rasterization.
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"

namespace lg::surface {

template <class T>
struct Geometry {
  const T* pos;
  MeshIndex mesh;
  ImageSize image;

  LG_HD const T* positions(int64_t view) const { return pos + 4 * mesh.first_row(view); }
};

template <class T>
Geometry<T> make_geometry(const void* pos, const int32_t* tri, bool shared, int64_t views, int64_t vertices,
                          int64_t triangles, int64_t height, int64_t width) {
  return {static_cast<const T*>(pos), {tri, vertices, triangles, shared}, {views, height, width}};
}

// Gradients of the outputs; null: zero.
template <class T>
struct FragmentGradients {
  const int32_t* frag_tri;
  const T *bary, *depth, *bary_d;
  const T* rast;  // the first two of four values, in place of bary
  bool straight_through;
  const T* attributes = nullptr;  // of attributes that were interpolated in the same pass

  // For u and v of a pixel; null: zero.
  LG_HD const T* bary_at(int64_t pixel) const {
    return rast ? rast + 4 * pixel : (bary ? bary + 2 * pixel : static_cast<const T*>(nullptr));
  }
};

template <class T>
FragmentGradients<T> make_fragment_gradients(const int32_t* frag_tri, const void* bary, const void* depth,
                                             const void* bary_d, const void* rast, int32_t straight_through) {
  return {frag_tri,
          static_cast<const T*>(bary),
          static_cast<const T*>(depth),
          static_cast<const T*>(bary_d),
          static_cast<const T*>(rast),
          straight_through != 0};
}

}  // namespace lg::surface
