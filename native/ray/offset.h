// Where rays begin that leave a triangle, so that they do not hit it again.
//
// Let u be half a unit in the last place of 1, and M the largest coordinate of the triangle's corners. The point that
// is computed of weights is off the plane by less than 8 u M. The test of the triangle (triangle.h) shears its corners
// with errors of less than 8 u M, and finds where the ray meets the plane so much off, too, measured across the plane.
// A ray that begins farther on its own side than the sum meets the plane behind its beginning. Twice the sum leaves
// room for the roundings of higher order, and for that of the beginning itself.
#pragma once

#include "ray/ray.h"

namespace lg::ray {

// Of M: how far rays begin off the triangle, on their side.
template <class T>
constexpr T offset_factor = 32 * rounding<T>;

}  // namespace lg::ray
