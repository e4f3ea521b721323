// How the border between two neighbouring pixels moves with the surfaces on either side (Pidhorskyi et al. 2024), and
// the resulting gradient of positions. Geometry is homogeneous and float64, whatever the tensors' type, because it
// decides what is visible.
#pragma once

#include <cstdint>

#include "parallel/corner_gradients.h"
#include "runtime/config.h"
#include "surface/surface_image.h"

namespace lg::surface {

// The most pixels by which an intersection may move when its surfaces move by one pixel.
constexpr double fastest_intersection = 1e4;

// A triangle on the screen. Line k = p_i x p_j in (x, y, w) is opposite corner k.
struct ScreenTriangle {
  double line[3][3], det, z[3];
};

// Filled in place: returning the struct would have to wait for its parts to be stored.
template <class T>
LG_HD void make_screen_triangle(const T* const (&p)[3], ScreenTriangle& out) {
  for (int k = 0; k < 3; ++k) {
    const T *a = p[(k + 1) % 3], *b = p[(k + 2) % 3];
    const double ax = a[0], ay = a[1], aw = a[3], bx = b[0], by = b[1], bw = b[3];
    out.line[k][0] = ay * bw - aw * by;
    out.line[k][1] = aw * bx - ax * bw;
    out.line[k][2] = ax * by - ay * bx;
    out.z[k] = p[k][2];
  }
  out.det = (p[0][3] * out.line[0][2] + p[1][3] * out.line[1][2]) + p[2][3] * out.line[2][2];
}

// Proportional to the weight of corner k at the point (x, y) in NDC.
LG_HD double edge_value(const ScreenTriangle& t, int k, double x, double y) {
  return (t.line[k][0] * x + t.line[k][1] * y) + t.line[k][2];
}

LG_HD double depth_at(const ScreenTriangle& t, double x, double y) {
  double depth = 0;
  for (int k = 0; k < 3; ++k) depth += t.z[k] * edge_value(t, k, x, y);
  return depth / t.det;
}

// Whether the point (x, y) in NDC lies strictly inside, in front of the eye and between the clip planes.
LG_HD bool covers(const ScreenTriangle& t, double x, double y) {
  const double sign = t.det > 0 ? 1 : (t.det < 0 ? -1 : 0);
  bool inside = true;
  for (int k = 0; k < 3; ++k) inside = inside && edge_value(t, k, x, y) * sign > 0;
  const double depth = depth_at(t, x, y);
  return inside && depth <= 1 && depth >= -1;
}

// Depth per pixel to the right and down; zero if not finite.
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

// The gradients of the motions (right, down, depth) of the points seen at two neighbouring pixels, if the border
// between them is the intersection of their surfaces. pull: the change of the loss per pixel that the border moves
// towards the second pixel along `axis` (0 right, 1 down).
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

// Converts the gradient of a surface point's motion (pixels right, pixels down, depth) to that of its clip position.
// False if the point is not in front of the eye.
LG_HD bool motion_to_clip(const double* motion, double x, double y, double z, double w, double width, double height,
                          double* clip) {
  if (!(w > 0) || !((x - x) + (y - y) + (z - z) + (w - w) == 0)) return false;
  clip[0] = motion[0] * (0.5 * width) / w;
  clip[1] = -motion[1] * (0.5 * height) / w;
  clip[2] = motion[2] / w;
  clip[3] = -((clip[0] * x + clip[1] * y) + clip[2] * z) / w;
  return true;
}

// What is visible at one of two neighbouring pixels.
struct BorderSide {
  double x, y;   // NDC of the pixel's centre
  bool surface;  // otherwise the background
  ScreenTriangle triangle;
};

// Whether a surface continues at the other pixel of a pair. It does not if it is nearer than what is visible there: it
// then ends before that pixel's centre, by less than the rasterizer's rounding of positions.
LG_HD bool goes_on(const BorderSide& here, const BorderSide& there) {
  if (!here.surface || !covers(here.triangle, there.x, there.y)) return false;
  return !there.surface || !(depth_at(here.triangle, there.x, there.y) < depth_at(there.triangle, there.x, there.y));
}

// The gradients of the motions of the points visible at two neighbouring pixels, with `pull` and `axis` as above.
// Returns which of the two move, as bits: 1 the first, 2 the second.
LG_HD int border_motion(const BorderSide& a, const BorderSide& b, int axis, double pull, double width, double height,
                        double motion[2][3]) {
  const bool a_covers = goes_on(a, b), b_covers = goes_on(b, a);
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

// The change of the loss when the border between two pixels, `step` apart, moves by one pixel towards the second.
template <class T>
LG_HD double border_pull(const T* color, const T* grad, int64_t first, int64_t step, int64_t channels) {
  T sum = 0;
  for (int64_t c = first * channels; c < (first + 1) * channels; ++c) {
    const T jump = T(0.5) * (color[c] - color[c + step * channels]);
    if (jump - jump == 0) sum += jump * (grad[c] + grad[c + step * channels]);
  }
  return sum - sum == 0 ? sum : 0;
}

// Converts the gradient of the motion of the point (u, v) of a triangle to that of its corners' clip positions. False
// if there is none.
template <class T>
LG_HD bool motion_to_corners(const double* motion, double u, double v, const T* const (&corner)[3], double width,
                             double height, T (&out)[12]) {
  const double weight[3] = {u, v, 1 - u - v};
  double point[4] = {0, 0, 0, 0}, clip[4];
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 3; ++k) point[i] += weight[k] * static_cast<double>(corner[k][i]);
  }
  if (!motion_to_clip(motion, point[0], point[1], point[2], point[3], width, height, clip)) return false;
  for (int i = 0; i < 12; ++i) out[i] = static_cast<T>(weight[i / 4] * clip[i % 4]);
  return true;
}

