// From the unit square to disks and hemispheres.
#pragma once

#include "light/vector.h"
#include "math/scalar.h"
#include "math/sine.h"
#include "runtime/config.h"

namespace lg::light {

// A point of the unit disk, uniform (Shirley and Chiu 1997).
template <class T>
LG_HD void to_disk(T u, T v, T* x, T* y) {
  const T a = 2 * u - 1, b = 2 * v - 1;
  const MaskOf<T> wide = absolute(b) < absolute(a);
  const T radius = select(wide, a, b), other = select(wide, b, a);
  const T angle = select(radius == T(0), T(0), T(pi / 4) * (other / radius));
  const SineCosine<T> turn = sine_cosine_of_eighth(angle);
  const T along = radius * turn.cosine, across = radius * turn.sine;
  *x = select(wide, along, across);
  *y = select(wide, across, along);
}

// A direction around +z with the density cos / pi.
template <class T>
LG_HD Vec3<T> to_cosine_hemisphere(T u, T v) {
  T x, y;
  to_disk(u, v, &x, &y);
  return {x, y, root(maximum(1 - x * x - y * y, T(0)))};
}

}  // namespace lg::light
