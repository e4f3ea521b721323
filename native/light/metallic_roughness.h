// glTF's metallic-roughness surface: GGX microfacets over a Lambertian base, as lumigrad.render.brdf has it. Masking
// and shadowing are Smith's, correlated by height. T: a number, or lanes of one for each of many surfaces.
#pragma once

#include "light/fresnel.h"
#include "light/material.h"
#include "light/microfacet.h"
#include "runtime/call.h"

namespace lg::light {

// What a dielectric reflects at normal incidence.
template <class V>
LG_HD V dielectric_at_normal(const V& ior) {
  using T = decltype(value_of(ior));
  const V root = (ior - V(T(1))) / (ior + V(T(1)));
  return root * root;
}

// Both directions on the side of +z. matt: the part of the base that is Lambertian.
template <class V, class T>
LG_HD_CALL void metallic_roughness_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, const V& matt,
                                         V (&out)[3]) {
  const Vec3<T> half = unit(wi + wo);
  const T nl = wo.z, nv = select(T(1e-4) < wi.z, wi.z, T(1e-4)), vh = clamped(dot(wi, half), T(0), T(1));
  const T grazing = select(nl < nv, nl, nv);
  const V alpha = alpha_of(m.roughness), base = dielectric_at_normal(m.ior), one = V(T(1));
  const V facets = ggx(V(half.z), alpha) * smith_correlated(nl, nv, alpha) * V(nl);
  const V diffuse = matt * (one - m.metallic) * V(nl * T(1 / pi));
  for (int c = 0; c < 3; ++c) {
    const V at_normal = base + (m.color[c] - base) * m.metallic;
    out[c] = (one - schlick(grazing, at_normal)) * diffuse * m.color[c] + schlick(vh, at_normal) * facets;
  }
}

// How much microfacets and base reflect, about. rest: of all light, less what microfacets reflect.
template <class T>
struct Parts {
  T facets, base, metallic, rest;
};
template <class T>
LG_HD Parts<T> metallic_roughness_parts(const Material<T>& m, const Vec3<T>& wi) {
  const Vec3<T> color = {m.color[0], m.color[1], m.color[2]};
  const T metallic = clamped(m.metallic, T(0), T(1)), base = clamped(mean(color), T(0), T(1));
  const T facets = schlick(wi.z, dielectric_at_normal(m.ior) * (1 - metallic) + base * metallic);
  return {facets, base, metallic, 1 - facets};
}

// The part of directions that are drawn from the microfacets; the others from the base.
template <class T>
LG_HD T metallic_roughness_share(const Material<T>& m, const Vec3<T>& wi) {
  const Parts<T> parts = metallic_roughness_parts(m, wi);
  const T matt = (1 - parts.metallic) * parts.base * parts.rest;
  return select(T(0) < matt, clamped(parts.facets / (parts.facets + matt), T(0.1), T(0.9)), T(1));
}

template <class T>
LG_HD T metallic_roughness_pdf(const Material<T>& m, const Vec3<T>& wi, const Vec3<T>& wo) {
  return glossy_pdf(metallic_roughness_share(m, wi), wi, wo, alpha_of(m.roughness));
}

template <class T>
LG_HD Vec3<T> sample_metallic_roughness(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v) {
  return sample_glossy(metallic_roughness_share(m, wi), wi, alpha_of(m.roughness), choice, u, v);
}

}  // namespace lg::light
