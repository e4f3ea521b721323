// Where a triangle's edges cross a line of pixel centres, and how strongly the pixels along the line pull at them
// (Kato, Ushiku and Harada 2018). Geometry is float64 whatever the tensors' type, because it makes decisions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// The number of pixels on either side of an edge that count, for an image of that size. `reach` 0 means no limit.
inline int64_t reach_within(int64_t reach, int64_t height, int64_t width) {
  const int64_t whole_line = std::max(height, width);
  return reach > 0 ? std::min(reach, whole_line) : whole_line;
}

// A triangle in line coordinates: along lines in pixels, with pixel i at i, and across them with line r at r.
struct LineTriangle {
  double along[3], across[3];
};

// Edge k, opposite corner k, and line r.
struct LineCrossing {
  int a, b;         // the edge's corners
  double omega[2];  // motion of the crossing along the line per motion of either corner
  double place;
  int side;  // +1: the triangle lies on the side of larger numbers
};

// False if the edge does not cross the line at a finite place, or has no side there.
LG_HD bool crosses_line(const LineTriangle& t, int k, double line, LineCrossing* out) {
  const int a = (k + 1) % 3, b = (k + 2) % 3;
  const double sa = t.across[a], sb = t.across[b];
  if (!((sa <= line && line < sb) || (sb <= line && line < sa))) return false;
  const double height = sb - sa;
  const double at_opposite = (sb - t.across[k]) / height * t.along[a] + (t.across[k] - sa) / height * t.along[b];
  const double side = t.along[k] - at_opposite;
  if (!(side > 0 || side < 0)) return false;
  out->a = a;
  out->b = b;
  out->omega[0] = (sb - line) / height;
  out->omega[1] = (line - sa) / height;
  out->place = out->omega[0] * t.along[a] + out->omega[1] * t.along[b];
  out->side = side > 0 ? 1 : -1;
  return out->place - out->place == 0;
}

// Delta omega / (distance + eps omega): the pull of a pixel at that distance (in NDC) on an edge's end. Delta counts if
// it is positive and finite.
template <class T>
LG_HD T pull_of_pixel(T delta, T omega, T distance, T eps) {
  const T positive = delta > 0 && delta - delta == 0 ? delta : T(0);
  return positive * omega / (distance + eps * omega);
}

// The corners' places in NDC and along the lines. vertical: lines are columns. False if one is not in front of the eye.
template <class T>
LG_HD bool make_line_triangle(const T* const corner[3], double width, double height, bool vertical, double ndc[3][2],
                              LineTriangle* out) {
  for (int k = 0; k < 3; ++k) {
    const double w = corner[k][3];
    if (!(w > 0)) return false;
    ndc[k][0] = corner[k][0] / w;
    ndc[k][1] = corner[k][1] / w;
    const double column = (ndc[k][0] + 1) * (width / 2) - 0.5, row = (1 - ndc[k][1]) * (height / 2) - 0.5;
    out->along[k] = vertical ? row : column;
    out->across[k] = vertical ? column : row;
  }
  return true;
}

// The pixels that an edge could come to cross, all on one side of it.
template <class T>
struct Scan {
  int64_t begin, end;  // pixels
  int64_t near;        // the one nearest to the edge, not necessarily one of them
  int direction;       // +1: the others are farther along the line
  T gap;               // from the edge to the nearest, in pixels
  int64_t shows;       // the pixel whose colour they would take on
};

// Where a crossing lies between the pixels of a line.
template <class T>
struct EdgePlace {
  int64_t inner, outer;  // the pixels next to the edge on the triangle's side and the other; either may lie outside
  T inner_gap, outer_gap, omega[2];
  int side;
};

template <class T>
LG_HD EdgePlace<T> make_edge_place(const LineCrossing& crossing, int64_t size) {
  const int side = crossing.side;
  const double rounded = side > 0 ? ceil(crossing.place) : floor(crossing.place), last = static_cast<double>(size) + 1;
  const double bounded = rounded < -2 ? -2 : (rounded > last ? last : rounded);
  const auto inner = static_cast<int64_t>(bounded);
  return {inner,
          inner - side,
          static_cast<T>(fabs(rounded - crossing.place)),
          static_cast<T>(fabs(rounded - side - crossing.place)),
          {static_cast<T>(crossing.omega[0]), static_cast<T>(crossing.omega[1])},
          side};
}

// The pixels outside the edge, which would come to show the triangle as seen at the inner pixel; at most `limit`.
template <class T>
LG_HD Scan<T> outward_scan(const EdgePlace<T>& edge, int64_t size, int64_t limit) {
  const int64_t low = edge.inner - limit, high = edge.outer + limit;
  if (edge.side > 0) return {low > 0 ? low : 0, edge.inner, edge.outer, -1, edge.outer_gap, edge.inner};
  return {edge.outer, high < size ? high : size, edge.outer, 1, edge.outer_gap, edge.inner};
}

// The pixels [begin, end) that show the triangle, which would come to show what is seen at the outer pixel.
template <class T>
LG_HD Scan<T> inward_scan(const EdgePlace<T>& edge, int64_t begin, int64_t end, int64_t limit) {
  const int64_t low = edge.side > 0 ? edge.inner : edge.inner - limit + 1;
  const int64_t high = edge.side > 0 ? edge.inner + limit : edge.inner + 1;
  return {low > begin ? low : begin, high < end ? high : end, edge.inner, edge.side, edge.inner_gap, edge.outer};
}

// Converts the gradient of a corner's place along the line (in NDC that grows with the pixel's number) to that of x or
// y, and w, of its clip position. False if there is none.
template <class T>
LG_HD bool line_to_clip(T grad, bool vertical, double w, const double ndc[2], T* axis, T* along_w) {
  if (grad == 0 || !(grad - grad == 0)) return false;
  const double scaled = (vertical ? -static_cast<double>(grad) : static_cast<double>(grad)) / w;
  *axis = static_cast<T>(scaled);
  *along_w = -static_cast<T>(scaled * ndc[vertical ? 1 : 0]);
  return true;
}

}  // namespace lg::surface
