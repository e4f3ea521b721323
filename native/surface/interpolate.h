// Interpolation of vertex attributes at one pixel, and its gradients.
//
//   out_c = u a0_c + v a1_c + (1 - u - v) a2_c
//   d out_c / d X = du/dX (a0_c - a2_c) + dv/dX (a1_c - a2_c), and the same for Y.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

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

// Adds what one channel's output gradient means for u and v.
template <class T>
LG_HD void add_bary_gradient(const TriangleAttributes<T>& attr, int64_t c, T grad, T* grad_u, T* grad_v) {
  *grad_u += grad * (attr.a[0][c] - attr.a[2][c]);
  *grad_v += grad * (attr.a[1][c] - attr.a[2][c]);
}

// Adds what the gradients of one channel's two derivatives mean for bary_d.
template <class T>
LG_HD void add_bary_d_gradient(const TriangleAttributes<T>& attr, int64_t c, const T* grad, T* grad_bary_d) {
  const T du = attr.a[0][c] - attr.a[2][c], dv = attr.a[1][c] - attr.a[2][c];
  grad_bary_d[0] += grad[0] * du;
  grad_bary_d[1] += grad[1] * du;
  grad_bary_d[2] += grad[0] * dv;
  grad_bary_d[3] += grad[1] * dv;
}

// The weights with which one channel's gradients reach vertices 0 and 1; vertex 2 gets what is left.
template <class T>
LG_HD void derivative_weights(const T* bary_d, const T* grad, T* to_a0, T* to_a1) {
  *to_a0 = grad[0] * bary_d[0] + grad[1] * bary_d[1];
  *to_a1 = grad[0] * bary_d[2] + grad[1] * bary_d[3];
}

}  // namespace lg::surface
