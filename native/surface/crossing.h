// Where a silhouette edge crosses the line between two neighbouring pixel centres, and the gradient of that crossing
// with respect to the edge's vertices (Laine et al. 2020, section 3.5).
//
// The triangle seen at a pixel often ends before the outline of its surface does: near a rim, triangles are thinner
// than a pixel. The search therefore walks along the surface from that triangle to the next ones until it meets a
// silhouette edge, the other pixel, or the triangle visible there.
//
// All coordinates are homogeneous: a vertex is (x, y, w), an edge is the line a x b. Vertices behind the camera then
// need no special case; w must only be positive at the crossing.
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"
#include "surface/silhouettes.h"

namespace lg::surface {

// Crossings may lie this far (in pixels) beyond the two centres, because vertices are snapped.
constexpr double crossing_tolerance = 1.0 / 16;

// A pixel and its neighbour to the right, or, where vertical, the one below.
struct PixelPair {
  int64_t view, row, column;
  bool vertical;
};

// A pair as seen from one of its pixels.
struct PairView {
  double f_along, f_across;          // that pixel's centre in NDC, along and across the pair
  double scale_along, scale_across;  // pixels per NDC unit, positive
  double direction;                  // step to the other pixel in NDC: +1 or -1
  int along, across;                 // 0 for x, 1 for y
};

// from_first: seen from the first (left or upper) pixel.
LG_HD PairView make_pair_view(const PixelPair& pair, bool from_first, const ImageSize& image) {
  const auto width = static_cast<double>(image.width), height = static_cast<double>(image.height);
  const int64_t column = pair.column + (!pair.vertical && !from_first), row = pair.row + (pair.vertical && !from_first);
  const double fx = (2 * static_cast<double>(column) + 1) / width - 1;
  const double fy = 1 - (2 * static_cast<double>(row) + 1) / height;
  // The second pixel is to the right (+x) or below (-y).
  if (pair.vertical) return {fy, fx, height / 2, width / 2, from_first ? -1.0 : 1.0, 1, 0};
  return {fx, fy, width / 2, height / 2, from_first ? 1.0 : -1.0, 0, 1};
}

struct Crossing {
  int32_t triangle = -1;  // whose silhouette edge it is; -1: none
  int edge = 0;
  double distance = 0;  // from the owner's centre, in pixels, within [0, 1]
  bool clamped = false;
  bool owned_by_first = true;  // the owner, the pixel that shows the edge's surface, is the left or upper one

  LG_HD bool found() const { return triangle >= 0; }
};

// The walk crosses at most this many triangles beyond the visible one.
constexpr int walk_limit = 64;

// The mesh of one view. Nothing outside it is read, whatever the indices.
template <class T>
struct SurfaceView {
  const T* pos;  // [vertices, 4]
  const int32_t* tri;
  HalfEdgeLinks topology;
  const uint8_t* flags;
  int64_t vertices;

