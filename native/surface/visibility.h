// The input of the visibility pass and its per-vertex and per-triangle steps, for CPU and CUDA.
//
// The rules of coverage.h applied to one triangle and a part of the image: the pixels of that part that it covers, and
// the plane of its depth.
#pragma once

#include <cstdint>

#include "lumigrad.h"
#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"
#include "surface/coverage.h"

namespace lg::surface {

// Clip-space positions [vertices, 4] of either type.
struct ClipPositions {
  const void* pos;
  int32_t dtype;

  LG_HD ClipVertex operator[](int64_t v) const {
    if (dtype == LG_FLOAT32) {
      const float* p = static_cast<const float*>(pos) + 4 * v;
      return {p[0], p[1], p[2], p[3]};
    }
    const double* p = static_cast<const double*>(pos) + 4 * v;
    return {p[0], p[1], p[2], p[3]};
  }
};

struct VisibilityRequest {
  ClipPositions positions;  // [views, vertices] or, with ranges, [vertices]
  MeshIndex mesh;
  const int64_t* ranges;  // on the host, [views, 2], or null: all triangles
  ImageSize image;
  int32_t subpixel_bits;
  const int32_t* after_tri;  // the layer in front, [views, height, width], or null
  const float* after_zbuffer;
  bool drop_coincident;

  Viewport viewport() const { return make_viewport(image.width, image.height, subpixel_bits); }
};

inline VisibilityRequest make_visibility_request(int32_t dtype, const void* pos, const int32_t* tri,
                                                 const int64_t* ranges, int64_t views, int64_t vertices,
                                                 int64_t triangles, int64_t height, int64_t width,
                                                 int32_t subpixel_bits, const int32_t* after_tri,
                                                 const float* after_zbuffer, int32_t drop_coincident) {
  return {{pos, dtype},  {tri, vertices, triangles, ranges != nullptr},
          ranges,        {views, height, width},
          subpixel_bits, after_tri,
          after_zbuffer, drop_coincident != 0};
}

// ---- Vertices ----------------------------------------------------------------------------------------------

// The body of for_each.h that snaps every vertex.
struct SnapVertices {
  ClipPositions positions;
  int64_t first;  // vertex
  Viewport viewport;
  SnappedVertex* out;

  LG_HD void operator()(int64_t v) const {
    const ClipVertex p = positions[first + v];
    const uint32_t flags = clip_flags(p, viewport);
    if (LG_UNLIKELY(flags || !(p.w > 0))) {
      // w == 0 only at the degenerate point (0, 0, 0, 0), which no polygon may contain.
      out[v] = {0, 0, 0.0f, flags ? flags : not_a_point};
    } else {
      out[v] = snap(p, viewport);
    }
  }
};

// ---- One triangle ------------------------------------------------------------------------------------------

struct SnappedTriangle {
  SnappedVertex a, b, c;

  LG_HD int64_t area() const { return double_area(a, b, c); }
  LG_HD PixelBox box(const Viewport& viewport) const { return pixel_box(a, b, c, viewport); }
};

// Whether a triangle with flagged vertices may still be partly visible. any, all: its vertices' clip flags, combined by
// or and by and.
LG_HD bool needs_clipping(uint32_t any, uint32_t all) {
  const bool outside_one_plane = (all & all_planes) != 0, unusable = (any & not_a_point) != 0;
  return !outside_one_plane && !unusable;
}

// Piece i of a clipped triangle: its polygon is a fan of count - 2 pieces around the first vertex.
LG_HD SnappedTriangle piece_of(const Polygon& polygon, int32_t i, const Viewport& viewport) {
  return {snap_clipped(polygon.vertex[0], viewport), snap_clipped(polygon.vertex[i + 1], viewport),
          snap_clipped(polygon.vertex[i + 2], viewport)};
}

// An edge within a part of the image, in whole steps from the part's first pixel. int32 suffices: if the sign of an
// edge changes within the part, its value there is at most the sum of its steps across the part; any other edge needs
// no test.
struct PartEdge {
  int32_t value, step_x, step_y;

  LG_HD int32_t at(int32_t column, int32_t row) const { return value + step_x * column + step_y * row; }
};

// The edges of a triangle in the part of the image that begins at pixel (x, y). False if the part is outside one of
// them. An edge that does not cross the part is replaced by one that contains all its pixels.
LG_HD bool make_part_edges(const SnappedTriangle& t, int32_t x, int32_t y, int32_t columns, int32_t rows, int32_t bits,
                           PartEdge edges[3]) {
  const bool flip = t.area() < 0;
  const SnappedVertex corner[3] = {t.a, flip ? t.c : t.b, flip ? t.b : t.c};
  LG_UNROLL
  for (int k = 0; k < 3; ++k) {
    const Edge edge = make_edge(corner[k], corner[(k + 1) % 3], x, y, bits);
    const int64_t across_x = static_cast<int64_t>(edge.step_x) * (columns - 1);
    const int64_t across_y = static_cast<int64_t>(edge.step_y) * (rows - 1);
    const int64_t highest = edge.value + (across_x > 0 ? across_x : 0) + (across_y > 0 ? across_y : 0);
    const int64_t lowest = edge.value + (across_x < 0 ? across_x : 0) + (across_y < 0 ? across_y : 0);
    if (highest < 0) return false;
    edges[k] = lowest >= 0 ? PartEdge{0, 0, 0} : PartEdge{static_cast<int32_t>(edge.value), edge.step_x, edge.step_y};
  }
  return true;
}

// box: of the whole triangle, which fixes the plane's anchor.
LG_HD DepthPlane depth_plane_of(const SnappedTriangle& t, const PixelBox& box, int32_t bits) {
  const int64_t area = t.area();
  const bool flip = area < 0;
  return make_depth_plane(t.a, flip ? t.c : t.b, flip ? t.b : t.c, flip ? -area : area, box, bits);
}

}  // namespace lg::surface
