// A gradient for splats whose coverage is a step: pixels pull at their centres, or push, the nearer the harder.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "splat/lanes.h"

namespace lg {
namespace splat {

constexpr double least_distance2 = 1e-10;  // square pixels

template <class T>
inline constexpr T lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// The sum over the pixels p within `radius` of g_p (p - xy) / |p - xy|^2; grad_alpha [height, width].
template <class T>
void pull_visibility(const T* xy, T radius, const T* grad_alpha, int64_t height, int64_t width, T* out) {
  const double x = xy[0], y = xy[1], r = radius;
  double sum_x = 0, sum_y = 0;
  if (r > 0 && std::isfinite(x + y + r)) {
    const auto within = [](double place, double side) {
      return static_cast<int64_t>(std::min(std::max(std::ceil(place - 0.5), 0.0), side));
    };
    const int64_t end = within(y + r, double(height));
    for (int64_t row = within(y - r, double(height)); row < end; ++row) {
      const double dy = double(row) + 0.5 - y, half = std::sqrt(std::max(r * r - dy * dy, 0.0));
      const int64_t first = within(x - half, double(width)), last = within(x + half, double(width));
      const T* g = grad_alpha + row * width;
      const T floor = T(dy * dy + least_distance2);
      Lanes<T> along(T(0)), whole(T(0));
      int64_t column = first;
      for (; column + 16 <= last; column += 16) {
        const Lanes<T> dx = Lanes<T>(T(double(column) + 0.5 - x)) + load(lane_numbers<T>);
        const Lanes<T> weight = load(g + column) / (dx * dx + Lanes<T>(floor));
        along = along + weight * dx;
        whole = whole + weight;
      }
      double rest_along = 0, rest_whole = 0;
      for (; column < last; ++column) {
        const T dx = T(double(column) + 0.5 - x), weight = g[column] / (dx * dx + floor);
        rest_along += double(weight * dx);
        rest_whole += double(weight);
      }
      sum_x += double(sum(along)) + rest_along;
      sum_y += (double(sum(whole)) + rest_whole) * dy;
    }
  }
  out[0] = T(sum_x), out[1] = T(sum_y);
}

}  // namespace splat
}  // namespace lg
