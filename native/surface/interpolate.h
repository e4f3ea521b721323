// Interpolation of vertex attributes at one pixel, and its gradients.
//
//   out_c = u a0_c + v a1_c + (1 - u - v) a2_c
//   d out_c / d X = du/dX (a0_c - a2_c) + dv/dX (a1_c - a2_c), and the same for Y.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "surface/fragments.h"

namespace lg::surface {

template <class T>
struct InterpolateInputs {
  const T* attr;  // [attr_views, vertices, channels]
  const int32_t* tri;
  Fragments<T> fragments;
  const T* bary_d;
  const int32_t* listed_channel;  // of the channels whose derivatives are wanted
  int64_t attr_views, views, vertices, channels, triangles, listed;
};

template <class T>
InterpolateInputs<T> make_interpolate_inputs(const void* attr, const int32_t* tri, const int32_t* frag_tri,
                                             const void* bary, const void* bary_d, const void* rast,
                                             const int32_t* listed_channel, int64_t attr_views, int64_t views,
                                             int64_t vertices, int64_t channels, int64_t triangles, int64_t listed) {
  return {static_cast<const T*>(attr),
          tri,
          make_fragments<T>(frag_tri, bary, nullptr, rast),
          static_cast<const T*>(bary_d),
          listed_channel,
          attr_views,
          views,
          vertices,
          channels,
          triangles,
          listed};
}

template <class T>
struct InterpolateGradients {
  const T *out, *out_d;            // of the outputs, [.., channels] and [.., listed, 2]; null: zero
  T *attr, *bary, *bary_d, *rast;  // of the inputs; null where not wanted

  // Destination of the gradients of a pixel's u and v, or null. It has bary_values() values; those after the first two
  // are zero.
  LG_HD T* bary_at(int64_t pixel) const {
    return rast ? rast + 4 * pixel : (bary ? bary + 2 * pixel : static_cast<T*>(nullptr));
  }
  LG_HD int64_t bary_values() const { return rast ? 4 : 2; }
};

template <class T>
InterpolateGradients<T> make_interpolate_gradients(const void* out, const void* out_d, void* attr, void* bary,
                                                   void* bary_d, void* rast) {
  return {static_cast<const T*>(out), static_cast<const T*>(out_d), static_cast<T*>(attr),
          static_cast<T*>(bary),      static_cast<T*>(bary_d),      static_cast<T*>(rast)};
}

// The attributes of a triangle's three vertices. A missing vertex (negative index) points to zeros.
template <class T>
struct TriangleAttributes {
  const T* a[3];
};

template <class T>
LG_HD T interpolate_channel(const TriangleAttributes<T>& attr, int64_t c, T u, T v) {
  return (u * attr.a[0][c] + v * attr.a[1][c]) + (1 - u - v) * attr.a[2][c];
}

// bary_d: du/dX, du/dY, dv/dX, dv/dY.
template <class T>
LG_HD void interpolate_channel_d(const TriangleAttributes<T>& attr, int64_t c, const T* bary_d, T* out) {
  const T du = attr.a[0][c] - attr.a[2][c], dv = attr.a[1][c] - attr.a[2][c];
  out[0] = bary_d[0] * du + bary_d[2] * dv;
  out[1] = bary_d[1] * du + bary_d[3] * dv;
}

// Adds the gradients of u and v through one channel. grad: that channel's.
template <class T>
LG_HD void add_bary_gradient(const TriangleAttributes<T>& attr, int64_t c, T grad, T* grad_u, T* grad_v) {
  *grad_u += grad * (attr.a[0][c] - attr.a[2][c]);
  *grad_v += grad * (attr.a[1][c] - attr.a[2][c]);
}

// Adds the gradient of bary_d through one channel's two derivatives.
template <class T>
LG_HD void add_bary_d_gradient(const TriangleAttributes<T>& attr, int64_t c, const T* grad, T* grad_bary_d) {
  const T du = attr.a[0][c] - attr.a[2][c], dv = attr.a[1][c] - attr.a[2][c];
  grad_bary_d[0] += grad[0] * du;
  grad_bary_d[1] += grad[1] * du;
  grad_bary_d[2] += grad[0] * dv;
  grad_bary_d[3] += grad[1] * dv;
}

// The gradients of the three vertices' values of one channel.
template <class T>
LG_HD void vertex_gradients(T u, T v, T grad, T out[3]) {
  out[0] = u * grad;
  out[1] = v * grad;
  out[2] = (1 - u - v) * grad;
}

// The same through the channel's two derivatives.
template <class T>
LG_HD void vertex_gradients_d(const T* bary_d, const T* grad, T out[3]) {
  out[0] = grad[0] * bary_d[0] + grad[1] * bary_d[1];
  out[1] = grad[0] * bary_d[2] + grad[1] * bary_d[3];
  out[2] = -(out[0] + out[1]);
}

}  // namespace lg::surface
