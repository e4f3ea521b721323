// A piece of a visible outline within one pixel, and what it adds to the pixel.
//
// The average colour of a pixel's square is the colour at its centre plus the jumps met on the way from there to each
// point: first up or down the column through the centre, then left or right. A piece therefore adds its jump times a
// signed area: the area beyond the piece on that way, up to the side of the pixel. Moving the piece changes the average
// by the jump times the area that it sweeps, which is the derivative of that area.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::surface {

// What defines an outline's line. Edge: the half-edge `first`, with second = of_edge. Intersection: the triangles
// `first` and `second`. Cut by the near or far plane: the triangle `first`. A piece without a line: first = -1.
constexpr int32_t of_edge = -1, of_near_plane = -2, of_far_plane = -3;

// The size of an area, and the integrals of x and y over it.
struct Area {
  double size, x, y;

  LG_HD void add(const Area& other, double factor) {
    size += factor * other.size;
    x += factor * other.x;
    y += factor * other.y;
  }
};

struct Piece {
  int32_t pixel;        // in the view, row by row
  int32_t plus, minus;  // the triangles visible on either side, -1 for the background
  int32_t first, second;
  double x, y;    // its middle, relative to the pixel's centre
  Area beyond;    // the image gains this times (colour on the plus side - colour on the minus side)
  double length;  // in pixels
};

// The area between a part of a straight line, from (x0, y0) to (x1, y1), and the pixel's side at x = `side`.
LG_HD Area area_beside(double x0, double y0, double x1, double y1, double side) {
  // Simpson's rule along y is exact for polynomials up to degree two.
  const double mx = 0.5 * (x0 + x1), my = 0.5 * (y0 + y1), step = (y1 > y0 ? y1 - y0 : y0 - y1) / 6;
  const double w0 = side - x0, wm = side - mx, w1 = side - x1, sign = side < 0 ? -1 : 1;
  const auto moment = [&](double x) { return 0.5 * (side * side - x * x); };
  return {sign * step * (w0 + 4 * wm + w1), sign * step * (moment(x0) + 4 * moment(mx) + moment(x1)),
          sign * step * (w0 * y0 + 4 * wm * my + w1 * y1)};
}

// The signed area beyond a piece from (x0, y0) to (x1, y1), relative to the pixel's centre. Its plus side lies at (nx,
// ny). An end counts as left of the centre's column if x < 0, so of two pieces that meet there, exactly one crosses it.
LG_HD Area area_beyond(double x0, double y0, double x1, double y1, double nx, double ny) {
  double left_x = x0, left_y = y0, right_x = x1, right_y = y1;
  if (x1 < x0) {
    left_x = x1, left_y = y1, right_x = x0, right_y = y0;
  }
  const bool crosses = left_x < 0 && right_x >= 0;
  const double at = crosses && right_x > left_x ? -left_x / (right_x - left_x) : 0;
  const double y = left_y + at * (right_y - left_y);  // where it meets the column
  const double towards = nx > 0 ? 1 : -1;             // the plus side lies to the right
  Area area = {0, 0, 0};
  if (left_x < 0) {  // moving left from the column, to the side at -1/2
    area.add(area_beside(left_x, left_y, crosses ? 0 : right_x, crosses ? y : right_y, -0.5), -towards);
  }
  if (right_x >= 0) {  // moving right
    area.add(area_beside(crosses ? 0 : left_x, crosses ? y : left_y, right_x, right_y, 0.5), towards);
  }
  if (crosses) {  // moving up or down the column: everything beyond, across the whole pixel
    const double down = ny > 0 ? 1 : -1, side = y >= 0 ? 0.5 : -0.5, height = side - y;
    area.add({height, 0, 0.5 * height * (side + y)}, down);
  }
  return area;
}

}  // namespace lg::surface
