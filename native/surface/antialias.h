// Where a silhouette edge crosses the line between two neighbouring pixel centres, and the gradient of that
// place with respect to the edge's vertices (Laine et al. 2020, section 3.5).
//
// The triangle seen at a pixel often ends before the outline of its surface does: near a rim triangles are
// thinner than a pixel. So the search walks from it along the surface, triangle by triangle, until it meets
// a silhouette edge, the other pixel, or its triangle.
//
// Everything is homogeneous: a vertex is (x, y, w), an edge is the line a x b. Vertices behind the camera
// then need no special case beyond asking that w is positive at the crossing.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg {

// Per-triangle flags made once a frame: bits 0-2 say which edges are silhouettes (edge k is opposite to
// corner k); bits 3 and 4 that the triangle faces the camera with positive or negative determinant.
constexpr uint8_t silhouette_edges = 7;
constexpr uint8_t facing_positive = 8;
constexpr uint8_t facing_negative = 16;

// Crossings may lie this far (in pixels) beyond the two centres, which snapping can cause.
constexpr double crossing_tolerance = 1.0 / 16;

// From the clip positions of the three corners.
LG_HD uint8_t facing_flag(double x0, double y0, double z0, double w0, double x1, double y1, double z1, double w1,
                          double x2, double y2, double z2, double w2) {
  const double det = w0 * (x1 * y2 - y1 * x2) + w1 * (x2 * y0 - y2 * x0) + w2 * (x0 * y1 - y0 * x1);
  const bool finite = (det - det) + 0.0 * (z0 + z1 + z2) == 0;  // else not drawn
  return !finite ? 0 : (det > 0 ? facing_positive : (det < 0 ? facing_negative : 0));
}

template <class T>
LG_HD uint8_t facing_flag(const T* p0, const T* p1, const T* p2) {
  return facing_flag(p0[0], p0[1], p0[2], p0[3], p1[0], p1[1], p1[2], p1[3], p2[0], p2[1], p2[2], p2[3]);
}

// Whether the next triangle around edge k of triangle t lies on its far side: most edges need no further look.
// facing: facing flags of all triangles of the view.
LG_HD bool continues(const int32_t* topology, const uint8_t* facing, int64_t t, int k) {
  const auto entry = static_cast<uint32_t>(topology[3 * t + k]);
  const uint8_t other = facing[(entry >> 1) / 3];
  const bool alone = (entry >> 1) == static_cast<uint32_t>(3 * t + k);  // a boundary
  return !alone & (other != 0) & ((other == facing[t]) != ((entry & 1) != 0));
}

// Whether edge k of triangle t is a silhouette: no other triangle of its cycle lies on its far side.
// facing: facing flags of all triangles of the view. Links: a pointer, or what can be indexed like one.
template <class Links>
LG_HD bool is_silhouette(const Links& topology, const uint8_t* facing, int64_t t, int k) {
  const int64_t start = 3 * t + k;
  const uint8_t mine = facing[t] & (facing_positive | facing_negative);
  bool same_direction = true;
  int64_t passed = start, steps = 0, next_mark = 8;
  for (int64_t h = start;;) {
    const int32_t entry = topology[h];
    same_direction = (entry & 1) ? same_direction : !same_direction;
    h = entry >> 1;
    // A topology that edge_topology did not make may lead into a cycle that never comes back to the start:
    // it passes some half-edge twice (Brent 1980).
    if (h == start || h == passed) return true;
    if (++steps == next_mark) {
      passed = h;
      next_mark *= 2;
    }
    const uint8_t other = facing[static_cast<uint32_t>(h) / 3] & (facing_positive | facing_negative);
    const bool equal = other == mine;
    if (other != 0 && equal != same_direction) return false;
  }
}

// A horizontal or vertical pair seen from the pixel whose triangle is in front.
struct PairView {
  double f_along, f_across;          // that pixel's centre in NDC, along and across the pair
  double scale_along, scale_across;  // pixels per NDC unit, positive
  double direction;                  // from the pixel to the other one, in NDC: +1 or -1
  int along, across;                 // 0 for x, 1 for y
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
  int32_t triangle = -1;  // whose silhouette edge it is; -1: none
  int edge = 0;
  double distance = 0;  // from the front pixel's centre, in pixels, within [0, 1]
  bool clamped = false;
};

