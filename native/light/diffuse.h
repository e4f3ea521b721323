// Lambertian reflection.
#pragma once

#include "light/material.h"
#include "light/warp.h"

namespace lg::light {

template <class V, class T>
LG_HD void diffuse_value(const Material<V>& m, const Vec3<T>&, const Vec3<T>& wo, V (&out)[3]) {
  for (int c = 0; c < 3; ++c) out[c] = m.color[c] * V(wo.z * T(1 / pi));
}

template <class T>
LG_HD T diffuse_pdf(const Vec3<T>& wo) {
  return wo.z * T(1 / pi);
}

// A direction that was drawn in front of a surface without an inside, on the side of wi; (0, 0, 0) where nothing is
// sent.
template <class T>
LG_HD Vec3<T> sent_to(const MaskOf<T>& two_sided, const Vec3<T>& wi, const Vec3<T>& wo) {
  const Vec3<T> none = {T(0), T(0), T(0)};
  const MaskOf<T> behind = wi.z < T(0), front = T(0) < wi.z;
  const MaskOf<T> sends = (front | (behind & two_sided)) & (T(0) < wo.z);
  return select(sends, Vec3<T>{wo.x, wo.y, select(behind, -wo.z, wo.z)}, none);
}

// A direction on the side of wi; (0, 0, 0) where nothing is sent. T: a number, or lanes of one for each of many
// directions.
template <class T>
LG_HD Vec3<T> sample_diffuse(const MaskOf<T>& two_sided, const Vec3<T>& wi, const T& u, const T& v) {
  return sent_to<T>(two_sided, wi, to_cosine_hemisphere(u, v));
}

}  // namespace lg::light