// The gradient of positions: the body of corner_gradients.h. Each pixel handles the borders to its right and below it.
template <class T>
struct EdgeGradient {
  static constexpr int64_t gives = 4;

  SurfaceImage<T> s;
  const T* bary;

  template <class Give>
  LG_HD void operator()(const ImagePixel& at, const Give& give) const {
    const int64_t first = s.image.pixel(at.view, at.row, at.column);
    for (int axis = 0; axis < 2; ++axis) {
      const bool exists = axis == 0 ? at.column + 1 < s.image.width : at.row + 1 < s.image.height;
      const bool differs = at.inside && exists && differ(first, first + step(axis));
      if (give.any(differs)) handle_border(at, axis, differs, give);
    }
  }

 private:
  struct Seen {
    int32_t triangle;
    const T* corner[3];
    BorderSide side;
  };

  LG_HD double width() const { return static_cast<double>(s.image.width); }
  LG_HD double height() const { return static_cast<double>(s.image.height); }

  LG_HD int64_t step(int axis) const { return axis == 0 ? 1 : s.image.width; }

  LG_HD bool differ(int64_t first, int64_t second) const {
    const int32_t a = s.frag_tri[first], b = s.frag_tri[second];
    return a != b && (a >= 0 || b >= 0);
  }

  // The border between a pixel and the next one along the axis.
  template <class Give>
  LG_HD void handle_border(const ImagePixel& at, int axis, bool exists, const Give& give) const {
    const int64_t first = s.image.pixel(at.view, at.row, at.column), second = first + step(axis);
    const double pull = exists ? border_pull(s.color, s.grad, first, step(axis), s.channels) : 0;
    if (!give.any(pull != 0)) return;
    Seen a, b;
    double motion[2][3];
    int moves = 0;
    if (pull != 0) {
      look_at(at.view, at.row, at.column, &a);
      look_at(at.view, at.row + axis, at.column + 1 - axis, &b);
      moves = border_motion(a.side, b.side, axis, pull, width(), height(), motion);
    }
    give_motion(at.view, first, a, (moves & 1) != 0, motion[0], give);
    give_motion(at.view, second, b, (moves & 2) != 0, motion[1], give);
  }

  LG_HD void look_at(int64_t view, int64_t row, int64_t column, Seen* out) const {
    out->triangle = s.frag_tri[s.image.pixel(view, row, column)];
    out->side.x = (2.0 * static_cast<double>(column) + 1) / width() - 1;
    out->side.y = 1 - (2.0 * static_cast<double>(row) + 1) / height();
    out->side.surface = s.corners(view, out->triangle, out->corner);
    if (out->side.surface) {
      make_screen_triangle(out->corner, out->side.triangle);
    } else {
      out->side.triangle = {};
    }
  }

  // Passes the gradient of the motion of the point visible at a pixel to the triangle's three vertices.
  template <class Give>
  LG_HD void give_motion(int64_t view, int64_t pixel, const Seen& seen, bool moves, const double* motion,
                         const Give& give) const {
    T value[12] = {};
    moves =
        moves && motion_to_corners(motion, bary[2 * pixel], bary[2 * pixel + 1], seen.corner, width(), height(), value);
    give(view, moves ? seen.triangle : -1, value);
  }
};

}  // namespace lg::surface
