// Gaussian surfels: flat discs intersected by each pixel's ray, and never narrower on the screen than a low-pass
// filter.
//
// Near the point (x, y) where the centre is seen, a pixel's offset (dx, dy) and the point (u, v) on the surfel, in
// standard deviations, are related by
//   (dx, dy) (1 + g u + h v) = (a u + b v, c u + d v),   depth = z + G u + H v.
// The shape of a surfel is (a, b, c, d, g, h, G, H); g and h are 0 for orthographic cameras, G / z and H / z
// otherwise.
#pragma once

#include <cmath>

#include "math/exp.h"
#include "splat/bounds.h"
#include "splat/footprint.h"

namespace lg {
namespace splat {

constexpr double low_pass = 0.5;  // the variance of the filter on the screen, square pixels

// The ellipse with centre (x, y) and covariance (aa, ab, bb), and the disc of a radius around the origin.
LG_HD Bound bound_with_disc(double x, double y, double aa, double ab, double bb, double radius, double shift_x,
                            double shift_y) {
  const double least = (radius + std::sqrt(x * x + y * y)) * (radius + std::sqrt(x * x + y * y));
  const double mean = 0.5 * (aa + bb), half = std::sqrt(0.25 * (aa - bb) * (aa - bb) + ab * ab);
  if (!(mean - half >= least)) {  // widen whatever is narrower than the disc
    const double low = mean - half, stretch = mean + half > least ? (mean + half - least) / (2 * half) : 0;
    aa = least + stretch * (aa - low);
    ab = stretch * ab;
    bb = least + stretch * (bb - low);
  }
  const double det = aa * bb - ab * ab;
  return ellipse_bound(shift_x + x, shift_y + y, bb / det, -ab / det, aa / det);
}

template <class T>
struct Surfel {
  static constexpr int position = 2, shape = 8, sums = 14;
  static constexpr bool needs_plane = false;
  static constexpr int extras = 2;  // further channels of the image: distortion of depth, depth at the median
  struct Item {
    T x, y, z;
    T u_x, u_y, v_x, v_y;  // the inverse of (a, b; c, d)
    T s_x, s_y, e_x, e_y;  // (g, h) and (G, H) times that
    T g, h, G, H;
    bool flat;  // edge-on or without extent: only the low-pass filter
  };

  static LG_HD bool bound(const T* xy, const T* shape, T opacity, T min_alpha, Bound* out) {
    const double a = shape[0], b = shape[1], c = shape[2], d = shape[3], g = shape[4], h = shape[5];
    const double low = min_alpha > T(1e-12) ? double(min_alpha) : 1e-12, reach = 2 * std::log(double(opacity) / low);
    const double finite = reach + a + b + c + d + g + h + double(shape[6]) + double(shape[7]);
    if (!(reach >= 0) || !std::isfinite(finite)) return false;
    // The image of a disc of squared radius `reach` is an ellipse if the whole disc is in front of the camera.
    const double front = 1 - reach * (g * g + h * h);
    if (!(front > 1e-6)) {
      *out = box_bound(double(xy[0]), double(xy[1]), 1e9, 1e9);
      return true;
    }
    const double k = reach / front, x = -k * (a * g + b * h), y = -k * (c * g + d * h);
    *out = bound_with_disc(x, y, k * (a * a + b * b) + x * x, k * (a * c + b * d) + x * y, k * (c * c + d * d) + y * y,
                           std::sqrt(reach * low_pass), double(xy[0]), double(xy[1]));
    return true;
  }

  static LG_HD Item load(const T* xy, const T* shape, T depth, const Window& window) {
    const double a = shape[0], b = shape[1], c = shape[2], d = shape[3];
    const double det = a * d - b * c, sides = std::sqrt((a * a + c * c) * (b * b + d * d));
    Item item;
    item.x = T(double(xy[0]) - window.x0), item.y = T(double(xy[1]) - window.y0), item.z = depth;
    item.g = shape[4], item.h = shape[5], item.G = shape[6], item.H = shape[7];
    item.flat = !(std::fabs(det) > 1e-12 * sides);
    item.u_x = item.v_y = T(1e18), item.u_y = item.v_x = 0;  // so that every ray passes far away
    item.s_x = item.s_y = item.e_x = item.e_y = 0;
    if (item.flat) return item;
    const double ux = d / det, uy = -b / det, vx = -c / det, vy = a / det;
    item.u_x = T(ux), item.u_y = T(uy), item.v_x = T(vx), item.v_y = T(vy);
    item.s_x = T(double(item.g) * ux + double(item.h) * vx), item.s_y = T(double(item.g) * uy + double(item.h) * vy);
    item.e_x = T(double(item.G) * ux + double(item.H) * vx), item.e_y = T(double(item.G) * uy + double(item.H) * vy);
    return item;
  }

