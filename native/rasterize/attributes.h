// Barycentrics, depth and their screen-space derivatives at a visible pixel, and the way back.
//
// Homogeneous rasterization (Olano and Greer 1997): with p' = (x - fx w, y - fy w) at the pixel's NDC
// position f, the cross products a0 = p1' x p2', a1 = p2' x p0', a2 = p0' x p1' are affine in f and
// proportional to the perspective-correct barycentrics, whatever the signs of w. So a triangle is three
// planes over the image. They are set up in float64 around an anchor pixel near the pixels that use them
// and divided by the determinant of the (x, y, w) rows, after which
//   u = a0 / S, v = a1 / S, S = a0 + a1 + a2 = 1/w at the pixel, depth = z0 a0 + z1 a1 + z2 a2.
#pragma once

#include <cstdint>

#include "common/config.h"

namespace lg {

// Values at the anchor pixel and steps per pixel (columns rightwards, rows downwards).
template <class T>
struct Planes {
  T at[3], dx[3], dy[3];
  T depth_at, depth_dx, depth_dy;
  int32_t anchor_x, anchor_y;
};

// The float64 geometry behind the planes of one triangle.
struct TriangleFrame {
  double x[3], y[3], z[3], w[3];  // x, y relative to the anchor: x' = x - fx w
  double fx, fy, sx, sy;          // the anchor in NDC, and NDC per pixel
  double at[3], dx[3], dy[3];     // the planes before division by det
  double inverse_det;             // zero for a triangle seen edge-on
};

template <class T>
LG_HD TriangleFrame make_frame(const T* p0, const T* p1, const T* p2, int32_t column, int32_t row, int64_t width,
                               int64_t height) {
  TriangleFrame f;
  f.sx = 2.0 / static_cast<double>(width);
  f.sy = -2.0 / static_cast<double>(height);
  f.fx = (2 * column + 1) / static_cast<double>(width) - 1;
  f.fy = 1 - (2 * row + 1) / static_cast<double>(height);
  const T* p[3] = {p0, p1, p2};
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
  const double det = f.w[0] * f.at[0] + f.w[1] * f.at[1] + f.w[2] * f.at[2];
  const double inverse = 1 / det;
  f.inverse_det = det != 0 && inverse - inverse == 0 ? inverse : 0;
  return f;
}

template <class T>
LG_HD Planes<T> make_planes(const TriangleFrame& f, int32_t column, int32_t row) {
  Planes<T> planes;
  double depth_at = 0, depth_dx = 0, depth_dy = 0;
  for (int i = 0; i < 3; ++i) {
    const double at = f.at[i] * f.inverse_det, dx = f.dx[i] * f.inverse_det, dy = f.dy[i] * f.inverse_det;
    planes.at[i] = static_cast<T>(at);
    planes.dx[i] = static_cast<T>(dx);
    planes.dy[i] = static_cast<T>(dy);
    depth_at += f.z[i] * at;
    depth_dx += f.z[i] * dx;
    depth_dy += f.z[i] * dy;
  }
  planes.depth_at = static_cast<T>(depth_at);
  planes.depth_dx = static_cast<T>(depth_dx);
  planes.depth_dy = static_cast<T>(depth_dy);
  planes.anchor_x = column;
  planes.anchor_y = row;
  return planes;
}

// What the planes say at (x, y) pixels from the anchor, before any clamping.
template <class T>
struct PixelPlanes {
  T u, v, inverse_s, depth;
  T sum_dx, sum_dy;  // of the three planes: the steps of S
};

template <class T>
LG_HD PixelPlanes<T> evaluate(const Planes<T>& p, T x, T y) {
  const T a0 = (p.at[0] + p.dx[0] * x) + p.dy[0] * y;
  const T a1 = (p.at[1] + p.dx[1] * x) + p.dy[1] * y;
  const T a2 = (p.at[2] + p.dx[2] * x) + p.dy[2] * y;
  const T s = (a0 + a1) + a2;
  PixelPlanes<T> pixel;
  pixel.inverse_s = s != 0 ? 1 / s : T(0);
  pixel.u = a0 * pixel.inverse_s;
  pixel.v = a1 * pixel.inverse_s;
  pixel.depth = (p.depth_at + p.depth_dx * x) + p.depth_dy * y;
  pixel.sum_dx = (p.dx[0] + p.dx[1]) + p.dx[2];
  pixel.sum_dy = (p.dy[0] + p.dy[1]) + p.dy[2];
  return pixel;
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
  out[0] = (p.dx[0] - pixel.u * pixel.sum_dx) * pixel.inverse_s;
  out[1] = (p.dy[0] - pixel.u * pixel.sum_dy) * pixel.inverse_s;
  out[2] = (p.dx[1] - pixel.v * pixel.sum_dx) * pixel.inverse_s;
  out[3] = (p.dy[1] - pixel.v * pixel.sum_dy) * pixel.inverse_s;
}

// Gradients of a loss with respect to the planes, summed over the pixels of a triangle.
template <class T>
struct PlaneGradients {
  T at[3], dx[3], dy[3];
  T depth_at, depth_dx, depth_dy;
};

// The gradients that reach the unclamped u, v and depth from those of the clamped ones. Where a clamp is
// active its input has no influence: exactly zero.
template <class T>
LG_HD void unclamp_gradients(const PixelPlanes<T>& pixel, T* grad_u, T* grad_v, T* grad_depth) {
  const T u = clamp(pixel.u, T(0), T(1));
  const bool v_below = pixel.v < 0, v_above = pixel.v > 1 - u;
  if (v_above) *grad_u -= *grad_v;  // v = 1 - u there
  if (v_below || v_above) *grad_v = 0;
  if (pixel.u < 0 || pixel.u > 1) *grad_u = 0;
  if (pixel.depth < -1 || pixel.depth > 1) *grad_depth = 0;
}

// Gradient of one pixel at (x, y) from the anchor with respect to the planes' values there (a0, a1, a2)
// and, through the derivatives, to their steps. grad_d: gradients of derivatives(), or null.
template <class T>
LG_HD void pixel_gradients(const Planes<T>& p, const PixelPlanes<T>& pixel, T grad_u, T grad_v, const T* grad_d,
                           T grad_a[3], T grad_dx[3], T grad_dy[3]) {
  T shared = 0;  // d loss / d S, from everything that is divided by S
  for (int i = 0; i < 3; ++i) grad_dx[i] = grad_dy[i] = 0;
  if (grad_d) {
    T d[4];
    derivatives(p, pixel, d);
    const T is = pixel.inverse_s;
    shared -= (grad_d[0] * d[0] + grad_d[1] * d[1] + grad_d[2] * d[2] + grad_d[3] * d[3]) * is;
    grad_u -= (grad_d[0] * pixel.sum_dx + grad_d[1] * pixel.sum_dy) * is;
    grad_v -= (grad_d[2] * pixel.sum_dx + grad_d[3] * pixel.sum_dy) * is;
    const T through_x = (grad_d[0] * pixel.u + grad_d[2] * pixel.v) * is;
    const T through_y = (grad_d[1] * pixel.u + grad_d[3] * pixel.v) * is;
    grad_dx[0] = grad_d[0] * is - through_x;
    grad_dx[1] = grad_d[2] * is - through_x;
    grad_dx[2] = -through_x;
    grad_dy[0] = grad_d[1] * is - through_y;
    grad_dy[1] = grad_d[3] * is - through_y;
    grad_dy[2] = -through_y;
  }
  shared -= (grad_u * pixel.u + grad_v * pixel.v) * pixel.inverse_s;
  grad_a[0] = grad_u * pixel.inverse_s + shared;
  grad_a[1] = grad_v * pixel.inverse_s + shared;
  grad_a[2] = shared;
}

// From the gradients of the planes to those of the three vertices: out[3][4] = d loss / d (x, y, z, w).
template <class T, class Out>
LG_HD void vertex_gradients(const TriangleFrame& f, const PlaneGradients<T>& g, Out out[3][4]) {
  const double inv = f.inverse_det;
  double gx[3] = {0, 0, 0}, gy[3] = {0, 0, 0}, gz[3], gw[3] = {0, 0, 0};
  // Depth is the only quantity that feels the common factor 1/det.
  double depth_grad = 0;
  for (int i = 0; i < 3; ++i) {
    gz[i] = (g.depth_at * f.at[i] + g.depth_dx * f.dx[i] + g.depth_dy * f.dy[i]) * inv;
    depth_grad += f.z[i] * gz[i];
  }
  const double grad_det = -depth_grad * inv;
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    const double at = (g.at[i] + f.z[i] * g.depth_at) * inv + grad_det * f.w[i];
    const double dx = (g.dx[i] + f.z[i] * g.depth_dx) * inv * f.sx;
    const double dy = (g.dy[i] + f.z[i] * g.depth_dy) * inv * f.sy;
    gw[i] += grad_det * f.at[i];
    // at = x_j y_k - y_j x_k,  dx / sx = y_j w_k - w_j y_k,  dy / sy = w_j x_k - x_j w_k
    gx[j] += at * f.y[k] - dy * f.w[k];
    gy[j] += dx * f.w[k] - at * f.x[k];
    gw[j] += dy * f.x[k] - dx * f.y[k];
    gx[k] += dy * f.w[j] - at * f.y[j];
    gy[k] += at * f.x[j] - dx * f.w[j];
    gw[k] += dx * f.y[j] - dy * f.x[j];
  }
  for (int i = 0; i < 3; ++i) {
    out[i][0] = static_cast<Out>(gx[i]);
    out[i][1] = static_cast<Out>(gy[i]);
    out[i][2] = static_cast<Out>(gz[i]);
    out[i][3] = static_cast<Out>(gw[i] - f.fx * gx[i] - f.fy * gy[i]);
  }
}

}  // namespace lg
