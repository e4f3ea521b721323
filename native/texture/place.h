// Finds the texels of one tap of a block's lookups, and their weights.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "texture/cube.h"
#include "texture/lookups.h"
#include "texture/planar.h"

namespace lg::texture {

template <class T, int N>
LG_HD void set_weights(Corners<T, N>& c, int i, T share) {
  const T u1 = c.along_u[i], u0 = 1 - u1, v1 = c.along_v[i] * share, v0 = (1 - c.along_v[i]) * share;
  c.weight[0][i] = u0 * v0;
  c.weight[1][i] = u1 * v0;
  c.weight[2][i] = u0 * v1;
  c.weight[3][i] = u1 * v1;
}

// The first of the four texels around each lookup on a cube map's face, and whether some of the four lie beyond the
// face. place_cube_edge finds those.
template <int N>
struct FaceTexels {
  int32_t x[N], y[N], at_edge[N];
};

// Puts lookup i between the texels of a face.
template <class T, int N>
LG_HD void place_on_face(int32_t face, T u, T v, int32_t size, T share, int i, FaceTexels<N>& low, Corners<T, N>& c) {
  const T s = u * T(size) - T(0.5), t = v * T(size) - T(0.5);
  const int32_t x = whole_part(s), y = whole_part(t), first = (face * size + y) * size + x;
  low.x[i] = x;
  low.y[i] = y;
  low.at_edge[i] = (x < 0) | (y < 0) | (x + 1 >= size) | (y + 1 >= size);
  c.along_u[i] = s - T(x);
  c.along_v[i] = t - T(y);
  c.index[0][i] = first;
  c.index[1][i] = first + 1;
  c.index[2][i] = first + size;
  c.index[3][i] = first + size + 1;
  c.missing[i] = -1;
  set_weights(c, i, share);
}

template <int wrap, class T, int N>
LG_HD_LARGE void place_planar(const Request<T>& r, int which, Lookups<T, N>& b) {
  Corners<T, N>& c = b.corners[which];
  const int32_t height = r.height, width = r.width;
  const int padded = b.padded;  // a local copy, which stores through `c` cannot alias
  LG_VECTORIZE
  for (int i = 0; i < padded; ++i) {
    const int32_t w = level_side(width, b.level[which][i]), h = level_side(height, b.level[which][i]);
    const AxisTaps<T> x = linear_taps<wrap>(b.tap_u[i], w), y = linear_taps<wrap>(b.tap_v[i], h);
    c.along_u[i] = x.fraction;
    c.along_v[i] = y.fraction;
    c.index[0][i] = y.low * w + x.low;
    c.index[1][i] = y.low * w + x.high;
    c.index[2][i] = y.high * w + x.low;
    c.index[3][i] = y.high * w + x.high;
    if (wrap == wrap_zero) {
      c.index[0][i] = (x.low | y.low) < 0 ? -1 : c.index[0][i];
      c.index[1][i] = (x.high | y.low) < 0 ? -1 : c.index[1][i];
      c.index[2][i] = (x.low | y.high) < 0 ? -1 : c.index[2][i];
      c.index[3][i] = (x.high | y.high) < 0 ? -1 : c.index[3][i];
    }
    set_weights(c, i, b.share[which][i]);
  }
}

template <int wrap, class T, int N>
LG_HD_LARGE void place_planar_nearest(const Request<T>& r, Lookups<T, N>& b) {
  Corners<T, N>& c = b.corners[0];
  const int32_t height = r.height, width = r.width;
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const int32_t x = nearest_tap<wrap>(b.tap_u[i], width), y = nearest_tap<wrap>(b.tap_v[i], height);
    c.index[0][i] = (x | y) < 0 ? -1 : y * width + x;
    c.weight[0][i] = 1;
  }
}

// Finds the texels beyond the edges of a cube face, for the few lookups that need them.
template <class T, int N>
LG_HD_LARGE void place_cube_edge(int32_t face, int32_t x, int32_t y, int32_t size, int i, Corners<T, N>& c) {
  T spread = 0;
  LG_UNROLL
  for (int k = 0; k < 4; ++k) {
    const int32_t cx = x + (k & 1), cy = y + (k >> 1);
    const bool beyond_corner = ((cx < 0) | (cx >= size)) && ((cy < 0) | (cy >= size));
    if (beyond_corner) {
      // Three faces meet here: this texel does not exist and is replaced by the mean of the other three.
      c.missing[i] = k;
      spread = c.weight[k][i] / 3;
      c.weight[k][i] = 0;
      c.index[k][i] = -1;
      continue;
    }
    const CubeTexel texel = cube_texel(face, cx, cy, size);
    c.index[k][i] = (texel.face * size + texel.y) * size + texel.x;
  }
  if (c.missing[i] < 0) return;
  LG_UNROLL
  for (int k = 0; k < 4; ++k) c.weight[k][i] += k == c.missing[i] ? T(0) : spread;
}

