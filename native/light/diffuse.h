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

}  // namespace lg::light
