// Texels that a lookup combines: of textures, as lg.texture's "linear" filter has them, and of the environment, as
// lg.texture_cube has them.
#pragma once

#include <cstdint>

#include "light/vector.h"
#include "math/scalar.h"
#include "runtime/call.h"
#include "texture/place.h"
#include "texture/planar.h"

namespace lg::light {

// Numbers of texels, and their weights.
template <class T>
struct Taps {
  int64_t texel[4];
  T weight[4];
};

// Derivatives of these weights by the coordinates.
template <class T>
struct TapSlopes {
  T u[4], v[4];
};

// x, y: how far the place lies between the texels; width and height of the texture or face.
template <class T>
LG_HD TapSlopes<T> slopes_between(T x, T y, T width, T height) {
  return {{-width * (1 - y), width * (1 - y), -width * y, width * y},
          {-height * (1 - x), -height * x, height * (1 - x), height * x}};
}

template <class T>
LG_HD T finite_or(T value, T otherwise) {
  return is_finite(value) ? value : otherwise;
}

template <class T>
LG_HD Vec3<T> combine(const T* texels, const Taps<T>& taps) {
  Vec3<T> sum = {0, 0, 0};
  for (int k = 0; k < 4; ++k) sum = sum + taps.weight[k] * load3(texels + 3 * taps.texel[k]);
  return sum;
}

// Linear textures that repeat, one behind the other.
template <class T>
struct Textures {
  const T* texels;
  const int64_t* table;  // of each: first texel, height, width
  int64_t count, texel_count;

  // Whether there is a texture of that number.
  LG_HD bool has(int32_t texture) const {
    if (texture < 0 || texture >= count) return false;
    const int64_t *place = table + 3 * int64_t{texture}, most = int64_t{1} << 15;
    return place[0] >= 0 && place[1] > 0 && place[1] <= most && place[2] > 0 && place[2] <= most &&
           place[0] <= texel_count - place[1] * place[2];
  }

  static LG_HD texture::AxisTaps<T> taps_along(T u, int32_t size) {
    return texture::linear_taps<texture::wrap_repeat>(finite_or(u, T(0)), size);
  }
  // x, y: how far the place lies between the texels.
  static LG_HD void set_weights(T x, T y, T (&weight)[4]) {
    weight[0] = (1 - x) * (1 - y), weight[1] = x * (1 - y), weight[2] = (1 - x) * y, weight[3] = x * y;
  }
  LG_HD texture::AxisTaps<T> across(int32_t texture, T u) const {
    return taps_along(u, static_cast<int32_t>(table[3 * int64_t{texture} + 2]));
  }
  LG_HD texture::AxisTaps<T> down(int32_t texture, T v) const {
    return taps_along(v, static_cast<int32_t>(table[3 * int64_t{texture} + 1]));
  }

  LG_HD_CALL Taps<T> taps(int32_t texture, T u, T v) const {
    const int64_t* place = table + 3 * int64_t{texture};
    const int64_t width = place[2];
    const auto x = across(texture, u), y = down(texture, v);
    const int64_t low = place[0] + y.low * width, high = place[0] + y.high * width;
    Taps<T> out = {{low + x.low, low + x.high, high + x.low, high + x.high}, {}};
    set_weights(x.fraction, y.fraction, out.weight);
    return out;
  }

  LG_HD_CALL TapSlopes<T> slopes(int32_t texture, T u, T v) const {
    const int64_t* place = table + 3 * int64_t{texture};
    return slopes_between(across(texture, u).fraction, down(texture, v).fraction, T(place[2]), T(place[1]));
  }
};

// A place on a cube map, as a lookup finds it.
template <class T>
LG_HD texture::FacePoint<T> on_cube(const Vec3<T>& d) {
  const int32_t face = texture::cube_face(d.x, d.y, d.z);
  const auto n = texture::to_face(face, d.x, d.y, d.z);
  return {face, finite_or(texture::face_coordinate(n.a, n.m), T(0.5)),
          finite_or(texture::face_coordinate(n.b, n.m), T(0.5))};
}

// The texels around a place on a cube map. Where three faces meet, one of the four is missing: it has a weight of 0.
// place(i): of lookup i of N.
template <class T, int N, class Place>
LG_HD void set_cube_corners(int32_t side, Place&& place, texture::Corners<T, N>* corners) {
  texture::Corners<T, N>& c = *corners;
  texture::FaceTexels<N> low;
  LG_VECTORIZE
  for (int i = 0; i < N; ++i) {
    const texture::FacePoint<T> point = place(i);
    texture::place_on_face(point.face, point.u, point.v, side, T(1), i, low, c);
  }
  for (int i = 0; i < N; ++i) {
    if (low.at_edge[i]) texture::place_cube_edge(place(i).face, low.x[i], low.y[i], side, i, c);
  }
}
template <class T>
LG_HD texture::Corners<T, 1> cube_corners(const texture::FacePoint<T>& point, int32_t side) {
  texture::Corners<T, 1> c;
  set_cube_corners(side, [&](int) { return point; }, &c);
  return c;
}

// Those of lookup i.
template <class T, int N>
LG_HD Taps<T> taps_of(const texture::Corners<T, N>& c, int i) {
  Taps<T> taps;
  for (int k = 0; k < 4; ++k) {
    taps.texel[k] = c.index[k][i] < 0 ? 0 : c.index[k][i];
    taps.weight[k] = c.index[k][i] < 0 ? T(0) : c.weight[k][i];
  }
  return taps;
}

template <class T>
LG_HD_CALL Taps<T> cube_taps(const texture::FacePoint<T>& point, int32_t side) {
  return taps_of(cube_corners(point, side), 0);
}

template <class T>
LG_HD_CALL TapSlopes<T> cube_slopes(const texture::FacePoint<T>& point, int32_t side) {
  const auto c = cube_corners(point, side);
  TapSlopes<T> slopes = slopes_between(c.along_u[0], c.along_v[0], T(side), T(side));
  const int32_t missing = c.missing[0];
  for (int k = 0; missing >= 0 && k < 4; ++k) {
    if (k == missing) continue;
    slopes.u[k] += slopes.u[missing] / 3;
    slopes.v[k] += slopes.v[missing] / 3;
  }
  if (missing >= 0) slopes.u[missing] = slopes.v[missing] = 0;
  return slopes;
}

}  // namespace lg::light
