// What a material sends to wi of the light from wo, in the frame of the surface: values with the cosine of wo,
// densities of drawn directions, and the draw itself. Directions point away from the surface, whose normal is +z.
//
// Values have derivatives by the material where V is a Dual, and also by the directions where T is the same Dual.
#pragma once

#include "light/conductor.h"
#include "light/dielectric.h"
#include "light/diffuse.h"
#include "light/layered.h"
#include "light/material.h"
#include "light/metallic_roughness.h"
#include "light/plastic.h"
#include "runtime/call.h"

namespace lg::light {

// Whether it sends light in single directions, which no other way of sampling can meet.
template <class T>
LG_HD bool is_smooth(const Material<T>& m) {
  return (m.kind == kind_conductor || m.kind == kind_dielectric) && !(m.roughness > 0);
}

// Both directions as a material sees them that has no inside. False where it shows nothing. through: whether it
// transmits light. T: a number, or lanes of one for each of many materials.
template <class T>
LG_HD MaskOf<T> turn_to_front(const MaskOf<T>& two_sided, bool through, Vec3<T>* wi, Vec3<T>* wo) {
  const MaskOf<T> behind = wi->z < T(0), turns = through ? behind : two_sided & behind;
  wi->z = select(turns, -wi->z, wi->z);
  wo->z = select(turns, -wo->z, wo->z);
  const MaskOf<T> seen = through ? !(wo->z == T(0)) : T(0) < wo->z;
  return (T(0) < wi->z) & seen;
}

// f |cos wo|; zero for smooth materials.
template <class V, class T>
LG_HD_CALL void bsdf_value(const Material<V>& m, Vec3<T> wi, Vec3<T> wo, V (&out)[3]) {
  for (int c = 0; c < 3; ++c) out[c] = V(T(0));
  const bool smooth = !(value_of(m.roughness) > 0);
  if (refracts(m)) {
    if (wi.z == 0 || wo.z == 0) return;
    if (m.kind == kind_solid) layered_value(m, wi, wo, out);
    if (m.kind == kind_dielectric && !smooth) dielectric_value(m, wi, wo, out);
    return;
  }
  if (!turn_to_front<T>(m.two_sided, transmits(m), &wi, &wo)) return;
  if (m.kind == kind_diffuse) diffuse_value(m, wi, wo, out);
  if (m.kind == kind_conductor && !smooth) conductor_value(m, wi, wo, out);
  if (m.kind == kind_plastic) plastic_value(m, wi, wo, out);
  if (!is_metallic_roughness(m.kind)) return;
  if (has_layers(m)) {
    layered_value(m, wi, wo, out);
  } else {
    metallic_roughness_value(m, wi, wo, V(T(1)), out);
  }
}

// The density of wo per solid angle; zero for smooth materials.
template <class T>
LG_HD_CALL T bsdf_pdf(const Material<T>& m, Vec3<T> wi, Vec3<T> wo) {
  if (is_smooth(m)) return T(0);
  if (refracts(m)) {
    if (wi.z == 0 || wo.z == 0) return T(0);
    return m.kind == kind_solid ? layered_pdf(m, wi, wo) : dielectric_pdf(m, wi, wo);
  }
  if (!turn_to_front<T>(m.two_sided, transmits(m), &wi, &wo)) return T(0);
  if (m.kind == kind_diffuse) return diffuse_pdf(wo);
  if (m.kind == kind_conductor) return reflected_pdf(wi, unit(wi + wo).z, alpha_of(m.roughness));
  if (m.kind == kind_plastic) return plastic_pdf(m, wi, wo);
  return has_layers(m) ? layered_pdf(m, wi, wo) : metallic_roughness_pdf(m, wi, wo);
}

// A direction; (0, 0, 0) where nothing is sent. choice, u, v in [0, 1).
template <class T>
LG_HD_CALL Vec3<T> sample_direction(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v) {
  if (wi.z == 0) return {0, 0, 0};
  if (m.kind == kind_diffuse) return sample_diffuse<T>(m.two_sided, wi, u, v);
  if (m.kind == kind_dielectric) return sample_dielectric(m, wi, choice, u, v);
  if (refracts(m)) return sample_layered(m, wi, choice, u, v);
  const T side = wi.z < 0 ? T(-1) : T(1);
  const bool through = transmits(m);
  if (side < 0 && !m.two_sided && !through) return {0, 0, 0};
  const Vec3<T> front = {wi.x, wi.y, side * wi.z};
  Vec3<T> wo;
  if (m.kind == kind_conductor) {
    wo = is_smooth(m) ? Vec3<T>{-front.x, -front.y, front.z} : sample_reflection(front, alpha_of(m.roughness), u, v);
  } else if (m.kind == kind_plastic) {
    wo = sample_plastic(m, front, choice, u, v);
  } else if (has_layers(m)) {
    wo = sample_layered(m, front, choice, u, v);
  } else {
    wo = sample_metallic_roughness(m, front, choice, u, v);
  }
  return wo.z > 0 || through ? Vec3<T>{wo.x, wo.y, side * wo.z} : Vec3<T>{0, 0, 0};
}

// A drawn direction, what it is worth (value / density), and its density: 0 where the direction is the only one.
template <class T>
struct BsdfSample {
  Vec3<T> wo, weight;
  T pdf;
  T eta;  // index of refraction behind the surface over that in front of it, where wo is refracted; else 1
};

template <class T>
LG_HD_CALL void sample_bsdf(const Material<T>& m, const Vec3<T>& wi, T choice, T u, T v, BsdfSample<T>* sample) {
  BsdfSample<T>& s = *sample;
  s = {sample_direction(m, wi, choice, u, v), {0, 0, 0}, 0, 1};
  if (s.wo.z == 0) return;
  if (m.kind == kind_diffuse) {
    s.pdf = diffuse_pdf(Vec3<T>{s.wo.x, s.wo.y, std::fabs(s.wo.z)});
    s.weight = load3(m.color);
    return;
  }
  if (refracts(m) && wi.z * s.wo.z < 0) s.eta = index_across(m.ior, wi);
  T value[3];
  if (is_smooth(m)) {
    // Reflection and refraction are chosen by what they are worth.
    if (m.kind == kind_conductor) {
      mirror_value(m, Vec3<T>{wi.x, wi.y, std::fabs(wi.z)}, value);
    } else {
      const T scale = 1 / (s.eta * s.eta);
      for (int c = 0; c < 3; ++c) value[c] = m.color[c] * scale;
    }
    s.weight = load3(value);
    return;
  }
  s.pdf = bsdf_pdf(m, wi, s.wo);
  bsdf_value(m, wi, s.wo, value);
  if (s.pdf > 0) s.weight = (1 / s.pdf) * load3(value);
}

}  // namespace lg::light
