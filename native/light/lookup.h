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

  LG_HD_CALL Taps<T> taps(int32_t texture, T u, T v) const {
    const int64_t* place = table + 3 * int64_t{texture};
    const int32_t height = static_cast<int32_t>(place[1]), width = static_cast<int32_t>(place[2]);
    const auto x = texture::linear_taps<texture::wrap_repeat>(finite_or(u, T(0)), width);
    const auto y = texture::linear_taps<texture::wrap_repeat>(finite_or(v, T(0)), height);
    const int64_t low = place[0] + int64_t{y.low} * width, high = place[0] + int64_t{y.high} * width;
    return {{low + x.low, low + x.high, high + x.low, high + x.high},
            {(1 - x.fraction) * (1 - y.fraction), x.fraction * (1 - y.fraction), (1 - x.fraction) * y.fraction,
             x.fraction * y.fraction}};
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

template <class T>
LG_HD_CALL Taps<T> cube_taps(const texture::FacePoint<T>& point, int32_t side) {
  texture::Corners<T, 1> c;
  const T s = point.u * T(side) - T(0.5), t = point.v * T(side) - T(0.5);
  const int32_t x = texture::whole_part(s), y = texture::whole_part(t), first = (point.face * side + y) * side + x;
  c.along_u[0] = s - T(x);
  c.along_v[0] = t - T(y);
  const int32_t step[4] = {0, 1, side, side + 1};
  for (int k = 0; k < 4; ++k) c.index[k][0] = first + step[k];
  c.missing[0] = -1;
  texture::set_weights(c, 0, T(1));
  if (x < 0 || y < 0 || x + 1 >= side || y + 1 >= side) texture::place_cube_edge(point.face, x, y, side, 0, c);
  Taps<T> taps;
  for (int k = 0; k < 4; ++k) {
    taps.texel[k] = c.index[k][0] < 0 ? 0 : c.index[k][0];
    taps.weight[k] = c.index[k][0] < 0 ? T(0) : c.weight[k][0];
  }
  return taps;
}

}  // namespace lg::light
