// A triangle as lines over the image, in pixels and float64: its position, its depth, and the part of a segment that it
// covers. Homogeneous, so that corners behind the camera need no clipping (Olano and Greer 1997).
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// a x + b y + c, with x to the right and y down, in pixels from the image's corner.
struct Line {
  double a, b, c;

  LG_HD double at(double x, double y) const { return (a * x + b * y) + c; }
};

LG_HD Line operator-(const Line& p, const Line& q) { return {p.a - q.a, p.b - q.b, p.c - q.c}; }

// A corner in homogeneous pixels: its place is (x/w, y/w).
struct PixelCorner {
  double x, y, z, w;
};

template <class T>
LG_HD PixelCorner pixel_corner(const T* p, double width, double height) {
  const double x = p[0], y = p[1], w = p[3];
  return {(x + w) * (0.5 * width), (w - y) * (0.5 * height), static_cast<double>(p[2]), w};
}

// The line through two corners.
LG_HD Line line_through(const PixelCorner& a, const PixelCorner& b) {
  return {a.y * b.w - a.w * b.y, a.w * b.x - a.x * b.w, a.x * b.y - a.y * b.x};
}

struct PixelTriangle {
  Line edge[3];        // >= 0 inside; edge k is opposite corner k
  Line front;          // > 0 in front of the eye
  Line depth;          // z/w
  double depth_error;  // how far rounding may shift the depth
  bool clipped;        // a corner lies beyond the near or far plane
};

LG_HD double determinant(const PixelCorner& p, const PixelCorner& q, const PixelCorner& r) {
  const Line line = line_through(q, r);
  return (p.x * line.a + p.y * line.b) + p.w * line.c;
}

// False for a triangle that is seen edge-on or is not finite.
LG_HD bool make_pixel_triangle(const PixelCorner (&p)[3], PixelTriangle& t) {
  for (int k = 0; k < 3; ++k) t.edge[k] = line_through(p[(k + 1) % 3], p[(k + 2) % 3]);
  const double det = (p[0].x * t.edge[0].a + p[0].y * t.edge[0].b) + p[0].w * t.edge[0].c;
  const double sign = det < 0 ? -1 : 1, inverse = 1 / (det * sign);
  if (!((inverse - inverse) + (det - det) == 0)) return false;
  t.front = t.depth = {0, 0, 0};
  t.clipped = false;
  t.depth_error = 0;
  const auto magnitude = [](double v) { return v < 0 ? -v : v; };
  for (int k = 0; k < 3; ++k) {
    Line& e = t.edge[k];
    e = {e.a * sign, e.b * sign, e.c * sign};
    const double z = p[k].z * inverse;
    // The terms that cancel in a line's coefficients are as large as products of coordinates.
    const PixelCorner &a = p[(k + 1) % 3], &b = p[(k + 2) % 3];
    t.depth_error += 8e-16 * magnitude(z) * (magnitude(a.x * b.y) + magnitude(a.y * b.x));
    t.front = {t.front.a + e.a, t.front.b + e.b, t.front.c + e.c};
    t.depth = {t.depth.a + z * e.a, t.depth.b + z * e.b, t.depth.c + z * e.c};
    t.clipped |= !(p[k].z + p[k].w >= 0) || !(p[k].w - p[k].z >= 0);
  }
  const double sum = (t.depth.a + t.depth.b + t.depth.c) + (t.front.a + t.front.b + t.front.c);
  return sum - sum == 0;
}

// Whether the place is covered, between the near and far planes.
LG_HD bool covers(const PixelTriangle& t, double x, double y) {
  const bool inside = t.edge[0].at(x, y) >= 0 && t.edge[1].at(x, y) >= 0 && t.edge[2].at(x, y) >= 0;
  if (!inside || !t.clipped) return inside;
  const double depth = t.depth.at(x, y);
  return t.front.at(x, y) > 0 && depth >= -1 && depth <= 1;
}

// ---- Segments ------------------------------------------------------------------------------------------------

// A part of a straight outline, from (x0, y0) to (x1, y1), and the unit normal that points to its plus side.
struct Segment {
  double x0, y0, x1, y1, nx, ny;
};

// The part [low, high] of a segment, in fractions of its length; empty if low >= high.
struct Part {
  double low, high;

  // Keeps the part where a value that runs linearly from v0 to v1 is not negative. Branchless, because branches would
  // be unpredictable: if both values are negative, their zero lies outside the segment, on the side that empties the
  // part.
  LG_HD void keep(double v0, double v1) {
    const double zero = v0 / (v0 - v1);
    low = (v0 < 0) & (zero > low) ? zero : low;
    high = (v1 < 0) & (zero < high) ? zero : high;
  }
  LG_HD bool empty() const { return !(low < high); }
};

// The surface immediately beside an outline is looked up at this distance, in pixels: well above the rounding of
// float64, and far below anything that an image shows.
constexpr double beside = 1e-7;

// A triangle beside a segment: the part that it covers, its depths at both ends, and their error bounds.
struct Covered {
  Part part;
  double z0, z1, error;
};

// side: 1 the plus side, -1 the minus side.
LG_HD Covered cover(const PixelTriangle& t, const Segment& s, double side) {
  const double x0 = s.x0 + side * beside * s.nx, y0 = s.y0 + side * beside * s.ny;
  const double x1 = s.x1 + side * beside * s.nx, y1 = s.y1 + side * beside * s.ny;
  Covered out = {{0, 1}, t.depth.at(x0, y0), t.depth.at(x1, y1), t.depth_error};
  for (int k = 0; k < 3; ++k) out.part.keep(t.edge[k].at(x0, y0), t.edge[k].at(x1, y1));
  if (t.clipped) {
    out.part.keep(t.front.at(x0, y0), t.front.at(x1, y1));
    out.part.keep(out.z0 + 1, out.z1 + 1);
    out.part.keep(1 - out.z0, 1 - out.z1);
  }
  return out;
}

}  // namespace lg::surface
