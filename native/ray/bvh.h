// A tree of boxes over the triangles of a mesh, as kernels read it.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::ray {

constexpr int node_width = 8;  // children of a node
constexpr int leaf_size = 8;   // triangles in a leaf
constexpr int32_t no_child = INT32_MIN;
// The builder makes no deeper tree.
constexpr int max_levels = 64;
// What a walk through a tree of so many levels keeps on its stack at the most.
constexpr int stack_needed(int levels) { return (node_width - 1) * levels + 1; }

// Nodes are numbered level by level from the root, node 0. A child is the number of a node, which is larger than its
// parent's, or -1 - the number of a leaf, or no_child. What has no triangles has a box that nothing hits: low is
// infinite, high -infinite. Boxes are float32 for either type, rounded outwards.
//
// Corners of leaves are values of vertex 0's x of all its triangles, then of its y and z, then of vertex 1, and so on.
// They are NaN where a leaf has fewer triangles, and where a triangle cannot be hit, because it is degenerate or not
// finite.
//
// Memory comes from the caller and may hold anything: walks check numbers before they read with them, and end.
template <class T>
struct BvhView {
  const float* boxes;       // [nodes, 6, 8]: low x, y, z, high x, y, z of all children
  const int32_t* children;  // [nodes, 8]
  const T* corners;         // [leaves, 9, leaf_size]
  const int32_t* tri;       // [leaves, leaf_size]: numbers of triangles, -1 for none
  const float* bounds;      // [2, 3]: of all that is finite
  int64_t nodes, leaves, triangles;

  LG_HD const float* boxes_of(int32_t node) const { return boxes + int64_t{6 * node_width} * node; }
  LG_HD const int32_t* children_of(int32_t node) const { return children + int64_t{node_width} * node; }
  LG_HD const T* corners_of(int32_t leaf) const { return corners + int64_t{9 * leaf_size} * leaf; }
  LG_HD const int32_t* tri_of(int32_t leaf) const { return tri + int64_t{leaf_size} * leaf; }
};

}  // namespace lg::ray
