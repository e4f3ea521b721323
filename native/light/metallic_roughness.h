// glTF's metallic-roughness surface: GGX microfacets over a Lambertian base, as lumigrad.render.brdf has it. Masking
// and shadowing are Smith's, correlated by height.
#pragma once

#include "light/fresnel.h"
#include "light/material.h"
#include "light/microfacet.h"
#include "light/warp.h"

namespace lg::light {

constexpr double dielectric_at_normal = 0.04;

template <class V, class T>
LG_HD void metallic_roughness_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const Vec3<T> half = unit(wi + wo);
  const T nl = wo.z, nv = wi.z > T(1e-4) ? wi.z : T(1e-4), vh = clamped(dot(wi, half), T(0), T(1));
  const T grazing = nl < nv ? nl : nv;
  const V alpha = alpha_of(m.roughness), base = V(T(dielectric_at_normal)), one = V(T(1));
  const V facets = ggx(V(half.z), alpha) * smith_correlated(nl, nv, alpha) * V(nl);
  const V matt = (one - m.metallic) * V(nl * T(1 / pi));
  for (int c = 0; c < 3; ++c) {
    const V at_normal = base + (m.color[c] - base) * m.metallic;
    out[c] = (one - schlick(grazing, at_normal)) * matt * m.color[c] + schlick(vh, at_normal) * facets;
  }
}

// The part of directions that are drawn from the microfacets; the others from the base.
template <class T>
LG_HD T metallic_roughness_share(const Material<T>& m, const Vec3<T>& wi) {
  const Vec3<T> color = {m.color[0], m.color[1], m.color[2]};
  const T metallic = clamped(m.metallic, T(0), T(1)), base = clamped(mean(color), T(0), T(1));
  const T facets = schlick(wi.z, T(dielectric_at_normal) * (1 - metallic) + base * metallic);
  const T matt = (1 - metallic) * base * (1 - facets);
  return matt > 0 ? clamped(facets / (facets + matt), T(0.1), T(0.9)) : T(1);
}

template <class T>
LG_HD T metallic_roughness_pdf(const Material<T>& m, const Vec3<T>& wi, const Vec3<T>& wo) {
  const T share = metallic_roughness_share(m, wi), nh = unit(wi + wo).z;
  return share * reflected_pdf(wi, nh, alpha_of(m.roughness)) + (1 - share) * wo.z * T(1 / pi);
}

template <class T>
LG_HD Vec3<T> sample_metallic_roughness(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v) {
  if (choice >= metallic_roughness_share(m, wi)) return to_cosine_hemisphere(u, v);
  const Vec3<T> half = sample_visible_normal(wi, alpha_of(m.roughness), u, v);
  return 2 * dot(wi, half) * half - wi;
}

}  // namespace lg::light