// The walk goes over at most this many triangles beyond the visible one.
constexpr int walk_limit = 64;

// What the search needs of one view's mesh. A backend that cannot check indices beforehand has one of its own.
template <class T>
struct SurfaceView {
  const T* pos;  // [vertices, 4]
  const int32_t* tri;
  const int32_t* topology;
  const uint8_t* flags;

  LG_HD const T* corner(int64_t triangle, int k) const { return pos + 4 * static_cast<int64_t>(tri[3 * triangle + k]); }
};

// A vertex relative to the pixel's centre.
struct ScanVertex {
  double along, across, w;
  LG_HD bool below() const { return across < 0; }
};

template <class T>
LG_HD ScanVertex make_scan_vertex(const T* p, const PairView& view) {
  const double w = p[3];
  return {p[view.along] - view.f_along * w, p[view.across] - view.f_across * w, w};
}

struct EdgeLine {
  ScanVertex a, b;
  double l_along, l_across;  // normal of the projected line
};

LG_HD EdgeLine make_edge_line(const ScanVertex& a, const ScanVertex& b) {
  return {a, b, a.across * b.w - b.across * a.w, b.along * a.w - a.along * b.w};
}

// Pixels from the centre to where the line meets the pair's axis, in the pair's direction.
LG_HD double crossing_distance(const EdgeLine& e, const PairView& view) {
  return view.direction * view.scale_along * ((e.a.across * e.b.along - e.a.along * e.b.across) / e.l_along);
}

// Whether the scanline through the pixel's centre, which runs between the edge's ends, meets it in front of
// the camera.
LG_HD bool is_in_front(const EdgeLine& e) { return e.l_along != 0 && (e.l_along > 0) == (e.a.across > e.b.across); }

LG_HD double magnitude(double value) { return value < 0 ? -value : value; }

// Pairs across which the edge runs flat are left to the other direction's pairs.
LG_HD bool is_steep(const EdgeLine& e, const PairView& view) {
  return magnitude(e.l_along) * view.scale_across >= magnitude(e.l_across) * view.scale_along;
}

LG_HD Crossing make_crossing(int64_t triangle, int edge, double distance) {
  const double clamped = distance < 0 ? 0 : (distance > 1 ? 1 : distance);
  return {static_cast<int32_t>(triangle), edge, clamped, clamped != distance};
}

// An edge of a triangle through which the scanline leaves it, and how far away. edge -1: none.
struct Exit {
  int edge = -1;
  double distance = 0;
  EdgeLine line;
};

// Where the scanline leaves the triangle that holds its origin: the farther of the two edges it meets.
template <class Surface>
LG_HD Exit first_exit(const Surface& surface, int64_t triangle, const PairView& view) {
  const ScanVertex v[3] = {make_scan_vertex(surface.corner(triangle, 0), view),
                           make_scan_vertex(surface.corner(triangle, 1), view),
                           make_scan_vertex(surface.corner(triangle, 2), view)};
  Exit best;
  for (int k = 0; k < 3; ++k) {
    const ScanVertex &a = v[(k + 1) % 3], &b = v[(k + 2) % 3];
    if (a.below() == b.below()) continue;
    const EdgeLine e = make_edge_line(a, b);
    if (!is_in_front(e)) continue;
    const double distance = crossing_distance(e, view);
    if (best.edge < 0 || distance > best.distance) best = {k, distance, e};
  }
  return best;
}

