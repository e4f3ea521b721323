// Punctual lights: at a point, in a cone, or so far away that light is parallel.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "light/vector.h"
#include "math/dual.h"
#include "runtime/call.h"

namespace lg::light {

enum LampKind : int32_t { lamp_distant = 0, lamp_point, lamp_linear };
constexpr int lamp_columns = 12;

// How light reaches a point.
template <class T>
struct LampLight {
  Vec3<T> direction;  // unit, towards the lamp
  T distance;         // infinite for a distant one
  T part;             // irradiance of a surface that faces the lamp, over its intensity
};

// Between zero and pi. At both ends, where it has no derivative, the derivative is zero.
template <class T>
LG_HD T arc_cosine(T x) {
  return std::acos(clamped(x, T(-1), T(1)));
}
template <class T, int N>
LG_HD Dual<T, N> arc_cosine(const Dual<T, N>& x) {
  const T rest = 1 - x.value * x.value;
  return chained(arc_cosine(x.value), rest > 0 ? -1 / square_root(rest) : T(0), x);
}

// row: position or direction, axis, cosines of the inner and the outer cone, reach, attenuation by 1, d and d^2.
// Outside of cones the square of (cos - outer) / (inner - outer) falls from 1 to 0; where `linear`, the cones are
// angles, and (outer - angle) / (outer - inner) does. The reach fades by 1 - (d / reach)^4. V: a number, or a Dual.
template <class V>
LG_HD_LARGE LampLight<V> light_of_point(const V* row, bool linear, const Vec3<V>& point) {
  const Vec3<V> towards = load3(row) - point;
  const V squared = dot(towards, towards), distance = square_root(squared);
  if (!(squared > 0)) return {{V(0), V(0), V(1)}, V(0), V(0)};
  const Vec3<V> direction = (1 / distance) * towards;
  const V cosine = -dot(direction, load3(row + 3)), at = linear ? arc_cosine(cosine) : cosine;
  const V cone = clamped((at - row[7]) / (row[6] - row[7]), V(0), V(1)), part = linear ? cone : cone * cone;
  const V near = squared / row[8] / row[8], fade = clamped(1 - near * near, V(0), V(1));
  return {direction, distance, part * fade / (row[9] + row[10] * distance + row[11] * squared)};
}

template <class T>
LG_HD_LARGE LampLight<T> light_of(const T* row, int32_t kind, const Vec3<T>& point) {
  if (kind == lamp_distant) return {unit(load3(row)), std::numeric_limits<T>::infinity(), T(1)};
  return light_of_point(row, kind == lamp_linear, point);
}

// Gradients by the rows of lamps.
template <class T>
struct LampGradient {
  T row[lamp_columns];
};

template <class T>
LG_HD_CALL LampGradient<T> pull_distant_lamp(const T* row, const Vec3<T>& by_direction) {
  LampGradient<T> g = {};
  store3(pull_unit(load3(row), by_direction), g.row);
  return g;
}

// by_log: by the logarithm of its part. The gradient by the point that is lit is the negative one by the position.
template <class T>
LG_HD_CALL LampGradient<T> pull_point_lamp(const T* row, bool linear, const Vec3<T>& point, const Vec3<T>& by_direction,
                                           T by_log) {
  using V = Dual<T, lamp_columns>;
  V moving[lamp_columns];
  for (int k = 0; k < lamp_columns; ++k) moving[k] = V(row[k], k);
  const LampLight<V> light = light_of_point(moving, linear, Vec3<V>{point.x, point.y, point.z});
  const T by_part = light.part.value > 0 ? by_log / light.part.value : T(0);
  LampGradient<T> g;
  for (int k = 0; k < lamp_columns; ++k) {
    const Vec3<T> slope = {light.direction.x.slope[k], light.direction.y.slope[k], light.direction.z.slope[k]};
    g.row[k] = dot(by_direction, slope) + by_part * light.part.slope[k];
  }
  return g;
}

}  // namespace lg::light
