// The pairs of neighbouring pixels that a silhouette edge passes between: those that antialiasing has to examine.
//
// An edge that is steep on the screen is followed from row to row and gives horizontal pairs; a flat one is followed
// from column to column and gives vertical pairs; one at 45 degrees does both.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/config.h"
#include "surface/antialias.h"

namespace lg::surface {

// The rows (or columns) that an edge runs over, and where it crosses them.
struct LineSpan {
  int64_t first, last;           // empty where first > last
  double origin, across, slope;  // crosses line `origin` at `across`, and moves by `slope` from line to line
};

// Crossings count up to 1/16 pixel beyond a pair's ends; the rest allows for rounding.
constexpr double pair_reach = crossing_tolerance + 1e-2;

LG_HD LineSpan make_line_span(double p, double q, double across, double slope, int64_t lines) {
  constexpr double end = 1e-3;
  const double least = (p < q ? p : q) - end, most = (p < q ? q : p) + end;
  const double low = least > 0 ? least : 0, limit = static_cast<double>(lines - 1), high = most < limit ? most : limit;
  if (!(low <= high)) return {1, 0, 0, 0, 0};
  return {static_cast<int64_t>(std::ceil(low)), static_cast<int64_t>(std::floor(high)), p, across, slope};
}

// The pairs (place, place + 1), for place from `first` to `last`, that the edge passes between on a line.
struct PlaceRange {
  int64_t first, last;
};

LG_HD PlaceRange places_on_line(const LineSpan& span, int64_t line, int64_t places) {
  const double along = span.slope * (static_cast<double>(line) - span.origin);
  const double crossing = span.slope - span.slope == 0 ? span.across + along : span.across;
  const double limit = static_cast<double>(places);
  if (!(crossing >= -pair_reach && crossing <= limit - 1 + pair_reach)) return {1, 0};
  const double low = std::ceil(crossing - 1 - pair_reach), high = std::floor(crossing + pair_reach);
  return {static_cast<int64_t>(low > 0 ? low : 0), static_cast<int64_t>(high < limit - 2 ? high : limit - 2)};
}

// Both ways of following the edge from a to b, given in clip space.
struct EdgeSpans {
  LineSpan rows, columns;
};

template <class T>
LG_HD EdgeSpans make_edge_spans(const T* a, const T* b, int64_t height, int64_t width) {
  EdgeSpans spans = {{1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}};
  if (!(a[3] > 0)) {
    const T* other = a;
    a = b;
    b = other;
  }
  if (!(a[3] > 0)) return spans;
  // An end behind the camera is replaced by a point of the edge just in front of it.
  double bx = b[0], by = b[1], bw = b[3];
  if (!(b[3] > 0)) {
    const double t = (1 - 1e-9) * a[3] / (static_cast<double>(a[3]) - b[3]);
    bx = a[0] + t * (bx - a[0]), by = a[1] + t * (by - a[1]), bw = a[3] + t * (bw - a[3]);
  }
  const double half_width = static_cast<double>(width) / 2, half_height = static_cast<double>(height) / 2;
  // In pixels, with pixel centres at whole numbers.
  const double px = (static_cast<double>(a[0]) / a[3] + 1) * half_width - 0.5;
  const double py = (1 - static_cast<double>(a[1]) / a[3]) * half_height - 0.5;
  const double qx = (bx / bw + 1) * half_width - 0.5;
  const double qy = (1 - by / bw) * half_height - 0.5;
  const double dx = qx - px, dy = qy - py;
  if (!(dx - dx == 0 && dy - dy == 0)) return spans;  // not a line in this image
  constexpr double slack = 1 - 1e-6;
  // Count from the nearer end: close to the eye, w approaches zero, and the other end can be so far away that counting
  // from there would lose all digits.
  const bool from_q = magnitude(qx) + magnitude(qy) < magnitude(px) + magnitude(py);
  const double x0 = from_q ? qx : px, y0 = from_q ? qy : py, x1 = from_q ? px : qx, y1 = from_q ? py : qy;
  if (magnitude(dy) >= slack * magnitude(dx)) spans.rows = make_line_span(y0, y1, x0, dx / dy, height);
  if (magnitude(dx) >= slack * magnitude(dy)) spans.columns = make_line_span(x0, x1, y0, dy / dx, width);
  return spans;
}

}  // namespace lg::surface
