// Gaussians in two dimensions, in pixels.
#pragma once

#include <cmath>

#include "math/exp.h"
#include "splat/bounds.h"
#include "splat/footprint.h"

namespace lg {
namespace splat {

// exp(-s), s = (a dx^2 + c dy^2) / 2 + b dx dy.
template <class T>
struct Conic {
  static constexpr int position = 2, shape = 3, sums = 5;
  static constexpr bool needs_plane = false;
  static constexpr int extras = 0;
  struct Item {
    T x, y, a, b, c, depth;
  };

  // The bound within which opacity * height reaches `min_alpha`. False if that is nowhere.
  static LG_HD bool bound(const T* xy, const T* abc, T opacity, T min_alpha, Bound* out) {
    const double a = abc[0], b = abc[1], c = abc[2], low = min_alpha > T(1e-12) ? double(min_alpha) : 1e-12;
    const double reach = 2 * std::log(double(opacity) / low);  // s < reach / 2
    if (!(reach >= 0) || !std::isfinite(reach + a + b + c)) return false;
    if (!(a * c - b * b > 0) || !(a > 0)) {
      *out = box_bound(double(xy[0]), double(xy[1]), 1e9, 1e9);  // not an ellipse: it could be anywhere
      return true;
    }
    const double scale = 1 / (reach > 1e-9 ? reach : 1e-9);
    *out = ellipse_bound(double(xy[0]), double(xy[1]), a * scale, b * scale, c * scale);
    return true;
  }
  static LG_HD Item load(const T* xy, const T* abc, T depth, const Window& window) {
    return {T(double(xy[0]) - window.x0), T(double(xy[1]) - window.y0), abc[0], abc[1], abc[2], depth};
  }
  template <class V>
  static LG_HD Sample<V> sample(const Item& item, const Pixels<V>& pixels) {
    const V dx = pixels.left - item.x, dy = pixels.top - item.y;
    const V s = T(0.5) * (item.a * dx * dx + item.c * dy * dy) + item.b * dx * dy;
    return {T(0) <= s, exponential(T(0) - s), item.depth};
  }
  template <class V>
  static LG_HD void pull(const Item& item, const Pixels<V>& pixels, const Sample<V>& at, const V& grad_height, const V&,
                         V* sum, V*) {
    const V dx = pixels.left - item.x, dy = pixels.top - item.y, g = grad_height * at.height;
    const V gx = g * dx, gy = g * dy;
    sum[0] = sum[0] + gx;
    sum[1] = sum[1] + gy;
    sum[2] = sum[2] + gx * dx;
    sum[3] = sum[3] + gx * dy;
    sum[4] = sum[4] + gy * dy;
  }
  static LG_HD void finish(const Item& item, const T* sum, T* out) {
    out[0] = item.a * sum[0] + item.b * sum[1];
    out[1] = item.b * sum[0] + item.c * sum[1];
    out[2] = T(-0.5) * sum[2];
    out[3] = -sum[3];
    out[4] = T(-0.5) * sum[4];
  }
};

}  // namespace splat
}  // namespace lg
