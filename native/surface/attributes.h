// Barycentrics, depth and their screen-space derivatives at a visible pixel, and the way back.
//
// Homogeneous rasterization (Olano and Greer 1997): with p' = (x - fx w, y - fy w) at the pixel's NDC
// position f, the cross products a0 = p1' x p2', a1 = p2' x p0', a2 = p0' x p1' are affine in f and
// proportional to the perspective-correct barycentrics, whatever the signs of w. A triangle is therefore three planes
// over the image. They are set up in float64 around an anchor pixel near the pixels that use them and divided by the
// determinant of the (x, y, w) rows, after which
//   u = a0 / S, v = a1 / S, S = a0 + a1 + a2 = 1/w at the pixel, depth = z0 a0 + z1 a1 + z2 a2.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::surface {

// Four quantities that are affine over the image: a0, a1, a2 and depth. Values at the anchor pixel and steps
// per pixel (columns rightwards, rows downwards). Four of a kind fill one vector register.
template <class T>
struct Planes {
  T at[4], dx[4], dy[4];
  int32_t anchor_x, anchor_y;
};

// V is double, or lanes of it.
template <class V>
LG_HD V zero_unless_finite(const V& condition, const V& value) {
  return only(condition - condition == 0.0, value);
}

// The float64 geometry behind the planes of one triangle, or of several if V is lanes of doubles.
template <class V>
struct TriangleFrame {
  V x[3], y[3], z[3], w[3];  // x, y relative to the anchor: x' = x - fx w
  V fx, fy;                  // the anchor in NDC
  double sx, sy;             // NDC per pixel
  V at[3], dx[3], dy[3];     // the planes of a0, a1, a2 before division by det
  V inverse_det;             // zero for a triangle seen edge-on
};

// p[corner][x, y, z, w]; f.fx, f.fy, f.sx and f.sy must be set.
template <class V>
LG_HD void make_frame(const V p[3][4], TriangleFrame<V>& f) {
  for (int i = 0; i < 3; ++i) {
    f.w[i] = p[i][3];
    f.z[i] = p[i][2];
    f.x[i] = p[i][0] - f.fx * f.w[i];
    f.y[i] = p[i][1] - f.fy * f.w[i];
  }
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    f.at[i] = f.x[j] * f.y[k] - f.y[j] * f.x[k];
    f.dx[i] = f.sx * (f.y[j] * f.w[k] - f.w[j] * f.y[k]);
    f.dy[i] = f.sy * (f.w[j] * f.x[k] - f.x[j] * f.w[k]);
  }
  const V det = f.w[0] * f.at[0] + f.w[1] * f.at[1] + f.w[2] * f.at[2];
  // Zero, overflow or underflow: no plane, no gradient.
  const V inverse = 1.0 / det, usable = det + inverse;
  f.inverse_det = zero_unless_finite(usable, inverse);
  for (int i = 0; i < 3; ++i) {
    f.x[i] = zero_unless_finite(usable, f.x[i]);
    f.y[i] = zero_unless_finite(usable, f.y[i]);
    f.z[i] = zero_unless_finite(usable, f.z[i]);
    f.w[i] = zero_unless_finite(usable, f.w[i]);
    f.at[i] = zero_unless_finite(usable, f.at[i]);
    f.dx[i] = zero_unless_finite(usable, f.dx[i]);
    f.dy[i] = zero_unless_finite(usable, f.dy[i]);
  }
}

// The same, anchored at the centre of pixel (column, row).
template <class V>
LG_HD void make_frame(const V p[3][4], const V& column, const V& row, int64_t width, int64_t height,
                      TriangleFrame<V>& f) {
  f.sx = 2.0 / static_cast<double>(width);
  f.sy = -2.0 / static_cast<double>(height);
  f.fx = (2.0 * column + 1.0) / static_cast<double>(width) - 1.0;
  f.fy = 1.0 - (2.0 * row + 1.0) / static_cast<double>(height);
  make_frame(p, f);
}

// The four planes: a0, a1, a2 divided by det, and depth.
template <class V>
struct PlaneValues {
  V at[4], dx[4], dy[4];
};

