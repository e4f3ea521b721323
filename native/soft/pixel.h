// One pixel and one face: distance, weights and depth, and the gradients of the values that define a face.
//
// Nothing here branches, so loops over pixels are vectorised.
#pragma once

#include "math/scalar.h"
#include "runtime/config.h"
#include "soft/face.h"

namespace lg::soft {

// The distance of a position along an edge's line beyond the ends of the edge: negative before the first, positive
// after the second, otherwise zero.
template <class T>
LG_HD T overshoot(const Face<T>& f, int e, T s) {
  return minimum(s - f.from[e], T(0)) + maximum(s - f.to[e], T(0));
}

// The squared distance that rounding may add for a point inside a face.
template <class T>
LG_HD constexpr T tip_tolerance() {
  return sizeof(T) == 4 ? T(1e-9) : T(1e-24);
}

template <class T>
struct Place {
  T line[max_edges];  // distance from the edges' lines, positive inside
  T inner;            // the smallest of them; the pixel is inside the face if it is not negative
  T dist;             // squared distance to the nearest edge

  LG_HD bool is_near(T blur) const { return (inner >= 0) | (dist < blur); }
};

template <int Edges, class T>
LG_HD void locate(const Face<T>& f, T x, T y, Place<T>& at) {
  for (int e = 0; e < Edges; ++e) {
    at.line[e] = (f.nx[e] * x + f.ny[e] * y) + f.c[e];
    const T beyond = overshoot(f, e, f.ny[e] * x - f.nx[e] * y);
    const T d = at.line[e] * at.line[e] + beyond * beyond;
    at.inner = e == 0 ? at.line[e] : minimum(at.inner, at.line[e]);
    at.dist = e == 0 ? d : minimum(at.dist, d);
  }
  // From a point inside, the nearest line is met on its edge. Beyond the tip of a face that is as thin as rounding
  // errors, all lines are that near, whatever their signs.
  at.inner = at.dist <= at.inner * at.inner + tip_tolerance<T>() ? at.inner : T(-1);
}

template <class T>
struct Weights {
  T bary[3];
  T inverse_sum;  // of the unnormalised weights
  T below;        // sum bary w: the clip coordinate w of the point if weights are perspective-correct
  T z;
  bool valid;
};

template <bool Clip, class T>
LG_HD void weigh(const Face<T>& f, const T* line, Weights<T>& out) {
  T m[3];
  for (int i = 0; i < 3; ++i) {
    m[i] = line[i] * f.weight[i];
    m[i] = Clip ? maximum(m[i], T(0)) : m[i];
  }
  const T sum = (m[0] + m[1]) + m[2];
  out.inverse_sum = 1 / sum;
  for (int i = 0; i < 3; ++i) out.bary[i] = m[i] * out.inverse_sum;
  out.below = (out.bary[0] * f.w[0] + out.bary[1] * f.w[1]) + out.bary[2] * f.w[2];
  out.z = maximum(((out.bary[0] * f.z[0] + out.bary[1] * f.z[1]) + out.bary[2] * f.z[2]) / out.below, T(-1));
  out.valid = (sum > 0) & (out.below > 0);
}

// ---- Gradients ------------------------------------------------------------------------------------------------

// The gradients of a face's values are summed over its pixels. These are the sums.
constexpr int edge_sums = 4 * max_edges;  // per edge: first end across and along it, second end likewise
constexpr int weight_sums = 15;           // m_i times (1, column, row); z_i; w_i
constexpr int all_sums = edge_sums + weight_sums;

// Converts the gradient of the unsigned squared distance to that of the ends of the nearest edge.
template <int Edges, class T, class Add>
LG_HD void distance_gradient(const Face<T>& f, T x, T y, const Place<T>& at, T grad, Add&& add) {
  // Q = A + t (B - A) is the nearest point, p - Q = line n + beyond u; d |p - Q|^2 / dA = -2 (1 - t) (p - Q).
  T left = -2 * grad;  // if several edges are nearest, only the first counts
  for (int e = 0; e < Edges; ++e) {
    const T s = f.ny[e] * x - f.nx[e] * y;
    const T beyond = overshoot(f, e, s);
    const T length = f.to[e] - f.from[e];
    const T within = minimum(maximum(s - f.from[e], T(0)), length);
    const T t = within / (length > 0 ? length : T(1));
    const T d = at.line[e] * at.line[e] + beyond * beyond;
    const T g = d == at.dist ? left : T(0);
    left = d == at.dist ? T(0) : left;
    add(4 * e, g * (1 - t) * at.line[e]);
    add(4 * e + 1, g * (1 - t) * beyond);
    add(4 * e + 2, g * t * at.line[e]);
    add(4 * e + 3, g * t * beyond);
  }
}

// Converts the gradients of bary, z and `below` to those of the unnormalised weights and of the vertices' z and w.
// column, row: of the pixel, relative to the anchor.
template <bool Clip, class T, class Add>
LG_HD void weight_gradient(const Face<T>& f, const T* line, const Weights<T>& at, T column, T row, const T grad_bary[3],
                           T grad_z, T grad_below, Add&& add) {
  const T through_z = at.z > -1 ? grad_z / at.below : T(0);
  const T through_w = grad_below - through_z * at.z;
  T g[3];
  for (int i = 0; i < 3; ++i) g[i] = grad_bary[i] + through_z * f.z[i] + through_w * f.w[i];
  const T mean = (g[0] * at.bary[0] + g[1] * at.bary[1]) + g[2] * at.bary[2];
  for (int i = 0; i < 3; ++i) {
    const bool free = !Clip || line[i] > 0;
    const T m = free ? (g[i] - mean) * at.inverse_sum : T(0);
    add(edge_sums + 3 * i, m);
    add(edge_sums + 3 * i + 1, m * column);
    add(edge_sums + 3 * i + 2, m * row);
    add(edge_sums + 9 + i, through_z * at.bary[i]);
    add(edge_sums + 12 + i, through_w * at.bary[i]);
  }
}

}  // namespace lg::soft
