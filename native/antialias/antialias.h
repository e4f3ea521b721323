// Where a silhouette edge crosses the line between two neighbouring pixel centres, and the gradient of that
// place with respect to the edge's vertices (Laine et al. 2020, section 3.5).
//
// Everything is homogeneous: a vertex is (x, y, w), an edge is the line a x b. Vertices behind the camera
// then need no special case beyond asking that w is positive at the crossing.
#pragma once

#include <cstdint>

#include "common/config.h"

namespace lg {

// Per-triangle flags made once a frame: bits 0-2 say which edges are silhouettes (edge k is opposite to
// corner k); bits 3 and 4 that the triangle faces the camera with positive or negative determinant.
constexpr uint8_t silhouette_edges = 7;
constexpr uint8_t facing_positive = 8;
constexpr uint8_t facing_negative = 16;

// Crossings may lie this far (in pixels) beyond the two centres, which snapping can cause.
constexpr double crossing_tolerance = 1.0 / 16;

template <class T>
LG_HD uint8_t facing_flag(const T* p0, const T* p1, const T* p2) {
  const double x0 = p0[0], y0 = p0[1], w0 = p0[3], x1 = p1[0], y1 = p1[1], w1 = p1[3];
  const double x2 = p2[0], y2 = p2[1], w2 = p2[3];
  const double det = w0 * (x1 * y2 - y1 * x2) + w1 * (x2 * y0 - y2 * x0) + w2 * (x0 * y1 - y0 * x1);
  return det > 0 ? facing_positive : (det < 0 ? facing_negative : 0);
}

// Whether edge k of triangle t is a silhouette: no other triangle of its cycle lies on its far side.
// facing: facing flags of all triangles of the view.
LG_HD bool is_silhouette(const int32_t* topology, const uint8_t* facing, int64_t t, int k) {
  const int64_t start = 3 * t + k;
  const uint8_t mine = facing[t] & (facing_positive | facing_negative);
  bool same_direction = true;
  for (int64_t h = start;;) {
    const int32_t entry = topology[h];
    same_direction = (entry & 1) ? same_direction : !same_direction;
    h = entry >> 1;
    if (h == start) return true;
    const uint8_t other = facing[h / 3] & (facing_positive | facing_negative);
    const bool equal = other == mine;
    if (other != 0 && equal != same_direction) return false;
  }
}

// A horizontal or vertical pair seen from the pixel whose triangle is in front.
struct PairView {
  double f_along, f_across;  // that pixel's centre in NDC, along and across the pair
  double scale_along, scale_across;  // pixels per NDC unit, positive
  double direction;  // from the pixel to the other one, in NDC: +1 or -1
  int along, across;  // 0 for x, 1 for y
};

LG_HD PairView make_pair_view(int64_t column, int64_t row, int64_t width, int64_t height, bool vertical,
                              bool towards_next) {
  const double fx = (2 * static_cast<double>(column) + 1) / static_cast<double>(width) - 1;
  const double fy = 1 - (2 * static_cast<double>(row) + 1) / static_cast<double>(height);
  const double half_w = static_cast<double>(width) / 2, half_h = static_cast<double>(height) / 2;
  // The next pixel is to the right (+x) or below (-y).
  if (vertical) return {fy, fx, half_h, half_w, towards_next ? -1.0 : 1.0, 1, 0};
  return {fx, fy, half_w, half_h, towards_next ? 1.0 : -1.0, 0, 1};
}

struct Crossing {
  int edge = -1;       // of the triangle in front; -1: none
  double distance = 0; // from its pixel's centre, in pixels, within [0, 1]
  bool clamped = false;
};

struct EdgeLine {
  double a_along, a_across, a_w, b_along, b_across, b_w;  // relative to the pixel's centre
  double l_along, l_across;                               // normal of the projected line
};

template <class T>
LG_HD EdgeLine make_edge_line(const T* a, const T* b, const PairView& view) {
  EdgeLine e;
  e.a_w = a[3];
  e.b_w = b[3];
  e.a_along = a[view.along] - view.f_along * e.a_w;
  e.a_across = a[view.across] - view.f_across * e.a_w;
  e.b_along = b[view.along] - view.f_along * e.b_w;
  e.b_across = b[view.across] - view.f_across * e.b_w;
  e.l_along = e.a_across * e.b_w - e.b_across * e.a_w;
  e.l_across = e.b_along * e.a_w - e.a_along * e.b_w;
  return e;
}

// Pixels from the centre to where the line meets the pair's axis, in the pair's direction.
LG_HD double crossing_distance(const EdgeLine& e, const PairView& view) {
  return view.direction * view.scale_along * ((e.a_across * e.b_along - e.a_along * e.b_across) / e.l_along);
}

// Whether the edge is one through which the triangle is left in the pair's direction, and steep enough.
LG_HD bool leaves_through(const EdgeLine& e, const PairView& view, bool faces_positive) {
  if ((e.a_across < 0) == (e.b_across < 0)) return false;
  const bool in_front = (e.l_along > 0) == (e.a_across > e.b_across) && e.l_along != 0;  // w > 0 there
  // In a mirrored frame (along = y) the orientation of the line and that of the direction both change sign.
  const double outward = (faces_positive ? -e.l_along : e.l_along) * view.direction *
                         (view.along == 0 ? 1 : -1);
  const double steep = (e.l_along < 0 ? -e.l_along : e.l_along) * view.scale_across;
  const double flat = (e.l_across < 0 ? -e.l_across : e.l_across) * view.scale_along;
  return in_front && outward > 0 && steep >= flat;
}

// The silhouette edge of the triangle p0, p1, p2 that lies between the two pixels of the pair.
template <class T>
LG_HD Crossing find_crossing(const T* const p[3], uint8_t flags, const PairView& view, bool unbounded) {
  Crossing best;
  for (int k = 0; k < 3; ++k) {
    if (!(flags & (1 << k))) continue;
    const EdgeLine e = make_edge_line(p[(k + 1) % 3], p[(k + 2) % 3], view);
    if (!leaves_through(e, view, (flags & facing_positive) != 0)) continue;
    const double d = crossing_distance(e, view);
    if (!unbounded && (d < -crossing_tolerance || d > 1 + crossing_tolerance)) continue;
    const double clamped = d < 0 ? 0 : (d > 1 ? 1 : d);
    if (best.edge < 0 || clamped < best.distance) best = {k, clamped, clamped != d};
  }
  return best;
}

// d crossing_distance / d (x, y, z, w) of the edge's two vertices.
template <class T>
LG_HD void crossing_gradients(const T* a, const T* b, const PairView& view, double grad_a[4], double grad_b[4]) {
  const EdgeLine e = make_edge_line(a, b, view);
  const double factor = view.direction * view.scale_along / e.l_along;
  const double q = (e.a_across * e.b_along - e.a_along * e.b_across) / e.l_along;
  const double a_along = -e.b_across * factor, b_along = e.a_across * factor;
  const double a_across = (e.b_along - q * e.b_w) * factor, b_across = (q * e.a_w - e.a_along) * factor;
  grad_a[view.along] = a_along;
  grad_a[view.across] = a_across;
  grad_b[view.along] = b_along;
  grad_b[view.across] = b_across;
  grad_a[2] = grad_b[2] = 0;
  grad_a[3] = q * e.b_across * factor - view.f_along * a_along - view.f_across * a_across;
  grad_b[3] = -q * e.a_across * factor - view.f_along * b_along - view.f_across * b_across;
}

}  // namespace lg
