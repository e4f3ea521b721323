// The neighbours of every triangle edge, as cycles of half-edges.
//
// Half-edge 3 t + k is the edge of triangle t opposite its corner k, from corner k+1 to corner k+2. All half-edges
// on one undirected edge form a cycle, in the order of their numbers: an entry holds 2 * next + (1 if next runs the
// same way). A boundary edge is a cycle of one, a non-manifold edge a cycle of three or more.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// An entry needs one bit more than the number of a half-edge.
constexpr int64_t max_topology_triangles = INT32_MAX / 6;

// A half-edge and the edge it belongs to.
struct HalfEdge {
  int32_t low, high;  // the edge's vertices, sorted
  bool downwards;     // it runs from the higher to the lower vertex
  bool linked;        // half-edges of degenerate triangles are not linked
};

// Edge k of a triangle with these vertices. A negative number stands for a missing vertex.
LG_HD HalfEdge make_half_edge(const int32_t vertex[3], int k) {
  const int32_t a = vertex[(k + 1) % 3], b = vertex[(k + 2) % 3], opposite = vertex[k];
  const bool exists = (a | b | opposite) >= 0, distinct = (a != b) & (a != opposite) & (b != opposite);
  return {a < b ? a : b, a < b ? b : a, a > b, exists && distinct};
}

LG_HD int32_t topology_entry(int32_t next, bool same_direction) {
  return 2 * next + static_cast<int32_t>(same_direction);
}

}  // namespace lg::surface