template <class T, int N>
LG_HD_LARGE void place_cube(const Request<T>& r, int which, Lookups<T, N>& b) {
  Corners<T, N>& c = b.corners[which];
  FaceTexels<N> low;
  const int padded = b.padded;  // a local copy, which stores through `c` cannot alias
  LG_VECTORIZE
  for (int i = 0; i < padded; ++i) {
    const int32_t size = level_side(r.width, b.level[which][i]);
    place_on_face(b.tap_face[i], b.tap_u[i], b.tap_v[i], size, b.share[which][i], i, low, c);
  }
  for (int i = 0; i < b.count; ++i) {
    if (!low.at_edge[i]) continue;
    place_cube_edge(b.tap_face[i], low.x[i], low.y[i], level_side(r.width, b.level[which][i]), i, c);
  }
}

template <class T, int N>
LG_HD_LARGE void place_cube_nearest(const Request<T>& r, Lookups<T, N>& b) {
  Corners<T, N>& c = b.corners[0];
  const int32_t size = r.width;
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const int32_t x = nearest_tap<wrap_clamp>(b.tap_u[i], size), y = nearest_tap<wrap_clamp>(b.tap_v[i], size);
    c.index[0][i] = (b.tap_face[i] * size + y) * size + x;
    c.weight[0][i] = 1;
  }
}

// Moves taps beyond the edges of their face to the face on which they lie.
template <class T, int N>
LG_HD_LARGE void turn_over_edges(Lookups<T, N>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const FacePoint<T> point = onto_cube(b.face[i], b.tap_u[i], b.tap_v[i]);
    b.tap_face[i] = point.face;
    b.tap_u[i] = point.u;
    b.tap_v[i] = point.v;
  }
}

// The positions of tap `tap`. Lanes with fewer taps get a position that is not used.
template <class T, int N>
LG_HD_LARGE void move_to_tap(const Request<T>& r, int32_t tap, Lookups<T, N>& b) {
  if (b.most_taps == 1) {
    for (int i = 0; i < b.padded; ++i) b.tap_u[i] = b.u[i];
    for (int i = 0; i < b.padded; ++i) b.tap_v[i] = b.v[i];
    for (int i = 0; r.is_cube() && i < b.padded; ++i) b.tap_face[i] = b.face[i];
    return;
  }
  const T width = T(r.width), height = T(r.height);
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const bool used = T(tap) < b.taps[i];
    const T along = used ? tap_position(tap, b.taps[i]) : T(0);
    b.tap_u[i] = b.u[i] + along * b.axis_s[i] / width;
    b.tap_v[i] = b.v[i] + along * b.axis_t[i] / height;
  }
  if (r.is_cube()) turn_over_edges(b);
}

// Finds the texels of tap `tap` and their weights for the finer level and, if any lane needs it, the coarser
// one.
template <class T, int N>
LG_HD_LARGE void place(const Request<T>& r, int32_t tap, Lookups<T, N>& b) {
  move_to_tap(r, tap, b);
  if (r.filter == filter_nearest) {
    switch (r.wrap) {
      case wrap_repeat:
        return place_planar_nearest<wrap_repeat>(r, b);
      case wrap_clamp:
        return place_planar_nearest<wrap_clamp>(r, b);
      case wrap_mirror:
        return place_planar_nearest<wrap_mirror>(r, b);
      case wrap_zero:
        return place_planar_nearest<wrap_zero>(r, b);
      default:
        return place_cube_nearest(r, b);
    }
  }
  LG_UNROLL
  for (int which = 0; which < level_loops(b); ++which) {
    if (N == 1 && which > b.any_moves) break;
    switch (r.wrap) {
      case wrap_repeat:
        place_planar<wrap_repeat>(r, which, b);
        break;
      case wrap_clamp:
        place_planar<wrap_clamp>(r, which, b);
        break;
      case wrap_mirror:
        place_planar<wrap_mirror>(r, which, b);
        break;
      case wrap_zero:
        place_planar<wrap_zero>(r, which, b);
        break;
      default:
        place_cube(r, which, b);
    }
  }
}

}  // namespace lg::texture
