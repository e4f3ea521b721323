// What an image of paths has gradients by, and where they go.
#pragma once

#include <cstdint>

#include "light/lamp.h"
#include "light/material.h"
#include "light/medium.h"
#include "lumigrad.h"
#include "runtime/config.h"

namespace lg::light {

// Those of a scene, to which any path may add. Rays have theirs in ray_grid.h.
enum Gradient : int32_t {
  of_positions,
  of_corner_normals,
  of_corner_uvs,
  of_corner_second_uvs,
  of_corner_colors,
  of_materials,
  of_texels,
  of_lamps,
  of_lamp_intensities,
  of_environment,
  of_environment_rotation,
  of_media,
  of_voxels,
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
  // Whether any is asked for that moves points, directions or normals.
  bool move(const lg_lit_scene& scene) const {
    if (scene.corner_tangents && (values[of_materials] || values[of_texels])) return true;
    const Gradient moving[] = {of_positions,         of_corner_normals, of_corner_uvs,
                               of_corner_second_uvs, of_lamps,          of_environment_rotation};
    for (const Gradient gradient : moving) {
      if (values[gradient]) return true;
    }
    return false;
  }
};

// Each may be null.
struct GradientBuffers {
  void *positions, *corner_normals, *corner_uvs, *corner_second_uvs, *corner_colors, *materials, *texels, *lamps,
      *lamp_intensities, *environment, *environment_rotation, *media, *voxels;
};

template <class T>
PathGradients<T> make_path_gradients(const lg_lit_scene& scene, const GradientBuffers& to) {
  PathGradients<T> out = {};
  const auto set = [&](Gradient gradient, void* values, int64_t count) {
    out.values[gradient] = static_cast<T*>(values);
    out.counts[gradient] = count;
  };
  set(of_positions, to.positions, 3 * scene.vertices);
  set(of_corner_normals, to.corner_normals, 9 * scene.triangles);
  set(of_corner_uvs, to.corner_uvs, 6 * scene.triangles);
  set(of_corner_second_uvs, to.corner_second_uvs, 6 * scene.triangles);
  set(of_corner_colors, to.corner_colors, 9 * scene.triangles);
  set(of_materials, to.materials, material_columns * scene.material_count);
  set(of_texels, to.texels, 3 * scene.texel_count);
  set(of_lamps, to.lamps, lamp_columns * scene.lamp_count);
  set(of_lamp_intensities, to.lamp_intensities, 3 * scene.lamp_count);
  set(of_environment, to.environment, 18 * scene.side * scene.side);
  set(of_environment_rotation, to.environment_rotation, 9);
  set(of_media, to.media, medium_columns * scene.medium_count);
  set(of_voxels, to.voxels, scene.medium_value_count);
  return out;
}

}  // namespace lg::light