  // Where a pixel's ray meets the surfel's plane; all zero except dx and dy where the low-pass filter is nearer.
  template <class V>
  struct Cut {
    MaskOf<V> met;
    V dx, dy, k, u, v, rise;
  };
  template <class V>
  static LG_HD Cut<V> cut(const Item& item, const Pixels<V>& pixels) {
    const V zero = T(0), one = T(1);
    Cut<V> c;
    c.dx = pixels.left - item.x, c.dy = pixels.top - item.y;
    const V rest = one - (item.s_x * c.dx + item.s_y * c.dy);
    const MaskOf<V> before = zero < rest;
    c.k = one / select(before, rest, one);
    c.u = (item.u_x * c.dx + item.u_y * c.dy) * c.k;
    c.v = (item.v_x * c.dx + item.v_y * c.dy) * c.k;
    c.rise = (item.e_x * c.dx + item.e_y * c.dy) * c.k;
    const V nearest = T(1 / low_pass) * (c.dx * c.dx + c.dy * c.dy);
    c.met = before & (zero < item.z + c.rise) & (c.u * c.u + c.v * c.v <= nearest);
    c.k = only(c.met, c.k);
    c.u = only(c.met, c.u);
    c.v = only(c.met, c.v);
    c.rise = only(c.met, c.rise);
    return c;
  }

  template <class V>
  static LG_HD Sample<V> sample(const Item& item, const Pixels<V>& pixels) {
    const Cut<V> c = cut(item, pixels);
    const V screen = T(1 / low_pass) * (c.dx * c.dx + c.dy * c.dy);
    const V rho = select(c.met, c.u * c.u + c.v * c.v, screen);
    return {T(0) <= rho, exponential(T(-0.5) * rho), item.z + c.rise};
  }

  template <class V>
  static LG_HD void pull(const Item& item, const Pixels<V>& pixels, const Sample<V>& at, const V& grad_height,
                         const V& grad_depth, V* sum, V*) {
    const Cut<V> c = cut(item, pixels);
    const V grad = T(0) - grad_height * at.height;  // of rho / 2
    const V on_screen = select(c.met, T(0), grad);
    const V of_u = grad * c.u * c.k, of_v = grad * c.v * c.k, of_rise = grad_depth * c.k;
    const V of_rest = c.k * (grad * (c.u * c.u + c.v * c.v) + grad_depth * c.rise);
    const V parts[5] = {of_u, of_v, of_rest, of_rise, on_screen};
    for (int i = 0; i < 5; ++i) {
      if (i < 4) sum[i] = sum[i] + parts[i];
      sum[4 + 2 * i] = sum[4 + 2 * i] + parts[i] * c.dx;
      sum[5 + 2 * i] = sum[5 + 2 * i] + parts[i] * c.dy;
    }
  }

  static LG_HD void finish(const Item& item, const T* sum, T* out) {
    const T screen = T(1 / low_pass);
    out[0] = -screen * sum[12];
    out[1] = -screen * sum[13];
    for (int i = 2; i < 10; ++i) out[i] = 0;
    if (item.flat) return;
    out[0] -= item.u_x * sum[0] + item.v_x * sum[1] + item.s_x * sum[2] + item.e_x * sum[3];
    out[1] -= item.u_y * sum[0] + item.v_y * sum[1] + item.s_y * sum[2] + item.e_y * sum[3];
    const T *u = sum + 4, *v = sum + 6, *s = sum + 8, *e = sum + 10;  // gradients of (u_x, u_y) and so on
    out[6] = item.u_x * s[0] + item.u_y * s[1];
    out[7] = item.v_x * s[0] + item.v_y * s[1];
    out[8] = item.u_x * e[0] + item.u_y * e[1];
    out[9] = item.v_x * e[0] + item.v_y * e[1];
    T k[4];  // of the inverse, including the effect of (g, h) and (G, H)
    for (int i = 0; i < 2; ++i) {
      k[i] = u[i] + item.g * s[i] + item.G * e[i];
      k[2 + i] = v[i] + item.h * s[i] + item.H * e[i];
    }
    // - K' k K' with K the inverse
    const T p[4] = {item.u_x * k[0] + item.v_x * k[2], item.u_x * k[1] + item.v_x * k[3],
                    item.u_y * k[0] + item.v_y * k[2], item.u_y * k[1] + item.v_y * k[3]};
    out[2] = -(p[0] * item.u_x + p[1] * item.u_y);
    out[3] = -(p[0] * item.v_x + p[1] * item.v_y);
    out[4] = -(p[2] * item.u_x + p[3] * item.u_y);
    out[5] = -(p[2] * item.v_x + p[3] * item.v_y);
  }
};

}  // namespace splat
}  // namespace lg
