// How much a surface reflects, by the cosine of the angle to its normal. V: a number or a Dual.
#pragma once

#include "light/vector.h"
#include "math/dual.h"
#include "runtime/call.h"
#include "runtime/config.h"

namespace lg::light {

// Schlick 1994. at_normal: the reflectance at normal incidence.
template <class V, class T>
LG_HD V schlick(T cosine, const V& at_normal) {
  const T m = clamped(1 - cosine, T(0), T(1)), m2 = m * m;
  return at_normal + (V(T(1)) - at_normal) * V(m2 * m2 * m);
}

// Of unpolarised light at a conductor with the index of refraction eta + i k.
template <class V, class T>
LG_HD_CALL V fresnel_conductor(T cosine, const V& eta, const V& k) {
  const T cos2 = cosine * cosine, sin2 = 1 - cos2;
  const V eta2 = eta * eta, k2 = k * k, t0 = eta2 - k2 - V(sin2);
  const V length = square_root(t0 * t0 + V(T(4)) * eta2 * k2);
  const V a = square_root(V(T(0.5)) * (length + t0));
  const V sum = length + V(cos2), twice = V(2 * cosine) * a;
  const V perpendicular = (sum - twice) / (sum + twice);
  const V far = V(cos2) * length + V(sin2 * sin2), near = twice * V(sin2);
  return V(T(0.5)) * (perpendicular + perpendicular * (far - near) / (far + near));
}

// At the border of two dielectrics, exactly. cosine: at least 0, on the side that light comes from; eta: the index of
// the other side over that of this side.
template <class V>
LG_HD_CALL V fresnel_dielectric(const V& cosine, const V& eta) {
  using T = decltype(value_of(cosine));
  const V one = V(T(1)), sin2 = (one - cosine * cosine) / (eta * eta);
  if (!(value_of(sin2) < 1)) return one;
  const V other = square_root(one - sin2);
  const V parallel = (eta * cosine - other) / (eta * cosine + other);
  const V perpendicular = (cosine - eta * other) / (cosine + eta * other);
  return V(T(0.5)) * (parallel * parallel + perpendicular * perpendicular);
}

}  // namespace lg::light
