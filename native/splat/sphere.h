// Spheres in the world.
#pragma once

#include <cmath>

#include "splat/bounds.h"
#include "splat/camera.h"
#include "splat/footprint.h"

namespace lg {
namespace splat {

// A sphere whose projected radius is below one pixel has height 1 at the pixel that contains its centre.
template <class T>
struct TinySphere {
  T x, y;  // its centre, from the tile's corner
  bool tiny;

  template <class V>
  LG_HD MaskOf<V> inside(const Pixels<V>& pixels) const {
    const V dx = pixels.left - x, dy = y - pixels.top;
    return (T(-0.5) < dx) & (dx <= T(0.5)) & (T(-0.5) < dy) & (dy <= T(0.5));
  }
};

// Spheres smaller than this show only in the pixel that contains their centre. Its square is finite.
template <class T>
constexpr double max_inverse_radius = sizeof(T) == 4 ? 1e18 : 1e150;

template <class V>
LG_HD V divided(const MaskOf<V>& where, const V& a, const V& b) {
  return only(where, a / select(where, b, V(1)));
}

// Perspective view. With c the centre, t = |c|, r the ray and theta the angle between them, everything is a function of
// t, of |c x r| = t sin theta, which is linear in the pixel before normalisation and so loses no digits, and of R.
template <class T, bool Orthographic>
struct Sphere {
  static constexpr int position = 3, shape = 1, sums = 5;
  static constexpr bool needs_plane = true;
  static constexpr int extras = 0;
  struct Item {
    // Perspective: c x q at the anchor and its steps; orthographic: the offset from the pixel. The anchor is the place
    // where the centre is visible (there the value is 0, so no digits are lost nearby) or, if it is not visible, the
    // tile's corner.
    T anchor_x, anchor_y, a, b, c, a_step, b_step, c_step_x, c_step_y;
    T centre[3], t, radius, inverse_radius;
    TinySphere<T> dot;
  };

  static LG_HD double front(const double* centre, double radius) {
    const double t = std::sqrt(centre[0] * centre[0] + centre[1] * centre[1] + centre[2] * centre[2]);
    return (Orthographic ? centre[2] : t) - radius;
  }
  static LG_HD bool is_tiny(const double* centre, double radius, const Camera& camera) {
    return centre[2] > 0 && radius * std::fabs(camera.fx) < (Orthographic ? 1 : centre[2]);
  }
  static LG_HD bool bound(const double* centre, double radius, const Camera& camera, Bound* out) {
    const double X = centre[0], Y = centre[1], Z = centre[2], scale = Orthographic ? 1 : Z;
    if (is_tiny(centre, radius, camera)) {
      *out = box_bound(camera.cx + camera.fx * X / scale, camera.cy - camera.fy * Y / scale, 1.5,
                       1.0 + std::fabs(camera.fy / camera.fx));
      return true;
    }
    if (Orthographic) {
      const double kx = 1 / (camera.fx * radius), ky = 1 / (camera.fy * radius);
      *out = ellipse_bound(camera.cx + camera.fx * X, camera.cy - camera.fy * Y, kx * kx, 0, ky * ky);
      return true;
    }
    // The pixels with |c - t r| < R are those in a cone around c, whose section with the image plane may be an ellipse.
    const double t2 = X * X + Y * Y + Z * Z, cosine = 1 - 0.5 * radius * radius / t2, k2 = t2 * cosine * cosine;
    const double rho2 = t2 - k2, reach = Z * Z - rho2;
    if (Z < 0 && reach >= 0) return false;  // all behind
    if (!(Z > 0) || !(reach > 1e-6 * t2)) {
      *out = box_bound(camera.cx, camera.cy, 1e9, 1e9);
      return true;
    }
    const double level = reach / (rho2 * k2), kx = 1 / camera.fx, ky = 1 / camera.fy;
    *out = ellipse_bound(camera.cx + camera.fx * X * Z / reach, camera.cy - camera.fy * Y * Z / reach,
                         (k2 - X * X) * level * kx * kx, X * Y * level * kx * ky, (k2 - Y * Y) * level * ky * ky);
    return true;
  }

  static LG_HD Item load(const double* c, double radius, const Camera& camera, const Window& window) {
    Item item;
    const double t = std::sqrt(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]), scale = Orthographic ? 1 : c[2];
    const bool seen = Orthographic || c[2] > 0.05 * t;
    const double px = seen ? camera.cx + camera.fx * c[0] / scale : window.x0;
    const double py = seen ? camera.cy - camera.fy * c[1] / scale : window.y0;
    const double x = (px - camera.cx) / camera.fx, y = (camera.cy - py) / camera.fy;
    const double dx = 1 / camera.fx, dy = -1 / camera.fy;  // per pixel rightwards, downwards
    item.anchor_x = item.dot.x = T(px - window.x0), item.anchor_y = item.dot.y = T(py - window.y0);
    item.a = item.b = item.c = item.c_step_x = item.c_step_y = 0;
    if (Orthographic) {
      item.a_step = T(-dx), item.b_step = T(-dy);
    } else {
      if (!seen) item.a = T(c[1] - c[2] * y), item.b = T(c[2] * x - c[0]), item.c = T(c[0] * y - c[1] * x);
      item.a_step = T(-c[2] * dy), item.b_step = T(c[2] * dx);
      item.c_step_x = T(-c[1] * dx), item.c_step_y = T(c[0] * dy);
    }
    item.t = T(Orthographic ? c[2] : t);
    for (int k = 0; k < 3; ++k) item.centre[k] = T(c[k]);
    item.radius = T(radius);
    item.inverse_radius = T(1 / radius < max_inverse_radius<T> ? 1 / radius : max_inverse_radius<T>);
    item.dot.tiny = is_tiny(c, radius, camera) && seen;
    return item;
  }

