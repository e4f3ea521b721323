// A matt base under a dielectric coat: GGX microfacets with separable masking and shadowing above, and below a
// Lambertian surface that light reaches and leaves through the smooth coat.
#pragma once

#include "light/fresnel.h"
#include "light/material.h"
#include "light/microfacet.h"
#include "runtime/call.h"

namespace lg::light {

template <class V, class T>
LG_HD_CALL void plastic_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const Vec3<T> half = unit(wi + wo);
  const V alpha = alpha_of(m.roughness), one = V(T(1));
  const V facets = ggx(V(half.z), alpha) * smith_visible(wi.z, alpha) * smith_visible(wo.z, alpha) * V(1 / (4 * wi.z));
  const V coat = fresnel_dielectric(V(dot(wi, half)), m.ior) * facets;
  const V through = (one - fresnel_dielectric(V(wi.z), m.ior)) * (one - fresnel_dielectric(V(wo.z), m.ior));
  for (int c = 0; c < 3; ++c) out[c] = coat + through * V(wo.z * T(1 / pi)) * m.color[c];
}

// The part of directions that are drawn from the coat; the others from the base.
template <class T>
LG_HD T plastic_share(const Material<T>& m, const Vec3<T>& wi) {
  const T coat = fresnel_dielectric(wi.z, m.ior);
  const T base = (1 - coat) * clamped(mean(Vec3<T>{m.color[0], m.color[1], m.color[2]}), T(0), T(1));
  return clamped(coat / (coat + base), T(0.1), T(0.9));
}

template <class T>
LG_HD T plastic_pdf(const Material<T>& m, const Vec3<T>& wi, const Vec3<T>& wo) {
  return glossy_pdf(plastic_share(m, wi), wi, wo, alpha_of(m.roughness));
}

template <class T>
LG_HD Vec3<T> sample_plastic(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v) {
  return sample_glossy(plastic_share(m, wi), wi, alpha_of(m.roughness), choice, u, v);
}

}  // namespace lg::light
