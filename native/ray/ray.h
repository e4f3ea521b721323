// Rays, what they hit, and what the tests of boxes and triangles need to know of a ray.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "math/scalar.h"
#include "runtime/config.h"

#if !defined(__CUDACC__) && !defined(LG_CUDA_EMULATED)
#include "math/lanes.h"
#endif

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

// The integers of a floating-point type's size.
template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// What of a direction decides which way the tests take: its largest component, and which are negative.
struct RayDirection {
  int32_t axis[3];
  bool backwards[3];
};
// The same of rays that have the largest component in common, but not the signs.
template <class V>
struct MixedDirection {
  int32_t axis[3];
  MaskOf<V> backwards[3];
};

// yes() or no(), of all rays or of each.
template <class M, class Yes, class No>
LG_HD auto either(const M& m, Yes&& yes, No&& no) {
  if constexpr (std::is_same_v<M, bool>) {
    return m ? yes() : no();
  } else {
    return select(m, yes(), no());
  }
}

// A ray as the tests take it, or the rays of a packet. V: a number, or lanes of one for each ray.
//
// The direction is scaled by a power of two, so that its largest component lies in [1, 2): nothing overflows. t_min and
// t_max are scaled with it, and t = scaled t * unit.
//
// Triangles are tested in coordinates in which the ray is the z axis: axis[2] is the largest component of the
// direction, and x and y are sheared along it. Roundings of that move a triangle by less than 9 R of them, where R is
// the distance of the farthest corner of the scene. A box that holds the triangle must still be hit, so boxes are
// tested as if they were larger by that: entered from enter_origin, left from leave_origin.
template <class V, class Axes = RayDirection>
struct PreparedRays {
  V origin[3], enter_origin[3], leave_origin[3], inverse[3];
  V shear[3];
  V t_min, t_max, unit;
  MaskOf<V> valid;  // a ray that is not can hit nothing
  Axes axes;        // of all rays
};
template <class T>
using PreparedRay = PreparedRays<T>;

template <class T>
LG_HD RayDirection direction_of(const T (&d)[3]) {
  const T x = std::abs(d[0]), y = std::abs(d[1]), z = std::abs(d[2]);
  const int32_t main = x >= y ? (x >= z ? 0 : 2) : (y >= z ? 1 : 2);
  return {{main == 2 ? 0 : main + 1, main == 0 ? 2 : main - 1, main}, {d[0] < 0, d[1] < 0, d[2] < 0}};
}

// Of the bits of a number.
template <class V>
LG_HD V masked(const V& a, BitsOf<ScalarOf<V>> bits) {
  using I = BitsOf<ScalarOf<V>>;
  if constexpr (std::is_arithmetic_v<V>) {
    return reinterpret<V>(static_cast<I>(reinterpret<I>(a) & bits));
  } else {
    return reinterpret<ScalarOf<V>>(reinterpret<I>(a) & MaskOf<V>(bits));
  }
}
template <class V>
LG_HD V magnitude(const V& a) {
  return masked(a, std::numeric_limits<BitsOf<ScalarOf<V>>>::max());
}
// The power of two that is not larger than a positive number.
template <class V>
LG_HD V power_below(const V& a) {
  return masked(a, sizeof(ScalarOf<V>) == 4 ? BitsOf<ScalarOf<V>>(0x7f800000)
                                            : static_cast<BitsOf<ScalarOf<V>>>(0x7ff0000000000000));
}

// bounds: [2, 3], the corners of the scene's box. axes: what direction_of() says of all directions.
template <class V, class Axes>
LG_HD PreparedRays<V, Axes> prepare(const V (&origin)[3], const V (&given)[3], const V& t_min, const V& t_max,
                                    const Axes& axes, const float* bounds) {
  using T = ScalarOf<V>;
  PreparedRays<V, Axes> out;
  const V zero(0), one(1), tiny(std::numeric_limits<T>::min()), huge(std::numeric_limits<T>::max());
  V direction[3], largest(0), radius(0), all(0);
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    largest = maximum(magnitude(given[a]), largest);
    all = all + (origin[a] + given[a]);
  }
  // A power of two times a number that small is exact.
  const V lift = select(largest < tiny, V(1 / std::numeric_limits<T>::epsilon()), one);
  const V power = power_below(largest * lift);
  out.unit = lift / power;
  const V scale = power * select(largest < tiny, V(std::numeric_limits<T>::epsilon()), one);  // 1 / unit
  out.t_min = maximum(t_min, zero) * scale;
  out.t_max = t_max * scale;
  out.valid = (zero < largest) & (all - all == zero) & (out.unit <= huge) & (t_min <= t_max) & (out.t_min <= out.t_max);
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    direction[a] = given[a] * out.unit;
    out.origin[a] = origin[a];
    radius = maximum(maximum(magnitude(V(bounds[a]) - origin[a]), magnitude(V(bounds[3 + a]) - origin[a])), radius);
    // In the place of an infinite one, a number of the sign with which the ray is taken.
    const V inverse = one / direction[a];
    const V infinite = either(axes.backwards[a], [&] { return -huge; }, [&] { return huge; });
    out.inverse[a] = select(magnitude(inverse) <= huge, inverse, infinite);
  }
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    const V margin = V(rounding<T>) * (V(9) * radius + V(4) * magnitude(origin[a]));
    const V low = origin[a] - margin, high = origin[a] + margin;
    out.enter_origin[a] = either(axes.backwards[a], [&] { return low; }, [&] { return high; });
    out.leave_origin[a] = either(axes.backwards[a], [&] { return high; }, [&] { return low; });
  }
  const auto component = [&](int32_t k) { return k == 0 ? direction[0] : k == 1 ? direction[1] : direction[2]; };
  const int32_t main = axes.axis[2];
  out.shear[2] = main == 0 ? out.inverse[0] : main == 1 ? out.inverse[1] : out.inverse[2];
  out.shear[0] = component(axes.axis[0]) * out.shear[2];
  out.shear[1] = component(axes.axis[1]) * out.shear[2];
  out.axes = axes;
  return out;
}

template <class T>
LG_HD PreparedRay<T> prepare(const Ray<T>& ray, const float* bounds) {
  return prepare(ray.origin, ray.direction, ray.t_min, ray.t_max, direction_of(ray.direction), bounds);
}

}  // namespace lg::ray