  // The vector whose squared length is the ray's squared distance from the centre.
  template <class V>
  static LG_HD void across(const Item& item, const Pixels<V>& pixels, V* a, V* b, V* c) {
    const V left = pixels.left - item.anchor_x, top = pixels.top - item.anchor_y;
    if (Orthographic) {
      *a = item.a_step * left;
      *b = item.b_step * top;
      *c = T(0);
    } else {
      *a = (item.a + item.a_step * top) * pixels.inverse_length;
      *b = (item.b + item.b_step * left) * pixels.inverse_length;
      *c = (item.c + item.c_step_x * left + item.c_step_y * top) * pixels.inverse_length;
    }
  }
  template <class V>
  static LG_HD V along(const Item& item, const Pixels<V>& pixels) {
    if (Orthographic) return item.centre[2];
    return (item.centre[0] * pixels.x + item.centre[1] * pixels.y + item.centre[2]) * pixels.inverse_length;
  }
  // The distance that determines the height.
  template <class V>
  static LG_HD V rim_distance(const Item& item, const V& square, const V& u) {
    return Orthographic ? root(square) : root(2 * item.t * square / (item.t + maximum(u, T(0))));
  }

  template <class V>
  static LG_HD Sample<V> sample(const Item& item, const Pixels<V>& pixels) {
    V a, b, c;
    across(item, pixels, &a, &b, &c);
    const V square = a * a + b * b + c * c, u = along(item, pixels), zero = T(0);
    Sample<V> out;
    out.height = T(1) - rim_distance(item, square, u) * item.inverse_radius;
    out.reached = zero < out.height;
    if (!Orthographic) out.reached = out.reached & (zero < u);
    out.depth = u - root(maximum(item.radius * item.radius - square, zero));
    if (LG_UNLIKELY(item.dot.tiny)) {
      const MaskOf<V> inside = item.dot.inside(pixels);
      out.height = select(inside, T(1), out.height);
      out.reached = out.reached | inside;
    }
    return out;
  }

  // pixel: three sums per pixel for the gradient of its ray, or null.
  template <class V>
  static LG_HD void pull(const Item& item, const Pixels<V>& pixels, const Sample<V>&, const V& grad_height,
                         const V& grad_depth, V* sum, V* pixel) {
    V a, b, c;
    across(item, pixels, &a, &b, &c);
    const V square = a * a + b * b + c * c, u = along(item, pixels), zero = T(0);
    const V rim = rim_distance(item, square, u), half_chord2 = item.radius * item.radius - square;
    const V half_chord = root(maximum(half_chord2, zero));
    V g = grad_height;
    if (LG_UNLIKELY(item.dot.tiny)) g = select(item.dot.inside(pixels), zero, g);
    const MaskOf<V> hit = zero < half_chord, off_centre = zero < rim;
    const V grad_rim = zero - g * item.inverse_radius;
    const V by_chord = divided(hit, grad_depth, half_chord), by_rim = divided(off_centre, grad_rim, rim);
    V k, grad_t;  // k (a, b, c): the gradient of the angle, times its axis
    if (Orthographic) {
      k = by_rim + by_chord;
      grad_t = grad_depth;
    } else {
      k = by_rim * item.t + by_chord * u - grad_depth;
      grad_t = (grad_rim * rim + grad_depth * u + by_chord * square) * (1 / item.t);
    }
    const V ka = k * a, kb = k * b, kc = k * c;
    sum[0] = sum[0] + ka;
    sum[1] = sum[1] + kb;
    sum[2] = sum[2] + kc;
    sum[3] = sum[3] + grad_t;
    sum[4] = sum[4] + (g * rim * (item.inverse_radius * item.inverse_radius) - by_chord * item.radius);
    if (pixel) {
      pixel[0] = pixel[0] + ka;
      pixel[1] = pixel[1] + kb;
      pixel[2] = pixel[2] + kc;
    }
  }
  static LG_HD void finish(const Item& item, const T* sum, T* out) {
    out[3] = sum[4];
    if (Orthographic) {
      out[0] = sum[0], out[1] = sum[1], out[2] = sum[3];
      return;
    }
    const T i = 1 / item.t, x = item.centre[0] * i, y = item.centre[1] * i, z = item.centre[2] * i;
    out[0] = x * sum[3] - i * (sum[1] * z - sum[2] * y);
    out[1] = y * sum[3] - i * (sum[2] * x - sum[0] * z);
    out[2] = z * sum[3] - i * (sum[0] * y - sum[1] * x);
  }
  // Converts a pixel's three sums to the gradients of its point (x, y) on the plane at distance 1.
  template <class V>
  static LG_HD void pull_plane(const Pixels<V>& pixels, const V* pixel, V* grad_x, V* grad_y) {
    if (Orthographic) {
      *grad_x = T(0) - pixel[0];
      *grad_y = T(0) - pixel[1];
    } else {  // minus ray x pixel, for a ray (x, y, 1) of this length
      const V scale = pixels.inverse_length * pixels.inverse_length;
      *grad_x = scale * (pixel[1] - pixels.y * pixel[2]);
      *grad_y = scale * (pixels.x * pixel[2] - pixel[0]);
    }
  }
};

}  // namespace splat
}  // namespace lg
