// Glass: the border of two dielectrics, which reflects and transmits. Rough: GGX microfacets with separable masking and
// shadowing (Walter et al. 2007). Smooth: one direction each.
//
// Values are those of radiance, which on its way through the border is scaled by the square of the ratio of indices.
#pragma once

#include <cmath>

#include "light/fresnel.h"
#include "light/material.h"
#include "light/microfacet.h"
#include "runtime/call.h"

namespace lg::light {

// The index of the side that wi does not point to, over that of the side it points to.
template <class V, class T>
LG_HD V index_across(const V& ior, const Vec3<T>& wi) {
  return wi.z > 0 ? ior : V(T(1)) / ior;
}

// A facet between the directions, its normal h on the side of +z.
template <class V>
struct Facet {
  V cos_i, cos_o, cosine;  // wi.h, wo.h, h.z
  bool valid;              // both directions see the same side of the facet as of the surface
};

template <class V, class T>
LG_HD Facet<V> facet_between(const Vec3<T>& wi, const Vec3<T>& wo, const V& eta) {
  const V x = V(wi.x) + eta * V(wo.x), y = V(wi.y) + eta * V(wo.y), z = V(wi.z) + eta * V(wo.z);
  const V scale = V(value_of(z) < 0 ? T(-1) : T(1)) / square_root(x * x + y * y + z * z);
  Facet<V> f;
  f.cos_i = scale * (V(wi.x) * x + V(wi.y) * y + V(wi.z) * z);
  f.cos_o = scale * (V(wo.x) * x + V(wo.y) * y + V(wo.z) * z);
  f.cosine = scale * z;
  f.valid = value_of(f.cos_i) * wi.z > 0 && value_of(f.cos_o) * wo.z > 0;
  return f;
}

// wi.h + eta wo.h
template <class V>
LG_HD V refraction_sum(const Facet<V>& f, const V& eta) {
  return f.cos_i + eta * f.cos_o;
}

// f |cos wo| of a rough border, without its colour.
template <class V, class T>
LG_HD_CALL V border_value(const V& ior, const V& alpha, const Vec3<T>& wi, const Vec3<T>& wo) {
  const bool reflects = wi.z * wo.z > 0;
  const V across = index_across(ior, wi), eta = reflects ? V(T(1)) : across;
  const Facet<V> f = facet_between(wi, wo, eta);
  if (!f.valid) return V(T(0));
  const V reflected = fresnel_dielectric(absolute(f.cos_i), across);
  const V facets =
      ggx(f.cosine, alpha) * smith_visible(wi.z, alpha) * smith_visible(wo.z, alpha) * V(1 / absolute(wi.z));
  if (reflects) return reflected * facets * V(T(0.25));
  const V sum = refraction_sum(f, eta);
  return (V(T(1)) - reflected) * facets * absolute(f.cos_i * f.cos_o) / (sum * sum);
}

template <class T>
LG_HD T border_pdf(T ior, T alpha, const Vec3<T>& wi, const Vec3<T>& wo) {
  const bool reflects = wi.z * wo.z > 0;
  const T across = index_across(ior, wi), eta = reflects ? T(1) : across;
  const Facet<T> f = facet_between(wi, wo, eta);
  if (!f.valid) return T(0);
  const T reflected = fresnel_dielectric(absolute(f.cos_i), across);
  const T density = ggx(f.cosine, alpha) * smith_visible(wi.z, alpha) / std::fabs(wi.z);  // of facets, over |wi.h|
  if (reflects) return reflected * density * T(0.25);
  const T sum = refraction_sum(f, eta);
  return (1 - reflected) * density * std::fabs(f.cos_i) * eta * eta * std::fabs(f.cos_o) / (sum * sum);
}

template <class V, class T>
LG_HD void dielectric_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const V value = border_value(m.ior, alpha_of(m.roughness), wi, wo);
  for (int c = 0; c < 3; ++c) out[c] = m.color[c] * value;
}

template <class T>
LG_HD T dielectric_pdf(const Material<T>& m, const Vec3<T>& wi, const Vec3<T>& wo) {
  return border_pdf(m.ior, alpha_of(m.roughness), wi, wo);
}

// What a facet with the normal h (on the side of wi) sends to wi: the reflected or the refracted direction.
template <class T>
LG_HD Vec3<T> reflect_or_refract(const Vec3<T>& wi, const Vec3<T>& h, T across, T choice, bool* reflects) {
  const T cosine = dot(wi, h);
  *reflects = choice < fresnel_dielectric(cosine, across);
  if (*reflects) return 2 * cosine * h - wi;
  const T sin2 = (1 - cosine * cosine) / (across * across), other = std::sqrt(clamped(1 - sin2, T(0), T(1)));
  return (cosine / across - other) * h - (1 / across) * wi;
}

// alpha: 0 where the border is smooth.
template <class T>
LG_HD Vec3<T> sample_border(T ior, T alpha, const Vec3<T>& wi, T choice, T u, T v) {
  const T side = wi.z > 0 ? T(1) : T(-1);
  const Vec3<T> above = side * wi;
  Vec3<T> h = {0, 0, 1};
  if (alpha > 0) h = sample_visible_normal(above, alpha, u, v);
  bool reflects;
  const Vec3<T> wo = reflect_or_refract(above, h, index_across(ior, wi), choice, &reflects);
  // Directions on the wrong side of the surface carry no light.
  return side * ((wo.z > 0) == reflects ? wo : Vec3<T>{0, 0, 0});
}

template <class T>
LG_HD Vec3<T> sample_dielectric(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v) {
  return sample_border(m.ior, m.roughness > 0 ? alpha_of(m.roughness) : T(0), wi, choice, u, v);
}

}  // namespace lg::light
