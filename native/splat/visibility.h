// A gradient for splats whose coverage is a step function: pixels pull or push their centres, the more strongly the
// nearer they are.
//
// It is the sum over the pixels p within `radius` of xy of g_p (p - xy) / |p - xy|^2. This header selects these pixels.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/config.h"

namespace lg {
namespace splat {

constexpr double min_distance2 = 1e-10;  // square pixels

// The first row or column, out of `side`, whose centre lies at `place` or after it.
LG_HD int64_t first_from(double place, double side) {
  const double first = std::ceil(place - 0.5);
  return static_cast<int64_t>(first > 0 ? (first < side ? first : side) : 0.0);
}

struct Span {
  int64_t begin, end;
};

struct Reach {
  double x, y, radius;

  LG_HD bool any() const { return radius > 0 && std::isfinite(x + y + radius); }
  LG_HD Span rows(int64_t height) const {
    return {first_from(y - radius, double(height)), first_from(y + radius, double(height))};
  }
  // The columns of a row whose centres are dy below xy.
  LG_HD Span columns(double dy, int64_t width) const {
    const double square = radius * radius - dy * dy, half = std::sqrt(square > 0 ? square : 0.0);
    return {first_from(x - half, double(width)), first_from(x + half, double(width))};
  }
};

}  // namespace splat
}  // namespace lg
