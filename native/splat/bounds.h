// The region of the screen in which a primitive is visible, an ellipse or a box, and its extent in a band of rows.
#pragma once

#include <cstdint>

#include "runtime/config.h"

#if !defined(__CUDACC__)
#include <cmath>
#endif

namespace lg {
namespace splat {

// At a height dy from the centre, |dy| <= half_height, the ellipse extends from
//   x + shear dy - half_width sqrt(1 - dy^2 bend)  to  x + shear dy + half_width sqrt(1 - dy^2 bend),
// furthest right at dy = tip and furthest left at dy = -tip. A box has shear = bend = tip = 0.
struct Bound {
  float x, y, half_width, half_height, shear, bend, tip, margin;
};

LG_HD Bound box_bound(double x, double y, double half_width, double half_height) {
  const double margin = 0.02 + 1e-6 * (std::fabs(x) + std::fabs(y) + half_width + half_height);
  return {static_cast<float>(x),
          static_cast<float>(y),
          static_cast<float>(half_width),
          static_cast<float>(half_height),
          0.0f,
          0.0f,
          0.0f,
          static_cast<float>(margin)};
}

// The ellipse a dx^2 + 2 b dx dy + c dy^2 <= 1 of a positive definite form.
LG_HD Bound ellipse_bound(double x, double y, double a, double b, double c) {
  const double det = a * c - b * b;
  if (!(a > 0) || !(det > 0)) return box_bound(x, y, 1e9, 1e9);
  const double shear = -b / a, half_height = std::sqrt(a / det), half_width = 1 / std::sqrt(a);
  Bound out = box_bound(x, y, std::sqrt(c / det), half_height);
  out.tip = static_cast<float>(shear * half_height * half_height / std::sqrt(c / det));
  out.half_width = static_cast<float>(half_width);
  out.shear = static_cast<float>(shear);
  out.bend = static_cast<float>(det / a);
  return out;
}

LG_HD float clamped(float value, float low, float high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

// The pixel columns [*first, *last] whose centres the bound may contain in rows with centres from y0 to y1, limited to
// [low, high]. False if there are none.
LG_HD bool columns_of(const Bound& bound, float y0, float y1, int low, int high, int* first, int* last) {
  const float d0 = y0 - bound.y - bound.margin, d1 = y1 - bound.y + bound.margin, h = bound.half_height;
  if (!(d0 <= h && d1 >= -h)) return false;
  const float right = clamped(clamped(bound.tip, d0, d1), -h, h), left = clamped(clamped(-bound.tip, d0, d1), -h, h);
  const float bulge_right = 1 - right * right * bound.bend, bulge_left = 1 - left * left * bound.bend;
  float to = bound.x + bound.margin + bound.shear * right - 0.5f;
  float from = bound.x - bound.margin + bound.shear * left - 0.5f;
  to += bound.half_width * std::sqrt(bulge_right > 0 ? bulge_right : 0.0f);
  from -= bound.half_width * std::sqrt(bulge_left > 0 ? bulge_left : 0.0f);
  if (!(to >= static_cast<float>(low) && from <= static_cast<float>(high))) return false;
  *first = from <= static_cast<float>(low) ? low : static_cast<int>(std::ceil(from));
  *last = to >= static_cast<float>(high) ? high : static_cast<int>(std::floor(to));
  return *first <= *last;
}

// The tiles of Side x Side pixels that a bound meets, one row of tiles at a time.
template <int Side>
class TileRows {
 public:
  LG_HD TileRows(const Bound& bound, int width, int height) : bound_(bound), width_(width), height_(height) {
    const float top = bound.y - bound.half_height - bound.margin - 0.5f;
    const float bottom = bound.y + bound.half_height + bound.margin - 0.5f;
    if (!(bottom >= 0 && top <= static_cast<float>(height))) return;
    row_ = (top <= 0 ? 0 : static_cast<int>(top) / Side) - 1;
    last_row_ = (bottom >= static_cast<float>(height - 1) ? height - 1 : static_cast<int>(bottom)) / Side;
  }

  // Moves to the next row that has any, in columns [*first, *last]. False if there is none.
  LG_HD bool next(int* first, int* last) {
    while (row_ < last_row_) {
      if (columns(bound_, width_, height_, ++row_, first, last)) return true;
    }
    return false;
  }
  LG_HD int row() const { return row_; }
  // The number of remaining rows.
  LG_HD int left() const { return last_row_ - row_; }

  // The tiles of one row that a bound meets, in columns [*first, *last]. False if there are none.
  static LG_HD bool columns(const Bound& bound, int width, int height, int row, int* first, int* last) {
    const int y0 = row * Side, y1 = (y0 + Side < height ? y0 + Side : height) - 1;
    if (!columns_of(bound, static_cast<float>(y0) + 0.5f, static_cast<float>(y1) + 0.5f, 0, width - 1, first, last)) {
      return false;
    }
    *first /= Side;
    *last /= Side;
    return true;
  }

 private:
  Bound bound_;
  int width_, height_, row_ = -1, last_row_ = -1;
};

}  // namespace splat
}  // namespace lg
