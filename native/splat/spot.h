// Discs and squares, in pixels.
#pragma once

#include <cmath>

#include "splat/bounds.h"
#include "splat/footprint.h"

namespace lg {
namespace splat {

// 1 - distance^2 / r^2, with the Euclidean distance (disc) or the maximum norm (square).
template <class T, bool Square>
struct Spot {
  static constexpr int position = 2, shape = 1, sums = 3;
  static constexpr bool needs_plane = false;
  static constexpr int extras = 0;
  struct Item {
    T x, y, r, inverse_square, depth;
  };

  static LG_HD bool bound(const T* xy, const T* r, T opacity, T, Bound* out) {
    const double radius = *r;
    if (!(radius > 0) || !(opacity > 0) || !std::isfinite(radius)) return false;
    const double k = 1 / (radius * radius);
    *out = Square ? box_bound(double(xy[0]), double(xy[1]), radius, radius)
                  : ellipse_bound(double(xy[0]), double(xy[1]), k, 0, k);
    return true;
  }
  static LG_HD Item load(const T* xy, const T* r, T depth, const Window& window) {
    const T inverse_square = T(1) / (*r * *r), largest = sizeof(T) == 4 ? T(1e37) : T(1e300);
    const bool fits = inverse_square < largest;  // otherwise a dot that only a pixel exactly at its centre shows
    return {T(double(xy[0]) - window.x0), T(double(xy[1]) - window.y0), *r, fits ? inverse_square : largest, depth};
  }
  template <class V>
  static LG_HD Sample<V> sample(const Item& item, const Pixels<V>& pixels) {
    const V dx = pixels.left - item.x, dy = pixels.top - item.y;
    const V distance2 = Square ? maximum(dx * dx, dy * dy) : dx * dx + dy * dy;
    const V height = T(1) - distance2 * item.inverse_square;
    return {T(0) < height, height, item.depth};
  }
  template <class V>
  static LG_HD void pull(const Item& item, const Pixels<V>& pixels, const Sample<V>& at, const V& grad_height, const V&,
                         V* sum, V*) {
    V gx = grad_height * (pixels.left - item.x), gy = grad_height * (pixels.top - item.y);
    if (Square) {  // the longer side decides; if both are equal, each gets half
      const V dx = pixels.left - item.x, dy = pixels.top - item.y, x2 = dx * dx, y2 = dy * dy;
      const V zero = T(0), half = T(0.5), one = T(1);
      gx = gx * select(y2 < x2, one, select(x2 < y2, zero, half));
      gy = gy * select(x2 < y2, one, select(y2 < x2, zero, half));
    }
    sum[0] = sum[0] + gx;
    sum[1] = sum[1] + gy;
    sum[2] = sum[2] + grad_height * (T(1) - at.height);
  }
  static LG_HD void finish(const Item& item, const T* sum, T* out) {
    out[0] = 2 * item.inverse_square * sum[0];
    out[1] = 2 * item.inverse_square * sum[1];
    out[2] = 2 * sum[2] / item.r;
  }
};

}  // namespace splat
}  // namespace lg
