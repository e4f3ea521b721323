// What an image of paths has gradients by, and where they go.
#pragma once

#include <cstdint>

#include "light/lamp.h"
#include "light/material.h"
#include "lumigrad.h"
#include "runtime/config.h"

namespace lg::light {

// Those of a scene, to which any path may add. Rays have theirs in rays_gradient.h.
enum Gradient : int32_t {
  of_positions,
  of_corner_normals,
  of_corner_uvs,
  of_corner_colors,
  of_materials,
  of_texels,
  of_lamps,
  of_lamp_intensities,
  of_environment,
  gradients
};

// Where gradients go, and how many values each has; null where one is not wanted.
template <class T>
struct PathGradients {
  T* values[gradients];
  int64_t counts[gradients];

  LG_HD int64_t first(int gradient) const {
    int64_t slot = 0;
    for (int k = 0; k < gradient; ++k) slot += values[k] ? counts[k] : 0;
    return slot;
  }
};

template <class T>
PathGradients<T> make_path_gradients(const lg_lit_scene& scene, void* corner_colors, void* materials, void* texels,
                                     void* lamp_intensities, void* environment) {
  PathGradients<T> out = {};
  const auto set = [&](Gradient gradient, void* values, int64_t count) {
    out.values[gradient] = static_cast<T*>(values);
    out.counts[gradient] = count;
  };
  set(of_corner_colors, corner_colors, 9 * scene.triangles);
  set(of_materials, materials, material_columns * scene.material_count);
  set(of_texels, texels, 3 * scene.texel_count);
  set(of_lamp_intensities, lamp_intensities, 3 * scene.lamp_count);
  set(of_environment, environment, 18 * scene.side * scene.side);
  return out;
}

}  // namespace lg::light
