// Punctual lights: at a point, in a cone, or so far away that light is parallel.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "light/vector.h"
#include "math/dual.h"

namespace lg::light {

enum LampKind : int32_t { lamp_distant = 0, lamp_point = 1 };
constexpr int lamp_columns = 12;

// How light reaches a point.
template <class T>
struct LampLight {
  Vec3<T> direction;  // unit, towards the lamp
  T distance;         // infinite for a distant one
  T part;             // irradiance of a surface that faces the lamp, over its intensity
};

// row: position or direction, axis, cosines of the inner and the outer cone, reach, attenuation by 1, d and d^2.
// Outside of cones the square of (cos - outer) / (inner - outer) falls from 1 to 0; the reach fades by 1 - (d /
// reach)^4.
template <class T>
LG_HD_LARGE LampLight<T> light_of(const T* row, int32_t kind, const Vec3<T>& point) {
  if (kind == lamp_distant) return {unit(load3(row)), std::numeric_limits<T>::infinity(), T(1)};
  const Vec3<T> towards = load3(row) - point;
  const T squared = dot(towards, towards), distance = std::sqrt(squared);
  if (!(squared > 0)) return {{0, 0, 1}, 0, 0};
  const Vec3<T> direction = (1 / distance) * towards;
  const T cone = clamped((-dot(direction, load3(row + 3)) - row[7]) / (row[6] - row[7]), T(0), T(1));
  const T near = squared / (row[8] * row[8]), fade = 1 - near * near;
  const T falloff = 1 / (row[9] + row[10] * distance + row[11] * squared);
  return {direction, distance, cone * cone * (fade > 0 ? fade : T(0)) * falloff};
}

}  // namespace lg::light
