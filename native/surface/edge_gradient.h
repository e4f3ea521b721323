// What the border between two neighbouring pixels does when the surfaces on either side move (Pidhorskyi et al.
// 2024). Everything is homogeneous and float64, whatever the tensors' type: it makes decisions.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// Pixels by which an intersection may move for each pixel that its surfaces do.
constexpr double fastest_intersection = 1e4;

// A triangle on the screen. Line k = p_i x p_j in (x, y, w) is opposite to corner k.
struct ScreenTriangle {
  double line[3][3], det, z[3];
};

template <class T>
LG_HD ScreenTriangle screen_triangle(const T* p0, const T* p1, const T* p2) {
  const T* p[3] = {p0, p1, p2};
  ScreenTriangle out;
  for (int k = 0; k < 3; ++k) {
    const T *a = p[(k + 1) % 3], *b = p[(k + 2) % 3];
    const double ax = a[0], ay = a[1], aw = a[3], bx = b[0], by = b[1], bw = b[3];
    out.line[k][0] = ay * bw - aw * by;
    out.line[k][1] = aw * bx - ax * bw;
    out.line[k][2] = ax * by - ay * bx;
    out.z[k] = p[k][2];
  }
  out.det = (p0[3] * out.line[0][2] + p1[3] * out.line[1][2]) + p2[3] * out.line[2][2];
  return out;
}

// Whether the place (x, y) in NDC lies strictly inside, in front of the eye and between the clip planes.
LG_HD bool covers(const ScreenTriangle& t, double x, double y) {
  const double sign = t.det > 0 ? 1 : (t.det < 0 ? -1 : 0);
  double depth = 0;
  bool inside = true;
  for (int k = 0; k < 3; ++k) {
    const double a = (t.line[k][0] * x + t.line[k][1] * y) + t.line[k][2];
    inside = inside && a * sign > 0;
    depth += t.z[k] * a;
  }
  depth /= t.det;
  return inside && depth <= 1 && depth >= -1;
}

// Depth by pixels to the right and down; zero where that is not finite.
LG_HD void depth_slope(const ScreenTriangle& t, double width, double height, double* slope) {
  double x = 0, y = 0;
  for (int k = 0; k < 3; ++k) {
    x += t.z[k] * t.line[k][0];
    y += t.z[k] * t.line[k][1];
  }
  slope[0] = x / t.det * (2 / width);
  slope[1] = y / t.det * (-2 / height);
  for (int i = 0; i < 2; ++i) slope[i] = slope[i] - slope[i] == 0 ? slope[i] : 0;
}

// Where the loss changes by `pull` for each pixel that the border moves towards the second pixel, along `axis`
// (0 right, 1 down), and the border is the intersection of the surfaces seen on either side: the gradients of
// (right, down, depth) of the two points seen.
LG_HD bool intersection_gradient(const double* slope_a, const double* slope_b, int axis, double pull, double* a,
                                 double* b) {
  const auto magnitude = [](double v) { return v < 0 ? -v : v; };
  const double steepness =
      (magnitude(slope_a[0]) + magnitude(slope_a[1])) + (magnitude(slope_b[0]) + magnitude(slope_b[1]));
  double closing = slope_a[axis] - slope_b[axis];
  const double least = steepness / fastest_intersection;
  closing = closing < least ? least : closing;
  if (!(closing > 0) || !(closing - closing == 0)) return false;
  const double rise = pull / closing;
  a[0] = rise * slope_a[0], a[1] = rise * slope_a[1], a[2] = -rise;
  b[0] = -rise * slope_b[0], b[1] = -rise * slope_b[1], b[2] = rise;
  return true;
}

// The gradient of a surface point's motion (pixels right, pixels down, depth) as one of its clip position.
// False where it is not in front of the eye.
LG_HD bool motion_to_clip(const double* motion, double x, double y, double z, double w, double width, double height,
                          double* clip) {
  if (!(w > 0) || !((x - x) + (y - y) + (z - z) + (w - w) == 0)) return false;
  clip[0] = motion[0] * (0.5 * width) / w;
  clip[1] = -motion[1] * (0.5 * height) / w;
  clip[2] = motion[2] / w;
  clip[3] = -((clip[0] * x + clip[1] * y) + clip[2] * z) / w;
  return true;
}

// What is seen at one of two neighbouring pixels.
struct BorderSide {
  double x, y;   // NDC of the pixel's centre
  bool surface;  // else the background
  ScreenTriangle triangle;
};

LG_HD void pixel_centre(int64_t column, int64_t row, double width, double height, BorderSide* side) {
  side->x = (2.0 * static_cast<double>(column) + 1) / width - 1;
  side->y = 1 - (2.0 * static_cast<double>(row) + 1) / height;
}

// Where the loss changes by `pull` for each pixel that the border between two pixels moves towards the second, along
// `axis`: the gradients of the motions of the points seen at either. Returns which of them move, as bits: 1 the first
// one, 2 the second.
LG_HD int border_motion(const BorderSide& a, const BorderSide& b, int axis, double pull, double width, double height,
                        double motion[2][3]) {
  const bool a_covers = a.surface && covers(a.triangle, b.x, b.y);
  const bool b_covers = b.surface && covers(b.triangle, a.x, a.y);
  if (a_covers && b_covers) {
    double slope_a[2], slope_b[2];
    depth_slope(a.triangle, width, height, slope_a);
    depth_slope(b.triangle, width, height, slope_b);
    return intersection_gradient(slope_a, slope_b, axis, pull, motion[0], motion[1]) ? 3 : 0;
  }
  const int moves = a.surface && (!b.surface || b_covers) ? 1 : b.surface && (!a.surface || a_covers) ? 2 : 0;
  for (int k = 0; k < 2; ++k) {
    motion[k][axis] = pull;
    motion[k][1 - axis] = motion[k][2] = 0;
  }
  return moves;
}

// How the loss changes when the border between two pixels, `step` apart, moves by one pixel towards the second.
template <class T>
LG_HD double border_pull(const T* color, const T* grad, int64_t first, int64_t step, int64_t channels) {
  T sum = 0;
  for (int64_t c = first * channels; c < (first + 1) * channels; ++c) {
    const T jump = T(0.5) * (color[c] - color[c + step * channels]);
    if (jump - jump == 0) sum += jump * (grad[c] + grad[c + step * channels]);
  }
  return sum - sum == 0 ? sum : 0;
}

// From the gradient of the motion of the point (u, v) of a triangle to that of its corners' clip positions. False
// where there is none.
template <class T>
LG_HD bool motion_to_corners(const double* motion, double u, double v, const T* p0, const T* p1, const T* p2,
                             double width, double height, T out[12]) {
  const double weight[3] = {u, v, 1 - u - v};
  const T* corner[3] = {p0, p1, p2};
  double point[4] = {0, 0, 0, 0}, clip[4];
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 3; ++k) point[i] += weight[k] * static_cast<double>(corner[k][i]);
  }
  if (!motion_to_clip(motion, point[0], point[1], point[2], point[3], width, height, clip)) return false;
  for (int i = 0; i < 12; ++i) out[i] = static_cast<T>(weight[i / 4] * clip[i % 4]);
  return true;
}

}  // namespace lg::surface
