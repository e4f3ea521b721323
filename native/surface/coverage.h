// Which pixels a triangle covers: clipping, snapping, edge functions and visibility depth.
//
// These are the operations of lumigrad.reference.rasterize, one for one, so that coverage and visibility agree on every
// pixel. All arithmetic before snapping is float64; after it, integers.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::surface {

struct Viewport {
  int32_t width, height;
  int32_t subpixel_bits;
  double half_x, half_y;    // sub-pixels per NDC unit
  double guard_x, guard_y;  // the guard band in NDC: |x| <= guard_x * w
};

// Images are at most this wide and high; with the guard band, coordinates then stay within 25 bits.
constexpr int64_t max_resolution = 32768;
constexpr int64_t guard_span = 65536;

LG_HD Viewport make_viewport(int64_t width, int64_t height, int32_t subpixel_bits) {
  Viewport view;
  view.width = static_cast<int32_t>(width);
  view.height = static_cast<int32_t>(height);
  view.subpixel_bits = subpixel_bits;
  const double scale = static_cast<double>(1 << subpixel_bits);
  view.half_x = static_cast<double>(width) * scale / 2;
  view.half_y = static_cast<double>(height) * scale / 2;
  view.guard_x = 1 + 2 * (static_cast<double>(guard_span - width) / 2) / static_cast<double>(width);
  view.guard_y = 1 + 2 * (static_cast<double>(guard_span - height) / 2) / static_cast<double>(height);
  return view;
}

struct ClipVertex {
  double x, y, z, w;
};

// The six clip planes. A vertex is inside if the value is >= 0.
constexpr int clip_planes = 6;
LG_HD double clip_distance(const ClipVertex& p, const Viewport& view, int plane) {
  switch (plane) {
    case 0:
      return p.z + p.w;
    case 1:
      return p.w - p.z;
    case 2:
      return view.guard_x * p.w + p.x;
    case 3:
      return view.guard_x * p.w - p.x;
    case 4:
      return view.guard_y * p.w + p.y;
    default:
      return view.guard_y * p.w - p.y;
  }
}

// Bit k: outside plane k. not_a_point: NaN or infinite.
constexpr uint32_t all_planes = (1u << clip_planes) - 1;
constexpr uint32_t not_a_point = 1u << clip_planes;

LG_HD uint32_t clip_flags(const ClipVertex& p, const Viewport& view) {
  if (!(is_finite(p.x) && is_finite(p.y) && is_finite(p.z) && is_finite(p.w))) return not_a_point;
  uint32_t flags = 0;
  for (int plane = 0; plane < clip_planes; ++plane) {
    flags |= static_cast<uint32_t>(clip_distance(p, view, plane) < 0) << plane;
  }
  return flags;
}

struct SnappedVertex {
  int32_t x, y;    // sub-pixels, rows downwards
  float z;         // z/w
  uint32_t flags;  // clip_flags of the vertex; x, y, z are defined only if it is zero
};

// Round half to even, for |value| < 2^51.
LG_HD double round_even(double value) {
  const double magic = 6755399441055744.0;  // 1.5 * 2^52: the sum has no fraction bits left
  return (value + magic) - magic;
}

LG_HD double limit(double value, double low, double high) { return value < low ? low : (value > high ? high : value); }

LG_HD SnappedVertex snap(const ClipVertex& p, const Viewport& view) {
  SnappedVertex s;
  const double x = p.x / p.w, y = p.y / p.w;
  s.x = static_cast<int32_t>(round_even(x * view.half_x + view.half_x));
  s.y = static_cast<int32_t>(round_even(view.half_y - y * view.half_y));
  s.z = static_cast<float>(p.z / p.w);
  s.flags = 0;
  return s;
}

// A point made by clipping. If a polygon comes near w = 0, rounding can place the point far outside the planes; the
// bounds keep all later integers in range.
LG_HD SnappedVertex snap_clipped(const ClipVertex& p, const Viewport& view) {
  const double size = static_cast<double>(1 << view.subpixel_bits);
  const double spare_x = static_cast<double>(guard_span - view.width) / 2 * size;
  const double spare_y = static_cast<double>(guard_span - view.height) / 2 * size;
  const double x = round_even(limit((p.x / p.w) * view.half_x + view.half_x, -spare_x, view.width * size + spare_x));
  const double y = round_even(limit(view.half_y - (p.y / p.w) * view.half_y, -spare_y, view.height * size + spare_y));
  return {static_cast<int32_t>(x), static_cast<int32_t>(y), static_cast<float>(limit(p.z / p.w, -1, 1)), 0};
}

// A convex polygon: a triangle gains at most one vertex from each clip plane.
struct Polygon {
  ClipVertex vertex[3 + clip_planes];
  int count;
};

// Sutherland-Hodgman against one plane. New points are computed from the inside vertex towards the outside vertex, so
// that the two triangles of an edge compute the same point.
LG_HD void clip_polygon(Polygon& polygon, const Viewport& view, int plane) {
  Polygon out;
  out.count = 0;
  for (int i = 0; i < polygon.count; ++i) {
    const ClipVertex& here = polygon.vertex[i];
    const ClipVertex& next = polygon.vertex[i + 1 == polygon.count ? 0 : i + 1];
    const double d_here = clip_distance(here, view, plane), d_next = clip_distance(next, view, plane);
    if (d_here >= 0) out.vertex[out.count++] = here;
    if ((d_here >= 0) != (d_next >= 0)) {
      const bool here_inside = d_here >= 0;
      const ClipVertex& a = here_inside ? here : next;
      const ClipVertex& b = here_inside ? next : here;
      const double t = here_inside ? d_here / (d_here - d_next) : d_next / (d_next - d_here);
      out.vertex[out.count++] = {a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), a.z + t * (b.z - a.z),
                                 a.w + t * (b.w - a.w)};
    }
  }
  polygon = out;
}

