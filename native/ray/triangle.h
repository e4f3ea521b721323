// Whether a ray hits a triangle: exactly, for the coordinates to which the ray shears the corners.
//
// A triangle is hit where its three edge functions do not have different signs (Woop, Benthin and Wald 2013,
// "Watertight Ray/Triangle Intersection"). Triangles that share an edge compute the same function of it, with opposite
// signs, so no ray passes between them. A difference of two rounded products has the sign of the exact one, or is zero;
// in that case it is computed without rounding.
//
// Where a ray all but lies in a triangle's plane, roundings may move t along the whole triangle. So t is clamped to
// where the ray is in the triangle's own box. All that is computed for that box is at least as large, or small, for the
// boxes around it: no box that holds a hit is left out, and what a ray hits does not depend on the tree.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "math/scalar.h"
#include "ray/ray.h"
#include "runtime/config.h"

namespace lg::ray {

// V: a number, or lanes of a packet's rays or of a leaf's triangles. Rays: PreparedRays<V>, or one ray for all lanes.

// Where a ray enters and leaves a box.
template <class V>
struct Span {
  V enter, leave;
};

// Rounding errors of both ends are at most three roundings each (Ize 2013, "Robust BVH Ray Traversal").
template <class T>
constexpr T leave_factor = 1 + 8 * rounding<T>;

// enter_at(axis), leave_at(axis): the planes that the ray comes to first and last.
template <class V, class Rays, class EnterAt, class LeaveAt>
LG_HD Span<V> span_of(const Rays& ray, EnterAt&& enter_at, LeaveAt&& leave_at) {
  V enter[3], leave[3];
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    enter[a] = (enter_at(a) - V(ray.enter_origin[a])) * V(ray.inverse[a]);
    leave[a] = (leave_at(a) - V(ray.leave_origin[a])) * V(ray.inverse[a]);
  }
  return {maximum(maximum(enter[0], enter[1]), enter[2]),
          minimum(minimum(leave[0], leave[1]), leave[2]) * V(leave_factor<ScalarOf<V>>)};
}

// The corners of triangles, sheared; x and y of a corner, and z from the ray's origin on.
template <class V>
struct Sheared {
  V x[3], y[3], z[3];
};

// corner(vertex, axis): coordinates.
template <class V, class Rays, class Corner>
LG_HD Sheared<V> shear(const Rays& ray, Corner&& corner) {
  Sheared<V> out;
  LG_UNROLL
  for (int k = 0; k < 3; ++k) {
    out.z[k] = corner(k, ray.axes.axis[2]) - V(ray.origin[ray.axes.axis[2]]);
    out.x[k] = (corner(k, ray.axes.axis[0]) - V(ray.origin[ray.axes.axis[0]])) - V(ray.shear[0]) * out.z[k];
    out.y[k] = (corner(k, ray.axes.axis[1]) - V(ray.origin[ray.axes.axis[1]])) - V(ray.shear[1]) * out.z[k];
  }
  return out;
}

// The edge function opposite of each vertex.
template <class V>
struct EdgeFunctions {
  V e[3];
};

template <class V>
LG_HD EdgeFunctions<V> edge_functions(const Sheared<V>& s) {
  return {{s.x[2] * s.y[1] - s.y[2] * s.x[1], s.x[0] * s.y[2] - s.y[0] * s.x[2], s.x[1] * s.y[0] - s.y[1] * s.x[0]}};
}

template <class V>
LG_HD MaskOf<V> have_one_sign(const EdgeFunctions<V>& f) {
  const V zero(0);
  return (zero <= minimum(minimum(f.e[0], f.e[1]), f.e[2])) | (maximum(maximum(f.e[0], f.e[1]), f.e[2]) <= zero);
}

// What rounding takes from a b (Dekker 1971). Without fused multiply-add, which not every processor has.
LG_HD double lost_of_product(double a, double b, double product) {
  constexpr double splitter = 134217729;  // 2^27 + 1
  const double a_scaled = splitter * a, b_scaled = splitter * b;
  const double a_high = a_scaled - (a_scaled - a), b_high = b_scaled - (b_scaled - b);
  const double a_low = a - a_high, b_low = b - b_high;
  return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
}

// a b - c d with the sign of the exact value, and zero only where that is zero.
LG_HD double signed_difference(float a, float b, float c, float d) {
  return static_cast<double>(a) * b - static_cast<double>(c) * d;
}
LG_HD double signed_difference(double a, double b, double c, double d) {
  const double first = a * b, second = c * d, difference = first - second;
  return difference != 0 ? difference : lost_of_product(a, b, first) - lost_of_product(c, d, second);
}

// The same for one triangle, with signs that are right.
template <class T>
LG_HD EdgeFunctions<double> exact_edge_functions(const Sheared<T>& s) {
  return {{signed_difference(s.x[2], s.y[1], s.y[2], s.x[1]), signed_difference(s.x[0], s.y[2], s.y[0], s.x[2]),
           signed_difference(s.x[1], s.y[0], s.y[1], s.x[0])}};
}

// Where a ray meets the plane of a triangle, in units of the scaled direction.
template <class V>
LG_HD V meeting(const EdgeFunctions<V>& f, const V& det, const V& z0, const V& z1, const V& z2, const V& scale) {
  const V inverse = V(1) / det;
  return ((f.e[0] * inverse) * z0 + (f.e[1] * inverse) * z1 + (f.e[2] * inverse) * z2) * scale;
}

