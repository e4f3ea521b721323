// Materials, as rows of a tensor.
#pragma once

#include <cstdint>

#include "light/vector.h"
#include "math/dual.h"
#include "runtime/config.h"

namespace lg::light {

enum Kind : int32_t {
  kind_diffuse = 0,
  kind_metallic_roughness,  // what it transmits goes straight through, as through a thin sheet
  kind_conductor,
  kind_dielectric,
  kind_plastic,
  kind_solid,  // metallic-roughness, but what it transmits is refracted
  kind_count
};

// Columns of `materials`. What a kind has no use for is not read.
//
//   - color: of diffuse materials the reflectance, of metallic-roughness ones the base colour, of conductors the real
//     part of the index of refraction, of dielectrics the factor of what they reflect and transmit, of plastics the
//     factor of what comes through the coat in both directions.
//   - roughness: perceptual, its square is the width of the GGX distribution. Conductors and dielectrics of roughness 0
//     are smooth.
//   - metallic: of metallic-roughness ones.
//   - ior: the index of refraction inside over that outside, to where the normal points; not of diffuse ones and
//     conductors.
//   - extinction: of conductors, the imaginary part of the index of refraction.
//   - emission: radiance.
//   - alpha, alpha_cutoff: how much is there, and from which alpha on a masked material is there.
//   - transmission: the part of a metallic-roughness material's base that transmits light in place of the matt one.
//   - coat, coat_roughness: of a clear coat on a metallic-roughness material.
//   - normal_scale: of x and y of the normal map.
//   - attenuation: what the inside of dielectrics and solids absorbs, per length.
enum Column {
  column_color = 0,
  column_roughness = 3,
  column_metallic,
  column_ior,
  column_extinction,
  column_emission = 9,
  column_alpha = 12,
  column_alpha_cutoff,
  column_transmission,
  column_coat,
  column_coat_roughness,
  column_normal_scale,
  column_attenuation,
  material_columns = 21
};

// Of `material_kinds`, for each material: kind, whether it has two sides, the numbers of its textures or -1, its alpha
// mode, and a bit for each column of a texture that is looked up at the second coordinates.
enum KindColumn {
  kind_column,
  two_sided_column,
  color_texture_column,
  roughness_texture_column,
  emission_texture_column,
  alpha_texture_column,
  normal_texture_column,
  transmission_texture_column,
  coat_texture_column,
  coat_roughness_texture_column,
  alpha_mode_column,
  second_uv_column,
  kind_columns
};

enum AlphaMode : int32_t { alpha_opaque = 0, alpha_mask, alpha_blend };

// What reflection depends on. V: a number, or a Dual: of color and extinction, each channel is the same variable.
template <class V>
struct Material {
  Kind kind;
  bool two_sided;
  V color[3], roughness, metallic, ior, extinction[3], transmission, coat, coat_roughness;
};

// The last ones are those of layered materials alone, so that the others have fewer derivatives.
enum Variable {
  variable_color,
  variable_roughness,
  variable_metallic,
  variable_ior,
  variable_extinction,
  variables,
  variable_transmission = variables,
  variable_coat,
  variable_coat_roughness,
  layered_variables
};
// Behind those of a material there may be the components of both directions.
constexpr int direction_variables = 6;

LG_HD bool is_metallic_roughness(Kind kind) { return kind == kind_metallic_roughness || kind == kind_solid; }

// Whether there is more than a base that reflects. What is not there has no gradient.
template <class V>
LG_HD bool has_layers(const Material<V>& m) {
  return is_metallic_roughness(m.kind) && (value_of(m.transmission) > 0 || value_of(m.coat) > 0);
}

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
  m.transmission = row[column_transmission];
  m.coat = row[column_coat];
  m.coat_roughness = row[column_coat_roughness];
  return m;
}

// base: variables, or layered_variables, of N in all.
template <int base, int N, class T>
LG_HD Material<Dual<T, N>> with_derivatives(const Material<T>& m) {
  using V = Dual<T, N>;
  const auto layer = [](T value, int variable) { return variable < base ? V(value, variable) : V(value); };
  Material<V> out;
  out.kind = m.kind;
  out.two_sided = m.two_sided;
  for (int c = 0; c < 3; ++c) out.color[c] = V(m.color[c], variable_color);
  for (int c = 0; c < 3; ++c) out.extinction[c] = V(m.extinction[c], variable_extinction);
  out.roughness = V(m.roughness, variable_roughness);
  out.metallic = V(m.metallic, variable_metallic);
  out.ior = V(m.ior, variable_ior);
  out.transmission = layer(m.transmission, variable_transmission);
  out.coat = layer(m.coat, variable_coat);
  out.coat_roughness = layer(m.coat_roughness, variable_coat_roughness);
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
template <int base, int N, class T>
LG_HD void pull_back(const Dual<T, N> (&value)[3], const Vec3<T>& given, T (&row)[material_columns]) {
  constexpr Column columns[] = {column_roughness,    column_metallic, column_ior,           column_extinction,
                                column_transmission, column_coat,     column_coat_roughness};
  for (int c = 0; c < 3; ++c) {
    const T g = part(given, c);
    row[column_color + c] += g * value[c].slope[variable_color];
    row[column_extinction + c] += g * value[c].slope[variable_extinction];
    for (int k = variable_roughness; k < base; ++k) {
      if (k != variable_extinction) row[columns[k - 1]] += g * value[c].slope[k];
    }
  }
}

}  // namespace lg::light
