// Gradients of texture coordinates, of their derivatives and of the level bias, for a block of lookups.
#pragma once

#include "runtime/config.h"
#include "texture/lookups.h"
#include "texture/prepare.h"

namespace lg::texture {

// dot[which][k]: the product of the output gradient with the k-th corner's texel, zero if there is none.
template <class T, int N>
struct Dots {
  T dot[2][4][N];
};

template <class T, int N>
struct LookupGradients {
  T u[N], v[N], level[N];
  T axis_s[N], axis_t[N];
  T s_x[N], s_y[N], t_x[N], t_y[N];
};

template <class T, int N>
LG_HD_LARGE void clear(LookupGradients<T, N>& g, int padded) {
  for (int i = 0; i < padded; ++i) g.u[i] = g.v[i] = g.level[i] = g.axis_s[i] = g.axis_t[i] = 0;
}

// The texel missing at a cube's corner is the mean of the other three.
template <class T, int N>
LG_HD_LARGE void fill_missing_corners(const Corners<T, N>& c, int count, T (*dot)[N]) {
  for (int i = 0; i < count; ++i) {
    const int32_t missing = c.missing[i];
    if (missing < 0) continue;
    T sum = 0;
    LG_UNROLL
    for (int k = 0; k < 4; ++k) sum += k == missing ? T(0) : dot[k][i];
    LG_UNROLL
    for (int k = 0; k < 4; ++k) dot[k][i] = k == missing ? sum / 3 : dot[k][i];
  }
}

// Adds one tap's share to the gradients of position, level and axis. turned: taps may lie on other faces of a cube.
template <bool turned, class T, int N>
LG_HD_LARGE void add_tap_gradient(const Request<T>& r, int32_t tap, int which, const Lookups<T, N>& b,
                                  const Dots<T, N>& dots, LookupGradients<T, N>& g) {
  const Corners<T, N>& c = b.corners[which];
  const T(*dot)[N] = dots.dot[which];
  const bool mirror = r.wrap == wrap_mirror, spread = b.most_taps > 1;
  const T level_sign = which ? T(1) : T(-1), inverse_width = 1 / T(r.width), inverse_height = 1 / T(r.height);
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const T x = c.along_u[i], y = c.along_v[i];
    const T d0 = dot[0][i], d1 = dot[1][i], d2 = dot[2][i], d3 = dot[3][i];
    const T low = d0 + x * (d1 - d0), high = d2 + x * (d3 - d2);
    const T across = (d1 - d0) + y * ((d3 - d2) - (d1 - d0));
    const T share = b.share[which][i];
    const T slope_u = mirror ? fold_slope<wrap_mirror>(b.tap_u[i]) : T(1);
    const T slope_v = mirror ? fold_slope<wrap_mirror>(b.tap_v[i]) : T(1);
    T g_u = share * T(level_side(r.width, b.level[which][i])) * slope_u * across;
    T g_v = share * T(level_side(r.height, b.level[which][i])) * slope_v * (high - low);
    if (turned) gradient_in_plane(b.face[i], FacePoint<T>{b.tap_face[i], b.tap_u[i], b.tap_v[i]}, &g_u, &g_v);
    g.u[i] += g_u;
    g.v[i] += g_v;
    g.level[i] += level_sign * (low + y * (high - low)) / b.taps[i];
    const T along = spread ? tap_position(tap, b.taps[i]) : T(0);
    g.axis_s[i] += along * inverse_width * g_u;
    g.axis_t[i] += along * inverse_height * g_v;
  }
}

template <class T, int N>
LG_HD_LARGE void add_tap_gradients(const Request<T>& r, int32_t tap, const Lookups<T, N>& b, Dots<T, N>& dots,
                                   LookupGradients<T, N>& g) {
  LG_UNROLL
  for (int which = 0; which < level_loops(b); ++which) {
    if (N == 1 && which > b.any_moves) break;
    if (r.is_cube()) fill_missing_corners(b.corners[which], b.count, dots.dot[which]);
    if (r.is_cube() && b.most_taps > 1) {
      add_tap_gradient<true>(r, tap, which, b, dots, g);
    } else {
      add_tap_gradient<false>(r, tap, which, b, dots, g);
    }
  }
}

// The footprint's gradient through the level.
template <class T, int N>
LG_HD_LARGE void pull_back_level(const Lookups<T, N>& b, LookupGradients<T, N>& g) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const Footprint<T> j = b.footprint(i);
    const Extent<T> extent = footprint_extent(j);
    const T level = b.moves[i] != 0 ? g.level[i] : T(0);
    // level = log2(squared) / 2 + ...
    const T to_squared = T(0.7213475204444817) * level / extent.squared;
    Footprint<T> out = {0, 0, 0, 0};
    add_extent_gradient(j, extent, to_squared, &out);
    g.level[i] = level;
    g.s_x[i] = extent.moves ? out.s_x : T(0);
    g.s_y[i] = extent.moves ? out.s_y : T(0);
    g.t_x[i] = extent.moves ? out.t_x : T(0);
    g.t_y[i] = extent.moves ? out.t_y : T(0);
  }
}