// Clips a triangle to all planes. The polygon is empty if nothing is left, or if a vertex has w <= 0 or is not
// finite.
LG_HD void clip_triangle(Polygon& polygon, const Viewport& view) {
  for (int plane = 0; plane < clip_planes && polygon.count > 0; ++plane) clip_polygon(polygon, view, plane);
  for (int i = 0; i < polygon.count; ++i) {
    const ClipVertex& p = polygon.vertex[i];
    if (!(p.w > 0 && is_finite(p.x) && is_finite(p.y) && is_finite(p.z) && is_finite(p.w))) polygon.count = 0;
  }
  if (polygon.count < 3) polygon.count = 0;
}

// Twice the signed area in square sub-pixels; positive is clockwise on the screen.
LG_HD int64_t double_area(const SnappedVertex& a, const SnappedVertex& b, const SnappedVertex& c) {
  return static_cast<int64_t>(b.x - a.x) * (c.y - a.y) - static_cast<int64_t>(c.x - a.x) * (b.y - a.y);
}

LG_HD int32_t min3(int32_t a, int32_t b, int32_t c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }
LG_HD int32_t max3(int32_t a, int32_t b, int32_t c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }
LG_HD float min3(float a, float b, float c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }
LG_HD float max3(float a, float b, float c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

// The pixels within the image whose centres lie in the bounding box of a snapped triangle, inclusive.
struct PixelBox {
  int32_t x0, y0, x1, y1;
  LG_HD bool empty() const { return x0 > x1 || y0 > y1; }
};

LG_HD PixelBox pixel_box(const SnappedVertex& a, const SnappedVertex& b, const SnappedVertex& c, const Viewport& view) {
  const int32_t bits = view.subpixel_bits, half = 1 << (bits - 1), up = (1 << bits) - 1 - half;
  PixelBox box;
  box.x0 = (min3(a.x, b.x, c.x) + up) >> bits;  // ceil((x - half) / 2^bits): shifts round down
  box.y0 = (min3(a.y, b.y, c.y) + up) >> bits;
  box.x1 = (max3(a.x, b.x, c.x) - half) >> bits;
  box.y1 = (max3(a.y, b.y, c.y) - half) >> bits;
  box.x0 = box.x0 < 0 ? 0 : box.x0;
  box.y0 = box.y0 < 0 ? 0 : box.y0;
  box.x1 = box.x1 >= view.width ? view.width - 1 : box.x1;
  box.y1 = box.y1 >= view.height ? view.height - 1 : box.y1;
  return box;
}

// An edge function with whole steps from pixel to pixel: value(column, row) >= 0 if the pixel centre is inside,
// including the top-left rule.
struct Edge {
  int64_t value;           // at the pixel (column0, row0) for which it was set up
  int32_t step_x, step_y;  // per pixel
};

LG_HD Edge make_edge(const SnappedVertex& a, const SnappedVertex& b, int32_t column0, int32_t row0, int32_t bits) {
  const int32_t dx = b.x - a.x, dy = b.y - a.y, half = 1 << (bits - 1);
  const int64_t cx = (static_cast<int64_t>(column0) << bits) + half - a.x;
  const int64_t cy = (static_cast<int64_t>(row0) << bits) + half - a.y;
  const bool top_left = dy < 0 || (dy == 0 && dx > 0);
  const int64_t e = dx * cy - dy * cx - (top_left ? 0 : 1);
  return {e >> bits, -dy, dx};  // all pixels share the remainder, so flooring preserves every sign
}

// The plane of the visibility depth, in float32 as the rule requires.
struct DepthPlane {
  float at_anchor, dx, dy, low, high;
  int32_t anchor_x, anchor_y;
};

// a, b, c with positive double_area `area`; box as made by pixel_box.
LG_HD DepthPlane make_depth_plane(const SnappedVertex& a, const SnappedVertex& b, const SnappedVertex& c, int64_t area,
                                  const PixelBox& box, int32_t bits) {
  const double size = static_cast<double>(1 << bits), half = size / 2;
  const double z0 = a.z, dz1 = static_cast<double>(b.z) - z0, dz2 = static_cast<double>(c.z) - z0;
  const double zx = (dz1 * (c.y - a.y) - dz2 * (b.y - a.y)) / static_cast<double>(area) * size;
  const double zy = (dz2 * (b.x - a.x) - dz1 * (c.x - a.x)) / static_cast<double>(area) * size;
  const double at_anchor = z0 + zx * ((box.x0 * size + half - a.x) / size) + zy * ((box.y0 * size + half - a.y) / size);
  return {static_cast<float>(at_anchor),
          static_cast<float>(zx),
          static_cast<float>(zy),
          min3(a.z, b.z, c.z),
          max3(a.z, b.z, c.z),
          box.x0,
          box.y0};
}

}  // namespace lg::surface