// Where it leaves the next triangle, entered through its edge `entry`: of the other two edges, the one whose
// ends lie on opposite sides of it. Sides are a property of the vertex, so the choice cannot fail by rounding.
template <class Surface>
LG_HD Exit next_exit(const Surface& surface, int64_t triangle, int entry, const PairView& view) {
  const int next = (entry + 1) % 3, last = (entry + 2) % 3;  // edge `next` runs from corner last to entry
  const ScanVertex tip = make_scan_vertex(surface.corner(triangle, entry), view);
  const ScanVertex a = make_scan_vertex(surface.corner(triangle, next), view);
  const ScanVertex b = make_scan_vertex(surface.corner(triangle, last), view);
  if (a.below() == b.below()) return {};
  const bool through_next = b.below() != tip.below();
  const EdgeLine e = through_next ? make_edge_line(b, tip) : make_edge_line(tip, a);
  if (!is_in_front(e)) return {};
  return {through_next ? next : last, crossing_distance(e, view), e};
}

// The outline of the surface that `front`, the triangle seen at the pixel, belongs to, on the way to the
// other pixel, which sees the triangle `other` (or -1).
template <class Surface>
LG_HD Crossing find_outline(const Surface& surface, int64_t front, int64_t other, const PairView& view) {
  int64_t triangle = front;
  Exit exit = first_exit(surface, triangle, view);
  for (int step = 0; step <= walk_limit && exit.edge >= 0; ++step) {
    const bool within = exit.distance <= 1 + crossing_tolerance;
    if (surface.flags[triangle] & (1 << exit.edge)) {
      const bool found = within && exit.distance >= -crossing_tolerance && is_steep(exit.line, view);
      return found ? make_crossing(triangle, exit.edge, exit.distance) : Crossing{};
    }
    if (!within) break;
    const int64_t here = 3 * triangle + exit.edge, across = surface.topology[here] >> 1;
    const bool two_sided = across != here && (surface.topology[across] >> 1) == here;
    triangle = across / 3;
    if (!two_sided || triangle == other) break;
    exit = next_exit(surface, triangle, static_cast<int>(across % 3), view);
  }
  return {};
}

// The rule as nvdiffrast has it: only the visible triangle's own silhouette edges, at any distance.
template <class Surface>
LG_HD Crossing find_own_edge(const Surface& surface, int64_t front, const PairView& view) {
  Crossing best;
  const uint8_t flags = surface.flags[front];
  for (int k = 0; k < 3; ++k) {
    if (!(flags & (1 << k))) continue;
    const EdgeLine e = make_edge_line(make_scan_vertex(surface.corner(front, (k + 1) % 3), view),
                                      make_scan_vertex(surface.corner(front, (k + 2) % 3), view));
    if (e.a.below() == e.b.below() || !is_in_front(e) || !is_steep(e, view)) continue;
    // In a mirrored frame (along = y) the orientation of the line and that of the direction both change sign.
    const double outward =
        ((flags & facing_positive) ? -e.l_along : e.l_along) * view.direction * (view.along == 0 ? 1 : -1);
    if (!(outward > 0)) continue;
    const Crossing found = make_crossing(front, k, crossing_distance(e, view));
    if (best.triangle < 0 || found.distance < best.distance) best = found;
  }
  return best;
}

// d crossing_distance / d (x, y, z, w) of the edge's two vertices.
template <class T>
LG_HD void crossing_gradients(const T* a, const T* b, const PairView& view, double grad_a[4], double grad_b[4]) {
  const EdgeLine e = make_edge_line(make_scan_vertex(a, view), make_scan_vertex(b, view));
  const double factor = view.direction * view.scale_along / e.l_along;
  const double q = (e.a.across * e.b.along - e.a.along * e.b.across) / e.l_along;
  const double a_along = -e.b.across * factor, b_along = e.a.across * factor;
  const double a_across = (e.b.along - q * e.b.w) * factor, b_across = (q * e.a.w - e.a.along) * factor;
  grad_a[view.along] = a_along;
  grad_a[view.across] = a_across;
  grad_b[view.along] = b_along;
  grad_b[view.across] = b_across;
  grad_a[2] = grad_b[2] = 0;
  grad_a[3] = q * e.b.across * factor - view.f_along * a_along - view.f_across * a_across;
  grad_b[3] = -q * e.a.across * factor - view.f_along * b_along - view.f_across * b_across;
}

}  // namespace lg