template <class V>
LG_HD void make_planes(const TriangleFrame<V>& f, PlaneValues<V>& planes) {
  for (int i = 0; i < 3; ++i) {
    planes.at[i] = f.at[i] * f.inverse_det;
    planes.dx[i] = f.dx[i] * f.inverse_det;
    planes.dy[i] = f.dy[i] * f.inverse_det;
  }
  planes.at[3] = f.z[0] * planes.at[0] + f.z[1] * planes.at[1] + f.z[2] * planes.at[2];
  planes.dx[3] = f.z[0] * planes.dx[0] + f.z[1] * planes.dx[1] + f.z[2] * planes.dx[2];
  planes.dy[3] = f.z[0] * planes.dy[0] + f.z[1] * planes.dy[1] + f.z[2] * planes.dy[2];
}

// The planes' values at one pixel, before any clamping.
template <class T>
struct PixelPlanes {
  T u, v, inverse_s, depth;
};

// From the four planes' values at the pixel.
template <class T>
LG_HD PixelPlanes<T> project(const T a[4]) {
  const T s = (a[0] + a[1]) + a[2];
  const T inverse_s = s != 0 ? 1 / s : T(0);
  return {a[0] * inverse_s, a[1] * inverse_s, inverse_s, a[3]};
}

// The four planes at (x, y) pixels from the anchor.
template <class T>
LG_HD void plane_values(const Planes<T>& p, T x, T y, T out[4]) {
  for (int k = 0; k < 4; ++k) out[k] = (p.at[k] + p.dy[k] * y) + p.dx[k] * x;
}

template <class T>
LG_HD PixelPlanes<T> evaluate(const Planes<T>& p, T x, T y) {
  T a[4];
  plane_values(p, x, y, a);
  return project(a);
}

template <class T>
LG_HD T clamp(T value, T low, T high) {
  return value < low ? low : (value > high ? high : value);
}

// Outputs of a visible pixel. u = clamp(u, 0, 1), v = clamp(v, 0, 1 - u), depth = clamp(depth, -1, 1).
template <class T>
struct PixelAttributes {
  T u, v, depth;
};

template <class T>
LG_HD PixelAttributes<T> clamp_attributes(const PixelPlanes<T>& pixel) {
  PixelAttributes<T> out;
  out.u = clamp(pixel.u, T(0), T(1));
  out.v = clamp(pixel.v, T(0), 1 - out.u);
  out.depth = clamp(pixel.depth, T(-1), T(1));
  return out;
}

// d(u, v)/d(X, Y) from the quotient rule, of the unclamped u and v: du/dX, du/dY, dv/dX, dv/dY.
template <class T>
LG_HD void derivatives(const Planes<T>& p, const PixelPlanes<T>& pixel, T out[4]) {
  const T sum_dx = (p.dx[0] + p.dx[1]) + p.dx[2], sum_dy = (p.dy[0] + p.dy[1]) + p.dy[2];
  out[0] = (p.dx[0] - pixel.u * sum_dx) * pixel.inverse_s;
  out[1] = (p.dy[0] - pixel.u * sum_dy) * pixel.inverse_s;
  out[2] = (p.dx[1] - pixel.v * sum_dx) * pixel.inverse_s;
  out[3] = (p.dy[1] - pixel.v * sum_dy) * pixel.inverse_s;
}

// Converts the gradients of the clamped u, v and depth to those of the unclamped ones. An active clamp makes its input
// irrelevant: its gradient is exactly zero.
template <class T>
LG_HD void unclamp_gradients(const PixelPlanes<T>& pixel, T* grad_u, T* grad_v, T* grad_depth) {
  const T u = clamp(pixel.u, T(0), T(1));
  const bool v_below = pixel.v < 0, v_above = pixel.v > 1 - u;
  *grad_u -= v_above ? *grad_v : T(0);  // v = 1 - u there
  *grad_v = (v_below | v_above) ? T(0) : *grad_v;
  *grad_u = ((pixel.u < 0) | (pixel.u > 1)) ? T(0) : *grad_u;
  *grad_depth = ((pixel.depth < -1) | (pixel.depth > 1)) ? T(0) : *grad_depth;
}