  LG_HD int64_t vertex(int64_t triangle, int k) const {
    const int32_t index = tri[3 * triangle + k];
    return index >= 0 && index < vertices ? index : 0;
  }
  LG_HD const T* corner(int64_t triangle, int k) const { return pos + 4 * vertex(triangle, k); }
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

// Pixels from the centre to the point where the line meets the pair's axis, in the pair's direction.
LG_HD double crossing_distance(const EdgeLine& e, const PairView& view) {
  return view.direction * view.scale_along * ((e.a.across * e.b.along - e.a.along * e.b.across) / e.l_along);
}

// Whether the scanline through the pixel's centre, which separates the ends of the edge, meets it in front of the
// camera.
LG_HD bool is_in_front(const EdgeLine& e) { return e.l_along != 0 && (e.l_along > 0) == (e.a.across > e.b.across); }

LG_HD double magnitude(double value) { return value < 0 ? -value : value; }

// Edges that run flat across a pair are left to the pairs of the other direction.
LG_HD bool is_steep(const EdgeLine& e, const PairView& view) {
  return magnitude(e.l_along) * view.scale_across >= magnitude(e.l_across) * view.scale_along;
}

LG_HD bool is_between_centres(double distance) {
  return distance >= -crossing_tolerance && distance <= 1 + crossing_tolerance;
}

LG_HD Crossing make_crossing(int64_t triangle, int edge, double distance) {
  const double clamped = distance < 0 ? 0 : (distance > 1 ? 1 : distance);
  return {static_cast<int32_t>(triangle), edge, clamped, clamped != distance};
}

// The edge through which the scanline leaves a triangle, and its distance. edge -1: none.
struct Exit {
  int edge = -1;
  double distance = 0;
  EdgeLine line;
};

// Where the scanline leaves the triangle that contains its origin: the farther of the two edges that it meets.
template <class T>
LG_HD Exit first_exit(const SurfaceView<T>& surface, int64_t triangle, const PairView& view) {
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

// Where the scanline leaves the next triangle, which it entered through edge `entry`: of the other two edges, the one
// whose ends lie on opposite sides. Sides are a property of the vertex, so rounding cannot make the choice fail.
template <class T>
LG_HD Exit next_exit(const SurfaceView<T>& surface, int64_t triangle, int entry, const PairView& view) {
  const int next = (entry + 1) % 3, last = (entry + 2) % 3;  // edge `next` runs from corner `last` to corner `entry`
  const ScanVertex tip = make_scan_vertex(surface.corner(triangle, entry), view);
  const ScanVertex a = make_scan_vertex(surface.corner(triangle, next), view);
  const ScanVertex b = make_scan_vertex(surface.corner(triangle, last), view);
  if (a.below() == b.below()) return {};
  const bool through_next = b.below() != tip.below();
  const EdgeLine e = through_next ? make_edge_line(b, tip) : make_edge_line(tip, a);
  if (!is_in_front(e)) return {};
  return {through_next ? next : last, crossing_distance(e, view), e};
}

// The outline of the surface that `seen` (the triangle visible at the pixel) belongs to, on the way to the other pixel,
// which shows triangle `other` (or -1).
template <class T>
LG_HD Crossing find_outline(const SurfaceView<T>& surface, int64_t seen, int64_t other, const PairView& view) {
  int64_t triangle = seen;
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

// The depth z / w of a triangle's plane where it crosses a pair's axis. Not finite for triangles seen edge-on.
template <class T>
LG_HD double depth_on_axis(const SurfaceView<T>& surface, int64_t triangle, const PairView& view, double distance) {
  const double along = view.direction * distance / view.scale_along;  // from the pixel's centre, in NDC
  double depth = 0, all = 0;
  for (int k = 0; k < 3; ++k) {
    const T* p = surface.corner(triangle, k);
    const ScanVertex a = make_scan_vertex(surface.corner(triangle, (k + 1) % 3), view);
    const ScanVertex b = make_scan_vertex(surface.corner(triangle, (k + 2) % 3), view);
    const double share = (a.across * b.w - b.across * a.w) * along + (a.along * b.across - a.across * b.along);
    depth += p[2] * share;
    all += p[3] * share;
  }
  return depth / all;
}

// Surfaces closer than this touch.
constexpr double contact_depth = 1e-6;

// Whether a crossing lies on or in front of the plane of the triangle `nearer`. The surface that is nearer at its own
// pixel may be the farther one at the crossing: a floor that runs towards the camera is nearer than the foot of an
// object on it.
template <class T>
LG_HD bool is_in_front_of(const SurfaceView<T>& surface, const Crossing& crossing, int64_t nearer,
                          const PairView& view) {
  return depth_on_axis(surface, crossing.triangle, view, crossing.distance) <=
         depth_on_axis(surface, nearer, view, crossing.distance) + contact_depth;
}

// nvdiffrast's rule: only silhouette edges of the visible triangle.
template <class T>
LG_HD Crossing find_own_edge(const SurfaceView<T>& surface, int64_t front, const PairView& view) {
  Crossing best;
  const uint8_t flags = surface.flags[front];
  if (!(flags & (facing_positive | facing_negative))) return best;  // edge-on: it has no sides
  for (int k = 0; k < 3; ++k) {
    if (!(flags & (1 << k))) continue;
    const EdgeLine e = make_edge_line(make_scan_vertex(surface.corner(front, (k + 1) % 3), view),
                                      make_scan_vertex(surface.corner(front, (k + 2) % 3), view));
    if (e.a.below() == e.b.below() || !is_in_front(e) || !is_steep(e, view)) continue;
    // In a mirrored frame (along = y), the orientations of the line and of the direction both change sign.
    const double outward =
        ((flags & facing_positive) ? -e.l_along : e.l_along) * view.direction * (view.along == 0 ? 1 : -1);
    if (!(outward > 0)) continue;
    const double distance = crossing_distance(e, view);
    if (!is_between_centres(distance)) continue;
    const Crossing found = make_crossing(front, k, distance);
    if (!best.found() || found.distance < best.distance) best = found;
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

}  // namespace lg::surface