// The same of one triangle, or NaN if it is missed, where edge functions in T cannot decide.
template <class T>
LG_HD_LARGE T careful_meeting(const Sheared<T>& s, T scale) {
  const EdgeFunctions<double> f = exact_edge_functions(s);
  const double det = f.e[0] + f.e[1] + f.e[2];
  const double t = meeting<double>(f, det, s.z[0], s.z[1], s.z[2], scale);
  return have_one_sign(f) && det != 0 ? static_cast<T>(t) : std::numeric_limits<T>::quiet_NaN();
}

template <class T>
constexpr T largest_number = std::numeric_limits<T>::max();
template <class T>
constexpr T least_determinant = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();

template <class V>
struct Meeting {
  MaskOf<V> hit;
  V t;
};

// Decides what is doubtful, lane by lane. scale: shear[2] of the ray, or of each.
template <class V>
LG_HD void decide(const MaskOf<V>& doubtful, const Sheared<V>& s, const V& scale, Meeting<V>& met) {
  if constexpr (std::is_arithmetic_v<V>) {
    met.t = careful_meeting(s, scale);
    met.hit = met.t == met.t;
  } else {
    using T = ScalarOf<V>;
    for (uint32_t left = bits_of(doubtful); left; left &= left - 1) {
      const int l = __builtin_ctz(left);
      Sheared<T> one;
      for (int k = 0; k < 3; ++k) one.x[k] = s.x[k][l], one.y[k] = s.y[k][l], one.z[k] = s.z[k][l];
      const T t = careful_meeting(one, scale[l]);
      met.t.set(l, t);
      met.hit.set(l, t == t ? -1 : 0);
    }
  }
}

// Which triangles are hit, and where, in units of the scaled direction; corner(vertex, axis): coordinates.
template <class V, class Rays, class Corner>
LG_HD Meeting<V> meet(const Rays& ray, Corner&& corner) {
  const V zero(0), scale(ray.shear[2]);
  const Sheared<V> s = shear<V>(ray, corner);
  const EdgeFunctions<V> f = edge_functions(s);
  const V det = f.e[0] + f.e[1] + f.e[2];
  Meeting<V> met;
  // Edge functions have the right signs, or are zero: where two differ, the triangle is missed.
  met.hit = zero <= maximum(minimum(minimum(f.e[0], f.e[1]), f.e[2]), -maximum(maximum(f.e[0], f.e[1]), f.e[2]));
  // But small and large numbers have lost bits. Corners that are not numbers are those of no triangle.
  const V size = magnitude(det), least(least_determinant<ScalarOf<V>>), largest(largest_number<ScalarOf<V>>);
  const MaskOf<V> rounded = without(s.z[0] == s.z[0], minimum(maximum(size, least), largest) == size);
  if (LG_LIKELY(!any(met.hit | rounded))) return met;
  const V nearest = minimum(minimum(magnitude(f.e[0]), magnitude(f.e[1])), magnitude(f.e[2]));
  const MaskOf<V> doubtful = rounded | (met.hit & (nearest == zero));
  met.t = meeting(f, det, s.z[0], s.z[1], s.z[2], scale);
  if (LG_UNLIKELY(any(doubtful))) decide(doubtful, s, scale, met);
  const auto low = [&](int a) { return minimum(minimum(corner(0, a), corner(1, a)), corner(2, a)); };
  const auto high = [&](int a) { return maximum(maximum(corner(0, a), corner(1, a)), corner(2, a)); };
  const auto enter_at = [&](int a) {
    return either(ray.axes.backwards[a], [&] { return high(a); }, [&] { return low(a); });
  };
  const auto leave_at = [&](int a) {
    return either(ray.axes.backwards[a], [&] { return low(a); }, [&] { return high(a); });
  };
  const Span<V> own = span_of<V>(ray, enter_at, leave_at);
  met.t = minimum(maximum(met.t, own.enter), own.leave);
  met.hit = met.hit & (own.enter <= own.leave);
  return met;
}

// Weights of the first two corners, and where a ray meets a triangle that is known to be hit, in float64.
template <class V>
struct Place {
  V u, v, t;
};

// V: a number of type double, or lanes of it. corner(vertex, axis): coordinates; t: as the tests found it.
template <class V, class Corner>
LG_HD Place<V> exact_place(const V (&origin)[3], const V (&d)[3], const V& t, const V& t_min, const V& t_max,
                           Corner&& corner) {
  V e0[3], e1[3], s[3];
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    const V last = corner(2, a);
    e0[a] = corner(0, a) - last;
    e1[a] = corner(1, a) - last;
    s[a] = origin[a] - last;
  }
  const V p[3] = {d[1] * e1[2] - d[2] * e1[1], d[2] * e1[0] - d[0] * e1[2], d[0] * e1[1] - d[1] * e1[0]};
  const V q[3] = {s[1] * e0[2] - s[2] * e0[1], s[2] * e0[0] - s[0] * e0[2], s[0] * e0[1] - s[1] * e0[0]};
  const V inverse = V(1) / (e0[0] * p[0] + e0[1] * p[1] + e0[2] * p[2]);
  const V u = (s[0] * p[0] + s[1] * p[1] + s[2] * p[2]) * inverse;
  const V v = (d[0] * q[0] + d[1] * q[1] + d[2] * q[2]) * inverse;
  const V found = (e1[0] * q[0] + e1[1] * q[1] + e1[2] * q[2]) * inverse;
  // Not a number where the ray lies in the plane.
  const V zero(0), all = u + v + found;
  const MaskOf<V> known = all - all == zero;
  const V a = select(known, maximum(u, zero), V(1.0 / 3)), b = select(known, maximum(v, zero), V(1.0 / 3));
  const V share = V(1) / maximum(a + b, V(1));
  return {a * share, b * share, minimum(maximum(select(known, found, t), maximum(t_min, zero)), t_max)};
}

}  // namespace lg::ray
