// Where rays begin that leave a triangle, so that they do not hit it again.
//
// Let u be half a unit in the last place of 1, and M the largest coordinate of the triangle's corners. The point that
// is computed of weights is off the plane by less than 8 u M. The test of the triangle (triangle.h) shears its corners
// with errors of less than 8 u M, and finds where the ray meets the plane so much off, too, measured across the plane.
// A ray that begins farther on its own side than the sum meets the plane behind its beginning. Twice the sum leaves
// room for the roundings of higher order, and for that of the beginning itself.
#pragma once

#include <cmath>

#include "math/scalar.h"
#include "ray/ray.h"
#include "runtime/config.h"

namespace lg::ray {

template <class T>
constexpr T offset_factor = 32 * rounding<T>;

// corner: vertices; u, v: weights of the first two; direction: that of the ray that leaves.
template <class T>
LG_HD void offset_origin(const T (&corner)[3][3], T u, T v, const T (&direction)[3], T (&origin)[3]) {
  double e0[3], e1[3], largest = 0;
  const T w = 1 - u - v;
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    e0[a] = double{corner[0][a]} - corner[2][a];
    e1[a] = double{corner[1][a]} - corner[2][a];
    origin[a] = u * corner[0][a] + v * corner[1][a] + w * corner[2][a];
    for (int k = 0; k < 3; ++k) largest = maximum(std::abs(double{corner[k][a]}), largest);
  }
  const double n[3] = {e0[1] * e1[2] - e0[2] * e1[1], e0[2] * e1[0] - e0[0] * e1[2], e0[0] * e1[1] - e0[1] * e1[0]};
  const double length = root(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
  if (!(length > 0)) return;
  const double along = n[0] * direction[0] + n[1] * direction[1] + n[2] * direction[2];
  const double distance = std::copysign(double{offset_factor<T>} * largest / length, along);
  LG_UNROLL
  for (int a = 0; a < 3; ++a) origin[a] = static_cast<T>(origin[a] + distance * n[a]);
}

}  // namespace lg::ray