// Converts the gradients of the unclamped u and v to those of a0, a1, a2. `shared` is the gradient of S from elsewhere.
template <class T>
LG_HD void project_gradients(const PixelPlanes<T>& pixel, T grad_u, T grad_v, T shared, T grad_a[3]) {
  shared -= (grad_u * pixel.u + grad_v * pixel.v) * pixel.inverse_s;
  grad_a[0] = grad_u * pixel.inverse_s + shared;
  grad_a[1] = grad_v * pixel.inverse_s + shared;
  grad_a[2] = shared;
}

// Converts grad_d, the gradients of derivatives(), to those of the planes' steps. The contributions to the gradients of
// u, v and S go to `grad_u`, `grad_v` and `shared`.
template <class T>
LG_HD void derivative_gradients(const Planes<T>& p, const PixelPlanes<T>& pixel, const T* grad_d, T* grad_u, T* grad_v,
                                T* shared, T grad_dx[3], T grad_dy[3]) {
  T d[4];
  derivatives(p, pixel, d);
  const T is = pixel.inverse_s;
  const T sum_dx = (p.dx[0] + p.dx[1]) + p.dx[2], sum_dy = (p.dy[0] + p.dy[1]) + p.dy[2];
  *shared -= (grad_d[0] * d[0] + grad_d[1] * d[1] + grad_d[2] * d[2] + grad_d[3] * d[3]) * is;
  *grad_u -= (grad_d[0] * sum_dx + grad_d[1] * sum_dy) * is;
  *grad_v -= (grad_d[2] * sum_dx + grad_d[3] * sum_dy) * is;
  const T through_x = (grad_d[0] * pixel.u + grad_d[2] * pixel.v) * is;
  const T through_y = (grad_d[1] * pixel.u + grad_d[3] * pixel.v) * is;
  grad_dx[0] = grad_d[0] * is - through_x;
  grad_dx[1] = grad_d[2] * is - through_x;
  grad_dx[2] = -through_x;
  grad_dy[0] = grad_d[1] * is - through_y;
  grad_dy[1] = grad_d[3] * is - through_y;
  grad_dy[2] = -through_y;
}

// Converts the gradients of the four planes, summed over a triangle's pixels, to those of its vertices: out[3][4] = d
// loss / d (x, y, z, w).
template <class V>
LG_HD void vertex_gradients(const TriangleFrame<V>& f, const PlaneValues<V>& g, V out[3][4]) {
  const V inv = f.inverse_det;
  V gx[3], gy[3], gz[3], gw[3];
  for (int i = 0; i < 3; ++i) gz[i] = (g.at[3] * f.at[i] + g.dx[3] * f.dx[i] + g.dy[3] * f.dy[i]) * inv;
  // Only depth depends on the common factor 1/det.
  const V grad_det = -(f.z[0] * gz[0] + f.z[1] * gz[1] + f.z[2] * gz[2]) * inv;
  for (int i = 0; i < 3; ++i) {
    gx[i] = gy[i] = 0.0 * inv;
    gw[i] = grad_det * f.at[i];
  }
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    const V at = (g.at[i] + f.z[i] * g.at[3]) * inv + grad_det * f.w[i];
    const V dx = (g.dx[i] + f.z[i] * g.dx[3]) * inv * f.sx;
    const V dy = (g.dy[i] + f.z[i] * g.dy[3]) * inv * f.sy;
    // at = x_j y_k - y_j x_k,  dx / sx = y_j w_k - w_j y_k,  dy / sy = w_j x_k - x_j w_k
    gx[j] += at * f.y[k] - dy * f.w[k];
    gy[j] += dx * f.w[k] - at * f.x[k];
    gw[j] += dy * f.x[k] - dx * f.y[k];
    gx[k] += dy * f.w[j] - at * f.y[j];
    gy[k] += at * f.x[j] - dx * f.w[j];
    gw[k] += dx * f.y[j] - dy * f.x[j];
  }
  for (int i = 0; i < 3; ++i) {
    out[i][0] = gx[i];
    out[i][1] = gy[i];
    out[i][2] = gz[i];
    out[i][3] = gw[i] - f.fx * gx[i] - f.fy * gy[i];
  }
}

}  // namespace lg::surface
