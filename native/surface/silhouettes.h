// The silhouette edges of a mesh: those at which the surface turns away from the camera or ends.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// Per-triangle flags, made once per frame. Bits 0-2 say which edges are silhouettes (edge k is opposite corner k); bits
// 3 and 4 say that the triangle faces the camera with positive or negative determinant.
constexpr uint8_t silhouette_edges = 7;
constexpr uint8_t facing_positive = 8;
constexpr uint8_t facing_negative = 16;

// From the clip positions of the three corners.
LG_HD uint8_t facing_flag(double x0, double y0, double z0, double w0, double x1, double y1, double z1, double w1,
                          double x2, double y2, double z2, double w2) {
  const double det = w0 * (x1 * y2 - y1 * x2) + w1 * (x2 * y0 - y2 * x0) + w2 * (x0 * y1 - y0 * x1);
  const bool finite = (det - det) + 0.0 * (z0 + z1 + z2) == 0;  // otherwise not drawn
  return !finite ? 0 : (det > 0 ? facing_positive : (det < 0 ? facing_negative : 0));
}

template <class T>
LG_HD uint8_t facing_flag(const T* p0, const T* p1, const T* p2) {
  return facing_flag(p0[0], p0[1], p0[2], p0[3], p1[0], p1[1], p1[2], p1[3], p2[0], p2[1], p2[2], p2[3]);
}

// Links between half-edges, as made by edge_topology. An invalid link is read as that of a boundary edge.
struct HalfEdgeLinks {
  const int32_t* links;
  int64_t half_edges;

  LG_HD int32_t operator[](int64_t h) const {
    const int32_t link = links[h];
    return link >= 0 && (link >> 1) < half_edges ? link : static_cast<int32_t>(2 * h + 1);
  }
};

// Whether a condition holds for any half-edge of an edge, starting at half-edge `start`. Examines at most the first 64.
template <class Links, class Condition>
LG_HD bool any_half_edge(const Links& topology, int64_t start, const Condition& condition) {
  int64_t h = start;
  for (int step = 0; step < 64; ++step) {
    if (condition(h)) return true;
    h = topology[h] >> 1;
    if (h == start) break;
  }
  return false;
}

// Below, `facing` holds the facing flags of all triangles of the view. Links: HalfEdgeLinks, or a pointer to links that
// have been checked.

// Whether the next triangle around edge k of triangle t lies on its far side. Most edges need no further test.
template <class Links>
LG_HD bool continues(const Links& topology, const uint8_t* facing, int64_t t, int k) {
  const auto entry = static_cast<uint32_t>(topology[3 * t + k]);
  const uint8_t other = facing[(entry >> 1) / 3];
  const bool alone = (entry >> 1) == static_cast<uint32_t>(3 * t + k);  // a boundary
  return !alone & (other != 0) & ((other == facing[t]) != ((entry & 1) != 0));
}

// Whether edge k of triangle t is a silhouette: no other triangle of its cycle lies on its far side.
template <class Links>
LG_HD bool is_silhouette(const Links& topology, const uint8_t* facing, int64_t t, int k) {
  const int64_t start = 3 * t + k;
  const uint8_t mine = facing[t];
  bool same_direction = true;
  int64_t passed = start, steps = 0, next_mark = 8;
  for (int64_t h = start;;) {
    const int32_t entry = topology[h];
    same_direction = (entry & 1) ? same_direction : !same_direction;
    h = entry >> 1;
    // A topology that edge_topology did not make may lead into a cycle that never returns to the start; such a cycle
    // passes some half-edge twice (Brent 1980).
    if (h == start || h == passed) return true;
    if (++steps == next_mark) {
      passed = h;
      next_mark *= 2;
    }
    const uint8_t other = facing[static_cast<uint32_t>(h) / 3];
    if (other != 0 && (other == mine) != same_direction) return false;
  }
}

// The silhouette edges of triangle t, as the low bits of its flags.
template <class Links>
LG_HD uint8_t silhouettes_of(const Links& topology, const uint8_t* facing, int64_t t) {
  uint8_t edges = 0;
  for (int k = 0; k < 3; ++k) {
    if (continues(topology, facing, t, k)) continue;
    edges |= static_cast<uint8_t>(is_silhouette(topology, facing, t, k) << k);
  }
  return edges;
}

}  // namespace lg::surface
