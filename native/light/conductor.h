// Metals with a complex index of refraction: GGX microfacets with separable masking and shadowing (Walter et al. 2007),
// or, of roughness 0, a mirror.
#pragma once

#include "light/fresnel.h"
#include "light/material.h"
#include "light/microfacet.h"
#include "runtime/call.h"

namespace lg::light {

template <class V, class T>
LG_HD_CALL void conductor_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const Vec3<T> half = unit(wi + wo);
  const V alpha = alpha_of(m.roughness);
  const V facets = ggx(V(half.z), alpha) * smith_visible(wi.z, alpha) * smith_visible(wo.z, alpha) * V(1 / (4 * wi.z));
  for (int c = 0; c < 3; ++c) out[c] = fresnel_conductor(dot(wi, half), m.color[c], m.extinction[c]) * facets;
}

template <class V, class T>
LG_HD void mirror_value(const Material<V>& m, const Vec3<T>& wi, V (&out)[3]) {
  for (int c = 0; c < 3; ++c) out[c] = fresnel_conductor(wi.z, m.color[c], m.extinction[c]);
}

}  // namespace lg::light
