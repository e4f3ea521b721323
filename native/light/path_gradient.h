// Gradients of images of paths, by replay (Vicini et al. 2021): each path is followed twice. The first time tells what
// light it carries in all. The second time, what it has met already is taken from that; the rest is in proportion to
// the factor of each surface that it goes on from. Nothing of a path is stored, however long it is.
//
// Where a material is black, what lies behind it carries no light, but would if it were less black. Here all colours
// are at least `darkest_color`; sums in float64 lose nothing of what it lets through.
//
// Densities, weights and roulette have no derivatives: directions are drawn as they are, and it is their worth that
// changes.
#pragma once

#include <cstdint>

#include "light/gradients.h"
#include "light/path.h"
#include "runtime/call.h"

namespace lg::light {

constexpr double darkest_color = 1e-6;

template <class T>
LG_HD Vec3<double> in_double(const Vec3<T>& a) {
  return {static_cast<double>(a.x), static_cast<double>(a.y), static_cast<double>(a.z)};
}

// What a path carries in all.
template <class T>
struct PathTotal {
  Vec3<double> total = {0, 0, 0};

  LG_HD void first(const Stop<T>&, T) {}
  LG_HD void next(const Stop<T>&) {}
  LG_HD void escaped() {}
  LG_HD void emitted(const LightSource<T>&, const Vec3<T>& scale, const Vec3<T>& light) {
    total = total + in_double(scale * light);
  }
  LG_HD void lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
    total = total + in_double(lit_radiance(at, wo, carried, light));
  }
  LG_HD void scattered(const Stop<T>&, const BsdfSample<T>&) {}
};

// sink.add(gradient, number of the value, what is added)
template <class T, class Sink>
class PullPath {
 public:
  // given: the gradient by the path's radiance.
  LG_HD PullPath(const Scene<T>& scene, const Vec3<double>& total, const Vec3<T>& given, const Sink& sink)
      : scene_(scene), rest_(total), given_(given), sink_(sink) {}

  LG_HD void first(const Stop<T>&, T) {}
  LG_HD void next(const Stop<T>&) {}
  LG_HD void escaped() {}

  LG_HD void emitted(const LightSource<T>& source, const Vec3<T>& scale, const Vec3<T>& light) {
    rest_ = rest_ - in_double(scale * light);
    pull_source(source, given_ * scale);
  }

