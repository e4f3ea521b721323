// From the unit square to disks and hemispheres.
#pragma once

#include <cmath>

#include "light/vector.h"
#include "runtime/config.h"

namespace lg::light {

// A point of the unit disk, uniform (Shirley and Chiu 1997).
template <class T>
LG_HD void to_disk(T u, T v, T* x, T* y) {
  const T a = 2 * u - 1, b = 2 * v - 1;
  const bool wide = std::fabs(a) > std::fabs(b);
  const T radius = wide ? a : b, other = wide ? b : a;
  const T angle = radius != 0 ? T(pi / 4) * (other / radius) : T(0);
  const T along = radius * std::cos(angle), across = radius * std::sin(angle);
  *x = wide ? along : across;
  *y = wide ? across : along;
}

// A direction around +z with the density cos / pi.
template <class T>
LG_HD Vec3<T> to_cosine_hemisphere(T u, T v) {
  T x, y;
  to_disk(u, v, &x, &y);
  const T z2 = 1 - x * x - y * y;
  return {x, y, std::sqrt(z2 > 0 ? z2 : T(0))};
}

}  // namespace lg::light
