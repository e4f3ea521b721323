// glTF's metallic-roughness surface with a clear coat above it and a base that transmits light (the extensions
// KHR_materials_clearcoat, _transmission, _ior and _volume).
//
// A thin sheet lets light through in the direction it came from, blurred by its roughness; a solid refracts it, with
// the exact Fresnel terms of dielectric.h, and mixes with the opaque surface. The coat takes from what lies under it by
// Fresnel's term for the more grazing of the two directions, as the Lambertian base of metallic_roughness.h is dimmed:
// symmetric, and without making energy.
#pragma once

#include <cmath>

#include "light/dielectric.h"
#include "light/material.h"
#include "light/metallic_roughness.h"
#include "runtime/call.h"

namespace lg::light {

constexpr double coat_at_normal = 0.04;

// Whether light goes through.
template <class V>
LG_HD bool transmits(const Material<V>& m) {
  return m.kind == kind_dielectric || (is_metallic_roughness(m.kind) && value_of(m.transmission) > 0);
}

// Whether what it transmits is refracted.
template <class V>
LG_HD bool refracts(const Material<V>& m) {
  return m.kind == kind_dielectric || (m.kind == kind_solid && value_of(m.transmission) > 0);
}

template <class T>
LG_HD Vec3<T> turned(const Vec3<T>& w) {
  return {w.x, w.y, -w.z};
}

// Light through a thin sheet, wo.z < 0: microfacets that send on to the other side what they would mirror.
template <class V, class T>
LG_HD_CALL void sheet_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const Vec3<T> mirrored = turned(wo), half = unit(wi + mirrored);
  const T nl = mirrored.z, nv = wi.z > T(1e-4) ? wi.z : T(1e-4), vh = clamped(dot(wi, half), T(0), T(1));
  const V alpha = alpha_of(m.roughness), one = V(T(1));
  const V facets = ggx(V(half.z), alpha) * smith_correlated(nl, nv, alpha) * V(nl);
  const V part = m.transmission * (one - m.metallic) * (one - schlick(vh, dielectric_at_normal(m.ior))) * facets;
  for (int c = 0; c < 3; ++c) out[c] = part * m.color[c];
}

// The part of a solid that is glass.
template <class V>
LG_HD V glass_part(const Material<V>& m) {
  using T = decltype(value_of(m.metallic));
  return m.transmission * (V(T(1)) - m.metallic);
}

template <class V, class T>
LG_HD_CALL void solid_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const bool reflects = wi.z * wo.z > 0;
  const V one = V(T(1)), part = glass_part(m), glass = part * border_value(m.ior, alpha_of(m.roughness), wi, wo);
  for (int c = 0; c < 3; ++c) out[c] = V(T(0));
  if (reflects && wi.z > 0) metallic_roughness_value(m, wi, wo, one, out);
  for (int c = 0; c < 3; ++c) out[c] = (one - part) * out[c] + (reflects ? glass : glass * m.color[c]);
}

template <class V, class T>
LG_HD_CALL void add_coat(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  const T nv = absolute(wi.z), nl = absolute(wo.z), grazing = nl < nv ? nl : nv;
  const V at_normal = V(T(coat_at_normal)), below = V(T(1)) - m.coat * schlick(grazing, at_normal);
  V above = V(T(0));
  if (wi.z > 0 && wo.z > 0) {
    const Vec3<T> half = unit(wi + wo);
    const V alpha = alpha_of(m.coat_roughness);
    above = m.coat * schlick(clamped(dot(wi, half), T(0), T(1)), at_normal) * ggx(V(half.z), alpha) *
            smith_correlated(nl, nv, alpha) * V(nl);
  }
  for (int c = 0; c < 3; ++c) out[c] = below * out[c] + above;
}

// Directions are flipped to the front, except inside solids.
template <class V, class T>
LG_HD void layered_value(const Material<V>& m, const Vec3<T>& wi, const Vec3<T>& wo, V (&out)[3]) {
  if (refracts(m)) {
    solid_value(m, wi, wo, out);
  } else if (wo.z > 0) {
    metallic_roughness_value(m, wi, wo, V(T(1)) - m.transmission, out);
  } else if (transmits(m)) {
    sheet_value(m, wi, wo, out);
  }
  if (value_of(m.coat) > 0 && (wi.z > 0 || wo.z > 0)) add_coat(m, wi, wo, out);
}

// The parts of directions that are drawn from the coat; and, of the others, from the glass of solids.
template <class T>
LG_HD T coat_share(const Material<T>& m, const Vec3<T>& wi) {
  return m.coat > 0 && wi.z > 0 ? clamped(m.coat * schlick(wi.z, T(coat_at_normal)), T(0.1), T(0.9)) : T(0);
}
template <class T>
LG_HD T glass_share(const Material<T>& m, const Vec3<T>& wi) {
  return wi.z > 0 ? clamped(glass_part(m), T(0), T(1)) : T(1);
}

template <class T>
LG_HD T layered_pdf(const Material<T>& m, const Vec3<T>& wi, const Vec3<T>& wo) {
  const T coat = coat_share(m, wi), alpha = alpha_of(m.roughness);
  const bool above = wi.z > 0 && wo.z > 0;
  T pdf = 0;
  if (refracts(m)) {
    const T glass = glass_share(m, wi);
    pdf = glass * border_pdf(m.ior, alpha, wi, wo);
    if (above) pdf += (1 - glass) * metallic_roughness_pdf(m, wi, wo);
  } else {
    const T share = metallic_roughness_share(m, wi), through = clamped(m.transmission, T(0), T(1));
    if (above) {
      pdf = share * reflected_pdf(wi, unit(wi + wo).z, alpha) + (1 - share) * (1 - through) * wo.z * T(1 / pi);
    } else {
      pdf = (1 - share) * through * reflected_pdf(wi, unit(wi + turned(wo)).z, alpha);
    }
  }
  pdf *= 1 - coat;
  if (above && coat > 0) pdf += coat * reflected_pdf(wi, unit(wi + wo).z, alpha_of(m.coat_roughness));
  return pdf;
}

// A number below `share`, or one from it on, spread over [0, 1) again.
template <class T>
LG_HD bool falls_below(T share, T* choice) {
  const bool below = *choice < share;
  *choice = below ? *choice / share : (*choice - share) / (1 - share);
  return below;
}

template <class T>
LG_HD Vec3<T> sample_layered(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v) {
  const Vec3<T> none = {0, 0, 0};
  const T alpha = alpha_of(m.roughness);
  Vec3<T> wo;
  if (falls_below(coat_share(m, wi), &choice)) {
    wo = sample_reflection(wi, alpha_of(m.coat_roughness), u, v);
  } else if (refracts(m)) {
    if (falls_below(glass_share(m, wi), &choice)) return sample_border(m.ior, alpha, wi, choice, u, v);
    wo = sample_metallic_roughness(m, wi, choice, u, v);
  } else if (falls_below(metallic_roughness_share(m, wi), &choice)) {
    wo = sample_reflection(wi, alpha, u, v);
  } else if (choice < clamped(m.transmission, T(0), T(1))) {
    wo = sample_reflection(wi, alpha, u, v);
    return wo.z > 0 ? turned(wo) : none;
  } else {
    wo = to_cosine_hemisphere(u, v);
  }
  return wo.z > 0 ? wo : none;
}

}  // namespace lg::light