  LG_HD_CALL void lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
    rest_ = rest_ - in_double(lit_radiance(at, wo, carried, light));
    Dual<T, variables> value[3];
    bsdf_value(with_derivatives(at.material), at.wi, wo, value);
    const Vec3<T> of_value = light.part * (given_ * carried);
    pull_material(at, value, of_value * light.radiance);
    pull_source(light.source, of_value * Vec3<T>{value[0].value, value[1].value, value[2].value});
  }

  LG_HD_CALL void scattered(const Stop<T>& at, const BsdfSample<T>& next) {
    Dual<T, variables> value[3];
    const auto parameters = with_derivatives(at.material);
    if (!is_smooth(at.material)) {
      bsdf_value(parameters, at.wi, next.wo, value);
    } else if (at.material.kind == kind_conductor) {
      mirror_value(parameters, Vec3<T>{at.wi.x, at.wi.y, std::fabs(at.wi.z)}, value);
    } else {
      for (int c = 0; c < 3; ++c) value[c] = parameters.color[c];
    }
    Vec3<T> of_value;
    for (int c = 0; c < 3; ++c) {
      const T v = value[c].value;
      part(of_value, c) = v > 0 ? static_cast<T>(part(given_, c) * part(rest_, c) / v) : T(0);
    }
    pull_material(at, value, of_value);
  }

 private:
  LG_HD void add_taps(Gradient gradient, const Taps<T>& taps, const Vec3<T>& given) const {
    for (int k = 0; k < 4; ++k) {
      for (int c = 0; c < 3; ++c) sink_.add(gradient, 3 * taps.texel[k] + c, taps.weight[k] * part(given, c));
    }
  }

  LG_HD_CALL void pull_source(const LightSource<T>& source, const Vec3<T>& given) const {
    if (source.kind == Source::environment) {
      add_taps(of_environment, scene_.environment.taps(source.direction), given);
    } else if (source.kind == Source::lamp) {
      for (int c = 0; c < 3; ++c) sink_.add(of_lamp_intensities, 3 * source.lamp + c, part(given, c));
    } else if (source.kind == Source::surface && emits(scene_, source.point)) {
      pull_emission(source.point, given);
    }
  }

  LG_HD_CALL void pull_emission(const SurfacePoint<T>& p, const Vec3<T>& given) const {
    const int64_t row = material_columns * int64_t{scene_.face_materials[p.face]} + column_emission;
    const Vec3<T> factor = texture_factor(scene_, p, emission_texture_column);
    for (int c = 0; c < 3; ++c) sink_.add(of_materials, row + c, part(given, c) * part(factor, c));
    const int32_t texture = scene_.kind_of(p.face)[emission_texture_column];
    if (!scene_.textures.has(texture)) return;
    const Vec3<T> emission = load3(scene_.row_of(p.face) + column_emission);
    add_taps(of_texels, scene_.textures.taps(texture, p.u, p.v), given * emission);
  }

  LG_HD_CALL void pull_material(const Stop<T>& at, const Dual<T, variables> (&value)[3], const Vec3<T>& given) const {
    const SurfacePoint<T>& p = at.point;
    T row[material_columns] = {};
    pull_back(value, given, row);
    pull_color(p, load3(row + column_color));
    pull_roughness(p, row[column_roughness], row[column_metallic]);
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]};
    if (at.material.kind == kind_dielectric) sink_.add(of_materials, first + column_ior, row[column_ior]);
    if (at.material.kind != kind_conductor) return;
    for (int c = 0; c < 3; ++c) sink_.add(of_materials, first + column_extinction + c, row[column_extinction + c]);
  }

  LG_HD_CALL void pull_color(const SurfacePoint<T>& p, const Vec3<T>& given) const {
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]} + column_color;
    const Vec3<T> factor = color_factor(scene_, p);
    for (int c = 0; c < 3; ++c) sink_.add(of_materials, first + c, part(given, c) * part(factor, c));
    const int32_t texture = scene_.kind_of(p.face)[color_texture_column];
    const bool textured = scene_.textures.has(texture);
    if (!textured && !scene_.corner_colors) return;
    Vec3<T> texel = {1, 1, 1}, painted = {1, 1, 1};
    Taps<T> taps = {};
    if (textured) {
      taps = scene_.textures.taps(texture, p.u, p.v);
      texel = combine(scene_.textures.texels, taps);
    }
    const Vec3<T> rest = given * load3(scene_.row_of(p.face) + column_color);
    if (scene_.corner_colors) {
      const T* c = scene_.corner_colors + 9 * p.face;
      painted = p.weight[0] * load3(c) + p.weight[1] * load3(c + 3) + p.weight[2] * load3(c + 6);
      for (int k = 0; k < 9; ++k) {
        const T value = p.weight[k / 3] * part(rest, k % 3) * part(texel, k % 3);
        sink_.add(of_corner_colors, 9 * p.face + k, value);
      }
    }
    if (textured) add_taps(of_texels, taps, rest * painted);
  }

  LG_HD_CALL void pull_roughness(const SurfacePoint<T>& p, T of_roughness, T of_metallic) const {
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]};
    const Vec3<T> factor = texture_factor(scene_, p, roughness_texture_column);
    sink_.add(of_materials, first + column_roughness, of_roughness * factor.y);
    sink_.add(of_materials, first + column_metallic, of_metallic * factor.z);
    const int32_t texture = scene_.kind_of(p.face)[roughness_texture_column];
    if (!scene_.textures.has(texture)) return;
    const T* row = scene_.row_of(p.face);
    const Vec3<T> given = {0, of_roughness * row[column_roughness], of_metallic * row[column_metallic]};
    add_taps(of_texels, scene_.textures.taps(texture, p.u, p.v), given);
  }

  const Scene<T>& scene_;
  Vec3<double> rest_;
  Vec3<T> given_;
  const Sink& sink_;
};

template <class T>
struct PullPaths {
  Scene<T> scene;
  RayGrid<T> grid;
  int32_t samples, max_depth;
  uint64_t seed;
  const T* given;  // [pixels, 3]

  template <class Sink>
  LG_HD_CALL void pull(int64_t pixel, const Sink& sink) const {
    const Vec3<T> share = (1 / T(samples)) * load3(given + 3 * pixel);
    if (share.x == 0 && share.y == 0 && share.z == 0) return;
    for (int32_t s = 0; s < samples; ++s) {
      const Random<T> random(seed, static_cast<uint64_t>(pixel), static_cast<uint64_t>(s));
      const PathRay<T> ray = grid.ray(pixel, random);
      PathTotal<T> whole;
      PathTracer<T, PathTotal<T>>(scene, random, max_depth, T(darkest_color), whole).run(ray);
      const double sum = whole.total.x + whole.total.y + whole.total.z;
      if (!(sum - sum == 0)) continue;
      PullPath<T, Sink> pull(scene, whole.total, share, sink);
      PathTracer<T, PullPath<T, Sink>>(scene, random, max_depth, T(darkest_color), pull).run(ray);
    }
  }
};

template <class T>
PullPaths<T> make_pull_paths(const lg_lit_scene& scene, const void* origins, const void* directions, int64_t width,
                             int32_t samples, int32_t max_depth, int64_t seed, const void* given) {
  return {make_scene<T>(scene),
          make_ray_grid<T>(origins, directions, width),
          samples,
          max_depth,
          static_cast<uint64_t>(seed),
          static_cast<const T*>(given)};
}

}  // namespace lg::light
