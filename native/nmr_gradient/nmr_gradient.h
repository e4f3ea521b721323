// Where a triangle's edges cross a line of pixel centres, and how strongly the pixels along the line pull at them
// (Kato, Ushiku and Harada 2018). Geometry is float64 whatever the tensors' type: it makes decisions.
#pragma once

#include <cstdint>

#include "common/config.h"

namespace lg {

// A triangle in the coordinates of the lines: along them in pixels, with pixel i at i, and line r at r across.
struct LineTriangle {
  double along[3], across[3];
};

// Edge k, opposite to corner k, and line r.
struct LineCrossing {
  int a, b;         // the edge's corners
  double omega[2];  // how far the crossing moves along the line with either
  double place;
  int side;  // +1: the triangle lies on the side of the larger numbers
};

// False if the edge does not cross the line at a finite place, or the triangle has no side there.
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

// Delta omega / (distance + eps omega), what a pixel at that distance in NDC pulls an edge's end with. Delta counts
// where it is positive, and finite.
template <class T>
LG_HD T pull_of_pixel(T delta, T omega, T distance, T eps) {
  const T positive = delta > 0 && delta - delta == 0 ? delta : T(0);
  return positive * omega / (distance + eps * omega);
}

}  // namespace lg