// The footprint's gradient through the positions of the taps.
template <class T, int N>
LG_HD_LARGE void pull_back_axis(const Request<T>& r, const Lookups<T, N>& b, LookupGradients<T, N>& g) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const Footprint<T> j = b.footprint(i);
    Footprint<T> out = {0, 0, 0, 0};
    add_axis_gradient(j, major_axis(j, footprint_extent(j), r.anisotropy), g.axis_s[i], g.axis_t[i], &out);
    g.s_x[i] += out.s_x;
    g.s_y[i] += out.s_y;
    g.t_x[i] += out.t_x;
    g.t_y[i] += out.t_y;
  }
}

// Per-lookup outputs of the backward pass; null if not wanted.
template <class T>
struct InputGradients {
  T* coord;
  T* coord_d;
  T* bias;
};

template <class T>
InputGradients<T> make_input_gradients(void* coord, void* coord_d, void* bias) {
  return {static_cast<T*>(coord), static_cast<T*>(coord_d), static_cast<T*>(bias)};
}

template <class T, int N>
LG_HD_LARGE void store_planar(const Request<T>& r, RowOfPixels at, const Lookups<T, N>& b,
                              const LookupGradients<T, N>& g, const InputGradients<T>& out) {
  const int count = out.coord ? b.count : 0, count_d = out.coord_d ? b.count : 0;
  LG_VECTORIZE
  for (int i = 0; i < count; ++i) {
    out.coord[2 * at(i)] = g.u[i];
    out.coord[2 * at(i) + 1] = g.v[i];
  }
  const T width = T(r.width), height = T(r.height);
  LG_VECTORIZE
  for (int i = 0; i < count_d; ++i) {
    T* d = out.coord_d + 4 * at(i);
    d[0] = g.s_x[i] * width;
    d[1] = g.s_y[i] * width;
    d[2] = g.t_x[i] * height;
    d[3] = g.t_y[i] * height;
  }
}

// Adds the gradients due to the gradient of one derivative of a face coordinate. That derivative is (a_d - ratio m_d) /
// (2 m), with ratio = a / m.
template <class T>
LG_HD void pull_back_step(T grad, T ratio, T m, T a_d, T m_d, T* to_ratio, T* to_m, T* to_a_d, T* to_m_d) {
  const T h = T(0.5) * grad / m;
  *to_a_d += h;
  *to_m_d -= h * ratio;
  *to_ratio -= h * m_d;
  *to_m -= h * (a_d - ratio * m_d) / m;
}

template <class T, int N>
LG_HD_LARGE void store_cube(const Request<T>& r, RowOfPixels at, const Lookups<T, N>& b, const LookupGradients<T, N>& g,
                            const InputGradients<T>& out) {
  const T size = T(r.width);
  for (int i = 0; i < b.count; ++i) {
    FaceVector<T> n = {0, 0, 0}, x = {0, 0, 0}, y = {0, 0, 0};
    if (b.valid[i]) {
      const T m = b.normal.m[i], p = b.normal.a[i] / m, q = b.normal.b[i] / m;
      T to_p = T(0.5) * g.u[i], to_q = T(0.5) * g.v[i];
      if (r.coord_d) {
        const FaceVector<T> nx = b.normal_x.get(i), ny = b.normal_y.get(i);
        pull_back_step(size * g.s_x[i], p, m, nx.a, nx.m, &to_p, &n.m, &x.a, &x.m);
        pull_back_step(size * g.s_y[i], p, m, ny.a, ny.m, &to_p, &n.m, &y.a, &y.m);
        pull_back_step(size * g.t_x[i], q, m, nx.b, nx.m, &to_q, &n.m, &x.b, &x.m);
        pull_back_step(size * g.t_y[i], q, m, ny.b, ny.m, &to_q, &n.m, &y.b, &y.m);
      }
      n.a = to_p / m;
      n.b = to_q / m;
      n.m -= (to_p * p + to_q * q) / m;
    }
    if (out.coord) from_face(b.face[i], n, out.coord + 3 * at(i));
    if (!out.coord_d) continue;
    T by_x[3], by_y[3];
    from_face(b.face[i], x, by_x);
    from_face(b.face[i], y, by_y);
    for (int k = 0; k < 3; ++k) {
      out.coord_d[6 * at(i) + 2 * k] = by_x[k];
      out.coord_d[6 * at(i) + 2 * k + 1] = by_y[k];
    }
  }
}

// Writes the gradients of consecutive lookups. Those of invalid lookups are zero, because their dots are.
template <class T, int N>
LG_HD_LARGE void store_gradients(const Request<T>& r, const Lookups<T, N>& b, LookupGradients<T, N>& g,
                                 const InputGradients<T>& out) {
  pull_back_level(b, g);
  if (b.most_taps > 1) pull_back_axis(r, b, g);
  const RowOfPixels at = {b.pixel[0]};
  for (int i = 0; out.bias && i < b.count; ++i) out.bias[at(i)] = g.level[i];
  if (r.is_cube()) {
    store_cube(r, at, b, g, out);
  } else {
    store_planar(r, at, b, g, out);
  }
}

}  // namespace lg::texture
