// What several files of this family call on the CPU and is long to compile: bsdf_cpu.cpp compiles it for all of them.
#pragma once

#include "light/bsdf.h"
#include "light/intersect.h"

namespace lg::light {

// Values with derivatives by the material alone, and by the directions, too.
#define LG_MATERIALS_BY(prefix, T, N)                                                                             \
  prefix template void bsdf_value(const Material<Dual<T, N>>&, Vec3<T>, Vec3<T>, Dual<T, N>(&)[3]);               \
  prefix template void bsdf_value(const Material<Dual<T, N + direction_variables>>&,                              \
                                  Vec3<Dual<T, N + direction_variables>>, Vec3<Dual<T, N + direction_variables>>, \
                                  Dual<T, N + direction_variables>(&)[3]);
#define LG_MATERIALS(prefix, T)                                                                  \
  prefix template void bsdf_value(const Material<T>&, Vec3<T>, Vec3<T>, T(&)[3]);                \
  prefix template T bsdf_pdf(const Material<T>&, Vec3<T>, Vec3<T>);                              \
  prefix template void sample_bsdf(const Material<T>&, const Vec3<T>&, T, T, T, BsdfSample<T>*); \
  prefix template struct Intersector<T>;                                                         \
  LG_MATERIALS_BY(prefix, T, variables)                                                          \
  LG_MATERIALS_BY(prefix, T, layered_variables)

LG_MATERIALS(extern, float)
LG_MATERIALS(extern, double)

}  // namespace lg::light
