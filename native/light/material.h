// Materials, as rows of a tensor.
#pragma once

#include <cstdint>

#include "light/vector.h"
#include "math/dual.h"
#include "runtime/config.h"

namespace lg::light {

enum Kind : int32_t { kind_diffuse = 0, kind_metallic_roughness = 1, kind_conductor = 2, kind_dielectric = 3 };

// Columns of `materials`. What a kind has no use for is not read.
//
//   - color: of diffuse materials the reflectance, of metallic-roughness ones the base colour, of conductors the real
//     part of the index of refraction, of dielectrics the factor of what they reflect and transmit.
//   - roughness: perceptual, its square is the width of the GGX distribution. Conductors and dielectrics of roughness 0
//     are smooth.
//   - metallic: of metallic-roughness ones.
//   - ior: of dielectrics, the index of refraction inside over that outside, to where the normal points.
//   - extinction: of conductors, the imaginary part of the index of refraction.
//   - emission: radiance.
enum Column {
  column_color = 0,
  column_roughness = 3,
  column_metallic,
  column_ior,
  column_extinction,
  column_emission = 9,
  material_columns = 12
};

// Of `material_kinds`, for each material: kind, whether it has two sides, and the numbers of its textures or -1.
enum KindColumn {
  kind_column,
  two_sided_column,
  color_texture_column,
  roughness_texture_column,
  emission_texture_column,
  kind_columns
};

// What reflection depends on. V: a number, or a Dual by `variables`: of color and extinction, each channel's own.
template <class V>
struct Material {
  Kind kind;
  bool two_sided;
  V color[3], roughness, metallic, ior, extinction[3];
};

enum Variable { variable_color, variable_roughness, variable_metallic, variable_ior, variable_extinction, variables };
// Behind those of a material there may be the components of both directions.
constexpr int direction_variables = 6;

template <class T>
LG_HD Material<T> load_material(const T* row, int32_t kind, bool two_sided) {
  Material<T> m;
  m.kind = static_cast<Kind>(kind);
  m.two_sided = two_sided;
  for (int c = 0; c < 3; ++c) m.color[c] = row[column_color + c];
  for (int c = 0; c < 3; ++c) m.extinction[c] = row[column_extinction + c];
  m.roughness = row[column_roughness];
  m.metallic = row[column_metallic];
  m.ior = row[column_ior];
  return m;
}

template <int N, class T>
LG_HD Material<Dual<T, N>> with_derivatives(const Material<T>& m) {
  using V = Dual<T, N>;
  Material<V> out;
  out.kind = m.kind;
  out.two_sided = m.two_sided;
  for (int c = 0; c < 3; ++c) out.color[c] = V(m.color[c], variable_color);
  for (int c = 0; c < 3; ++c) out.extinction[c] = V(m.extinction[c], variable_extinction);
  out.roughness = V(m.roughness, variable_roughness);
  out.metallic = V(m.metallic, variable_metallic);
  out.ior = V(m.ior, variable_ior);
  return out;
}

// A direction whose components are three variables from `first` on.
template <int N, class T>
LG_HD Vec3<Dual<T, N>> with_derivatives(const Vec3<T>& d, int first) {
  return {{d.x, first}, {d.y, first + 1}, {d.z, first + 2}};
}

// The gradient by such a direction.
template <int N, class T>
LG_HD Vec3<T> pull_direction(const Dual<T, N> (&value)[3], const Vec3<T>& given, int first) {
  Vec3<T> sum = {0, 0, 0};
  for (int c = 0; c < 3; ++c) {
    const T* slope = value[c].slope + first;
    sum = sum + part(given, c) * Vec3<T>{slope[0], slope[1], slope[2]};
  }
  return sum;
}

// Adds to a row what `given` (by the values of three channels) and their derivatives make of it.
template <int N, class T>
LG_HD void pull_back(const Dual<T, N> (&value)[3], const Vec3<T>& given, T (&row)[material_columns]) {
  for (int c = 0; c < 3; ++c) {
    const T g = part(given, c);
    row[column_color + c] += g * value[c].slope[variable_color];
    row[column_extinction + c] += g * value[c].slope[variable_extinction];
    row[column_roughness] += g * value[c].slope[variable_roughness];
    row[column_metallic] += g * value[c].slope[variable_metallic];
    row[column_ior] += g * value[c].slope[variable_ior];
  }
}

}  // namespace lg::light
