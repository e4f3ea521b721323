// Rays, what they hit, and what the tests of boxes and triangles need to know of a ray.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::ray {

// Points origin + t direction with t_min <= t <= t_max. A t_min below 0 counts as 0. Directions may have any length but
// zero; t is in units of the direction.
template <class T>
struct Ray {
  T origin[3], direction[3];
  T t_min, t_max;
};

// u and v are the weights of the triangle's vertices 0 and 1; tri is -1, and t infinite, where nothing is hit.
template <class T>
struct Hit {
  int32_t tri;
  T u, v, t;
};

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
// Half a unit in the last place of 1: the largest relative error of one operation.
template <class T>
constexpr T rounding = std::numeric_limits<T>::epsilon() / 2;

template <class T>
LG_HD bool is_finite(T a) {
  return a - a == 0;
}

// A ray as the tests take it.
//
// The direction is scaled by a power of two, so that its largest component lies in [1, 2): nothing overflows. t_min and
// t_max are scaled with it, and t = scaled t * unit.
//
// Triangles are tested in coordinates in which the ray is the z axis: axis[2] is the largest component of the
// direction, and x and y are sheared along it. Roundings of that move a triangle by less than 8 R of them, where R is
// the distance of the farthest corner of the scene. A box that holds the triangle must still be hit, so boxes are
// tested as if they were larger by that: entered from enter_origin, left from leave_origin.
template <class T>
struct PreparedRay {
  T origin[3], enter_origin[3], leave_origin[3], inverse[3];
  int32_t axis[3];
  T shear[3];
  T t_min, t_max, unit;
  bool valid;  // a ray that is not can hit nothing

  LG_HD bool backwards(int a) const { return inverse[a] < 0; }
};

// The power of two below a positive number.
LG_HD float power_below(float a) { return reinterpret<float>(reinterpret<int32_t>(a) & 0x7f800000); }
LG_HD double power_below(double a) { return reinterpret<double>(reinterpret<int64_t>(a) & 0x7ff0000000000000); }

// bounds: [2, 3], the corners of the scene's box.
template <class T>
LG_HD PreparedRay<T> prepare(const Ray<T>& ray, const float* bounds) {
  PreparedRay<T> out;
  constexpr T tiny = std::numeric_limits<T>::min(), huge = std::numeric_limits<T>::max();
  T direction[3], largest = 0, radius = 0, all = 0;
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    direction[a] = ray.direction[a];
    largest = maximum(std::abs(direction[a]), largest);
    all += ray.origin[a] + direction[a];
  }
  T lift = 1;
  if (LG_UNLIKELY(largest < tiny)) {  // a power of two times such a number is exact
    lift = 1 / std::numeric_limits<T>::epsilon();
    largest *= lift;
  }
  const T power = power_below(largest);
  out.unit = lift / power;
  out.t_min = maximum(ray.t_min, T(0)) / out.unit;
  out.t_max = ray.t_max / out.unit;
  out.valid = largest > 0 && is_finite(all) && ray.t_min <= ray.t_max && out.t_min <= out.t_max;
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    direction[a] = direction[a] * lift / power;
    out.origin[a] = ray.origin[a];
    const T low = std::abs(bounds[a] - ray.origin[a]), high = std::abs(bounds[3 + a] - ray.origin[a]);
    radius = maximum(maximum(low, high), radius);
    const T inverse = 1 / direction[a];
    out.inverse[a] = std::abs(inverse) <= huge ? inverse : std::copysign(huge, direction[a]);
  }
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    const T margin = rounding<T> * (8 * radius + 4 * std::abs(ray.origin[a]));
    const T moved = std::copysign(margin, direction[a]);
    out.enter_origin[a] = ray.origin[a] + moved;
    out.leave_origin[a] = ray.origin[a] - moved;
  }
  const T x = std::abs(direction[0]), y = std::abs(direction[1]), z = std::abs(direction[2]);
  const int32_t main = x >= y ? (x >= z ? 0 : 2) : (y >= z ? 1 : 2);
  out.axis[2] = main;
  out.axis[0] = main == 2 ? 0 : main + 1;
  out.axis[1] = main == 0 ? 2 : main - 1;
  const T along = main == 0 ? direction[0] : main == 1 ? direction[1] : direction[2];
  LG_UNROLL
  for (int a = 0; a < 2; ++a) {
    const int32_t k = out.axis[a];
    out.shear[a] = (k == 0 ? direction[0] : k == 1 ? direction[1] : direction[2]) / along;
  }
  out.shear[2] = 1 / along;
  return out;
}

}  // namespace lg::ray
