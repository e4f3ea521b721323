// Surfaces of microfacets with the GGX distribution of normals (Walter et al. 2007). Directions are in the frame of the
// surface, whose normal is +z, and point away from it. T: a number, or lanes of one for each of many directions.
#pragma once

#include "light/vector.h"
#include "light/warp.h"
#include "math/dual.h"
#include "math/sine.h"
#include "runtime/call.h"
#include "runtime/config.h"

namespace lg::light {

// Rougher than a mirror, smoother surfaces count as this smooth (lumigrad.render.brdf).
constexpr double min_roughness = 0.04;

template <class V>
LG_HD V alpha_of(const V& roughness) {
  using T = decltype(value_of(roughness));
  const V r = clamped(roughness, T(min_roughness), T(1));
  return r * r;
}

// Density of normals per solid angle.
template <class V>
LG_HD V ggx(const V& cosine, const V& alpha) {
  using T = decltype(value_of(cosine));
  const V squared = alpha * alpha, spread = cosine * cosine * (squared - V(T(1))) + V(T(1));
  return squared / (V(T(pi)) * spread * spread);
}

// The part of facets that are visible from a direction (Smith). cosine: of its angle to the normal, not 0.
template <class V, class T>
LG_HD V smith_visible(T cosine, const V& alpha) {
  const T cos2 = cosine * cosine, tan2 = select(cos2 < T(1), (T(1) - cos2) / cos2, T(0));
  return V(T(2)) / (V(T(1)) + square_root(V(T(1)) + alpha * alpha * V(tan2)));
}

// Both directions, correlated by height (Heitz 2014), over 4 n.l n.v.
template <class V, class T>
LG_HD_CALL V smith_correlated(T nl, T nv, const V& alpha) {
  const V squared = alpha * alpha, rest = V(T(1)) - squared;
  const V sum = V(nv) * square_root(V(nl * nl) * rest + squared) + V(nl) * square_root(V(nv * nv) * rest + squared);
  return V(T(0.5)) / select(T(1e-7) < value_of(sum), sum, V(T(1e-7)));
}

// A facet's normal with the density of those visible from wi, wi.z > 0 (Dupuy and Benyoub 2023).
template <class T>
LG_HD Vec3<T> sample_visible_normal(const Vec3<T>& wi, T alpha, T u, T v) {
  const Vec3<T> stretched = unit(Vec3<T>{alpha * wi.x, alpha * wi.y, wi.z});
  const SineCosine<T> around = sine_cosine_of_turns(u);
  const T z = (1 - v) * (1 + stretched.z) - stretched.z, sine = root(clamped(1 - z * z, T(0), T(1)));
  const Vec3<T> half = Vec3<T>{sine * around.cosine, sine * around.sine, z} + stretched;
  return unit(Vec3<T>{alpha * half.x, alpha * half.y, maximum(half.z, T(0))});
}

// Its density per solid angle of normals, over wi.h.
template <class T>
LG_HD T visible_normal_pdf(const Vec3<T>& wi, T nh, T alpha) {
  return ggx(nh, alpha) * smith_visible(wi.z, alpha) / wi.z;
}

// The direction that such a normal reflects to wi.
template <class T>
LG_HD Vec3<T> sample_reflection(const Vec3<T>& wi, T alpha, T u, T v) {
  const Vec3<T> half = sample_visible_normal(wi, alpha, u, v);
  return 2 * dot(wi, half) * half - wi;
}

// The density of directions that are reflected by such normals.
template <class T>
LG_HD T reflected_pdf(const Vec3<T>& wi, T nh, T alpha) {
  return T(0.25) * visible_normal_pdf(wi, nh, alpha);
}

// Of microfacets above a matt base: the density of directions of which the part `share` is reflected by the
// microfacets, and a draw of one.
template <class T>
LG_HD T glossy_pdf(T share, const Vec3<T>& wi, const Vec3<T>& wo, T alpha) {
  return share * reflected_pdf(wi, unit(wi + wo).z, alpha) + (1 - share) * wo.z * T(1 / pi);
}
template <class T>
LG_HD Vec3<T> sample_glossy(T share, const Vec3<T>& wi, T alpha, T choice, T u, T v) {
  const MaskOf<T> mirrored = choice < share;
  if (!any(mirrored)) return to_cosine_hemisphere(u, v);
  const Vec3<T> wo = sample_reflection(wi, alpha, u, v);
  return any(!mirrored) ? select(mirrored, wo, to_cosine_hemisphere(u, v)) : wo;
}

}  // namespace lg::light
