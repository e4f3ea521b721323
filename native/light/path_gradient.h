// Gradients of images of paths, by replay (Vicini et al. 2021): each path is followed twice. The first time tells what
// light it carries in all. The second time, what it has met already is taken from that; the rest is in proportion to
// the factor of each surface that it goes on from. Nothing of a path is stored, however long it is.
//
// Where a material is black, what lies behind it carries no light, but would if it were less black. Here all colours
// are at least `darkest_color`; sums in float64 lose nothing of what it lets through.
//
// Densities, weights and roulette have no derivatives: directions are drawn as they are, and it is their worth that
// changes. How it changes with shapes, rays and lamps is told by path_motion.h. Surfaces that are partly there have
// gradients by how much of them is; where their alpha textures are looked up is held fixed.
#pragma once

#include <cstdint>
#include <type_traits>

#include "light/gradients.h"
#include "light/medium_gradient.h"
#include "light/path.h"
#include "light/path_motion.h"
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
  static constexpr bool learns = false;

  Vec3<double> total = {0, 0, 0};
  Vec3<T> through = {0, 0, 0};  // of what lies behind everything

  LG_HD void met(const SurfacePoint<T>&, const Opacity<T>&, bool) {}
  LG_HD void first(const Stop<T>&, T) {}
  LG_HD void next(const Stop<T>&) {}
  LG_HD void absorbed(const Stop<T>&) {}
  LG_HD void escaped() {}
  LG_HD void emitted(const LightSource<T>&, const Vec3<T>& scale, const Vec3<T>& light) {
    total = total + in_double(scale * light);
  }
  LG_HD void lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
    total = total + in_double(lit_radiance(at, wo, carried, light));
  }
  LG_HD void scattered(const Stop<T>&, const BsdfSample<T>&) {}

  LG_HD void passed(const Vec3<T>& carried) { through = carried; }
  LG_HD void lit_in_medium(const Medium<T>& m, T cosine, const Vec3<T>& carried, const LightSample<T>& light) {
    total = total + in_double(lit_radiance(m, cosine, carried, light));
  }
  LG_HD void first_in_medium(const Medium<T>&, const Vec3<T>&, T) {}
  LG_HD void turned(const Medium<T>&, T) {}
  LG_HD void attenuated(const Medium<T>&, const Vec3<T>&, const Vec3<T>&, const Passage<T>&) {}
  LG_HD void collided(const Medium<T>&, const Vec3<T>&) {}
  LG_HD void dimmed(const Course<T>&, const MediumStack&, const Vec3<T>&) {}
};

// sink.add(gradient, number of the value, what is added). Motion: Moving, or Still where nothing asks for it.
template <class T, class Sink, class Motion = Still<T>>
class PullPath {
  // base: variables, or layered_variables.
  template <int base>
  static constexpr int all_of = base + (Motion::moves ? direction_variables : 0);
  template <int base>
  using Value = Dual<T, all_of<base>>[3];

 public:
  static constexpr bool learns = true;

  // given: the gradient by the path's radiance; of_through: that by what lies behind everything, times its part.
  LG_HD PullPath(const Scene<T>& scene, const Vec3<double>& total, const Vec3<T>& given, const Sink& sink,
                 Motion* motion, const Vec3<T>& of_through = {0, 0, 0})
      : scene_(scene),
        media_(scene.media, sink, of_media, of_voxels),
        rest_(total),
        given_(given),
        of_through_(of_through),
        sink_(sink),
        motion_(motion) {}

  LG_HD void first(const Stop<T>& at, T t) { motion_->first(at, t); }
  LG_HD void next(const Stop<T>& at) { motion_->next(at); }
  LG_HD void escaped() { motion_->escaped(); }

  // ---- Media ----

  LG_HD void first_in_medium(const Medium<T>&, const Vec3<T>&, T) {}
  LG_HD void passed(const Vec3<T>&) {}

  LG_HD void attenuated(const Medium<T>& m, const Vec3<T>& origin, const Vec3<T>& direction, const Passage<T>& p) {
    media_.pull_depth(m, origin, direction, p, -(rest() + of_through_));
  }
  LG_HD void collided(const Medium<T>& m, const Vec3<T>& point) { media_.pull_collision(m, point, rest()); }

  LG_HD_CALL void lit_in_medium(const Medium<T>& m, T cosine, const Vec3<T>& carried, const LightSample<T>& light) {
    const Vec3<T> radiance = lit_radiance(m, cosine, carried, light);
    rest_ = rest_ - in_double(radiance);
    media_.pull_phase(m, cosine, dot(given_, radiance));
    PointGradient<T> of_light;
    pull_source(light.source, (light.part * phase_value(m.g, cosine)) * (given_ * carried), &of_light);
  }
  LG_HD void turned(const Medium<T>& m, T cosine) {
    const Vec3<T> of_all = rest();
    media_.pull_phase(m, cosine, of_all.x + of_all.y + of_all.z);
  }

  // The part of a light sample that comes through media.
  LG_HD_CALL void dimmed(const Course<T>& ray, MediumStack inside, const Vec3<T>& radiance) {
    const Vec3<T> of_depth = -(given_ * radiance);
    const auto take = [&](int32_t number, const Vec3<T>& from, T length) {
      const Medium<T> m = scene_.media.medium(number, T(0));
      const Passage<T> p = pass_through(m, from, ray.direction, length, T(1), std::numeric_limits<T>::infinity());
      media_.pull_depth(m, from, ray.direction, p, of_depth);
      return true;
    };
    through_borders(scene_, ray, &inside, take);
  }

  // ---- Surfaces ----

  LG_HD_CALL void met(const SurfacePoint<T>& p, const Opacity<T>& opacity, bool stays) {
    pull_opacity(p, opacity, stays, in_double(given_) * rest_);
  }

  LG_HD_CALL void absorbed(const Stop<T>& at) {
    const T* row = scene_.row_of(at.point.face) + column_attenuation;
    const int64_t number = row - scene_.materials;
    T by_length = 0;
    for (int c = 0; c < 3; ++c) {
      const T given = static_cast<T>(part(given_, c) * part(rest_, c));
      sink_.add(of_materials, number + c, -at.distance * given);
      by_length -= row[c] * given;
    }
    if constexpr (Motion::moves) motion_->stretched(by_length);
  }

  LG_HD void emitted(const LightSource<T>& source, const Vec3<T>& scale, const Vec3<T>& light) {
    rest_ = rest_ - in_double(scale * light);
    pull_source(source, given_ * scale, motion_->here());
  }

  LG_HD_CALL void lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
    const Vec3<T> added = lit_radiance(at, wo, carried, light);
    rest_ = rest_ - in_double(added);
    if (has_layers(at.material)) {
      pull_lit<layered_variables>(at, wo, carried, light);
    } else {
      pull_lit<variables>(at, wo, carried, light);
    }
    if (scene_.alpha_modes) pull_shadows(light, in_double(given_ * added));
  }

  LG_HD_CALL void scattered(const Stop<T>& at, const BsdfSample<T>& next) {
    if (has_layers(at.material)) {
      pull_scattered<layered_variables>(at, next);
    } else {
      pull_scattered<variables>(at, next);
    }
  }

 private:
  // The gradient by the logarithm of all that is still to come.
  LG_HD Vec3<T> rest() const {
    return {static_cast<T>(given_.x * rest_.x), static_cast<T>(given_.y * rest_.y), static_cast<T>(given_.z * rest_.z)};
  }

  template <int base>
  LG_HD void pull_lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
    Value<base> value;
    find_value<base>(at, wo, value);
    const Vec3<T> plain = {value[0].value, value[1].value, value[2].value};
    const Vec3<T> of_value = light.part * (given_ * carried), with_light = of_value * light.radiance;
    pull_material<base>(at, value, with_light);
    PointGradient<T> of_light;
    pull_source(light.source, of_value * plain, &of_light);
    if constexpr (Motion::moves) motion_->lit(at, wo, light, value, with_light, dot(with_light, plain), &of_light);
  }

  template <int base>
  LG_HD void pull_scattered(const Stop<T>& at, const BsdfSample<T>& next) {
    const bool smooth = is_smooth(at.material);
    Value<base> value;
    if (smooth) {
      find_only_value<base>(at, value);
    } else {
      find_value<base>(at, next.wo, value);
    }
    Vec3<T> of_value, of_log;
    for (int c = 0; c < 3; ++c) {
      const T v = value[c].value;
      part(of_log, c) = v > 0 ? static_cast<T>(part(given_, c) * part(rest_, c)) : T(0);
      part(of_value, c) = v > 0 ? static_cast<T>(part(given_, c) * part(rest_, c) / v) : T(0);
    }
    pull_material<base>(at, value, of_value);
    if constexpr (Motion::moves) {
      if (!smooth) motion_->scattered(at, next.wo, value, of_value, of_log.x + of_log.y + of_log.z);
    }
  }

  template <int base>
  LG_HD void find_value(const Stop<T>& at, const Vec3<T>& wo, Value<base>& value) const {
    constexpr int all = all_of<base>;
    const auto material = with_derivatives<base, all>(at.material);
    if constexpr (Motion::moves) {
      bsdf_value(material, with_derivatives<all>(at.wi, base), with_derivatives<all>(wo, base + 3), value);
    } else {
      bsdf_value(material, at.wi, wo, value);
    }
  }

  // Of smooth materials, in the only direction.
  template <int base>
  LG_HD void find_only_value(const Stop<T>& at, Value<base>& value) const {
    const auto material = with_derivatives<base, all_of<base>>(at.material);
    if (at.material.kind == kind_conductor) {
      mirror_value(material, Vec3<T>{at.wi.x, at.wi.y, std::fabs(at.wi.z)}, value);
    } else {
      for (int c = 0; c < 3; ++c) value[c] = material.color[c];
    }
  }

  LG_HD void add_taps(Gradient gradient, const Taps<T>& taps, const Vec3<T>& given) const {
    for (int k = 0; k < 4; ++k) {
      for (int c = 0; c < 3; ++c) sink_.add(gradient, 3 * taps.texel[k] + c, taps.weight[k] * part(given, c));
    }
  }

  // By a texel that multiplies a material, and by where it is looked up; g: of that point.
  LG_HD void pull_texture(const SurfacePoint<T>& p, int column, const Vec3<T>& given, PointGradient<T>* g) const {
    if (!scene_.textures.has(scene_.kind_of(p.face)[column])) return;
    add_taps(of_texels, texture_taps(scene_, p, column), given);
    if constexpr (Motion::moves) pull_place(scene_, p, column, given, g);
  }

  // By a parameter that one channel of a texture multiplies. g may be null: where that is looked up is held fixed.
  LG_HD void pull_channel(const SurfacePoint<T>& p, Column column, KindColumn texture, int channel, T given,
                          PointGradient<T>* g) const {
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]};
    sink_.add(of_materials, first + column, given * part(texture_factor(scene_, p, texture), channel));
    Vec3<T> texel = {0, 0, 0};
    part(texel, channel) = given * scene_.row_of(p.face)[column];
    if (g) {
      pull_texture(p, texture, texel, g);
    } else if (scene_.textures.has(scene_.kind_of(p.face)[texture])) {
      add_taps(of_texels, texture_taps(scene_, p, texture), texel);
    }
  }

  // light: the gradient by the logarithm of the factor, for each channel.
  LG_HD_CALL void pull_opacity(const SurfacePoint<T>& p, const Opacity<T>& opacity, bool stays,
                               const Vec3<double>& light) const {
    if (opacity.slope == 0) return;
    const double factor = stays ? static_cast<double>(opacity.value) : static_cast<double>(opacity.value - 1);
    const T given = static_cast<T>((light.x + light.y + light.z) / factor);
    pull_channel(p, column_alpha, alpha_texture_column, 0, given, nullptr);
  }

  // Of the light's own surface, and of those that its light passes.
  LG_HD_CALL void pull_shadows(const LightSample<T>& light, const Vec3<double>& of_light) const {
    if (light.source.kind == Source::surface) {
      const SurfacePoint<T>& p = light.source.point;
      pull_opacity(p, opacity_at(scene_, p, T(darkest_color)), true, of_light);
    }
    pass_shadows(scene_, light, T(darkest_color), [&](const SurfacePoint<T>& p, const Opacity<T>& opacity) {
      pull_opacity(p, opacity, false, of_light);
    });
  }

  // g: of a light's point.
  LG_HD_CALL void pull_source(const LightSource<T>& source, const Vec3<T>& given, PointGradient<T>* g) const {
    if (source.kind == Source::environment) {
      add_taps(of_environment, scene_.environment.taps(source.direction), given);
      if constexpr (Motion::moves) pull_rotation(source.direction, given);
    } else if (source.kind == Source::lamp) {
      for (int c = 0; c < 3; ++c) sink_.add(of_lamp_intensities, 3 * source.lamp + c, part(given, c));
    } else if (source.kind == Source::surface && emits(scene_, source.point)) {
      pull_emission(source.point, given, g);
    }
  }

  LG_HD_CALL void pull_rotation(const Vec3<T>& direction, const Vec3<T>& given) const {
    T by_rotation[9];
    scene_.environment.pull_rotation(direction, given, by_rotation);
    for (int k = 0; k < 9; ++k) sink_.add(of_environment_rotation, k, by_rotation[k]);
  }

  LG_HD_CALL void pull_emission(const SurfacePoint<T>& p, const Vec3<T>& given, PointGradient<T>* g) const {
    const int64_t row = material_columns * int64_t{scene_.face_materials[p.face]} + column_emission;
    const Vec3<T> factor = texture_factor(scene_, p, emission_texture_column);
    for (int c = 0; c < 3; ++c) sink_.add(of_materials, row + c, part(given, c) * part(factor, c));
    pull_texture(p, emission_texture_column, given * load3(scene_.row_of(p.face) + column_emission), g);
  }

  template <int base>
  LG_HD_CALL void pull_material(const Stop<T>& at, const Value<base>& value, const Vec3<T>& given) const {
    const SurfacePoint<T>& p = at.point;
    T row[material_columns] = {};
    pull_back<base>(value, given, row);
    pull_color(p, load3(row + column_color));
    pull_roughness(p, row[column_roughness], row[column_metallic]);
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]};
    if (at.material.kind != kind_diffuse && at.material.kind != kind_conductor) {
      sink_.add(of_materials, first + column_ior, row[column_ior]);
    }
    if (has_layers(at.material)) pull_layers(p, row);
    if (at.material.kind != kind_conductor) return;
    for (int c = 0; c < 3; ++c) sink_.add(of_materials, first + column_extinction + c, row[column_extinction + c]);
  }

  LG_HD_CALL void pull_color(const SurfacePoint<T>& p, const Vec3<T>& given) const {
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]} + column_color;
    const Vec3<T> factor = color_factor(scene_, p);
    for (int c = 0; c < 3; ++c) sink_.add(of_materials, first + c, part(given, c) * part(factor, c));
    Vec3<T> rest = given * load3(scene_.row_of(p.face) + column_color);
    if (!scene_.corner_colors) {
      pull_texture(p, color_texture_column, rest, motion_->here());
      return;
    }
    const T* c = scene_.corner_colors + 9 * p.face;
    const Vec3<T> painted = p.weight[0] * load3(c) + p.weight[1] * load3(c + 3) + p.weight[2] * load3(c + 6);
    pull_texture(p, color_texture_column, rest * painted, motion_->here());
    rest = rest * texture_factor(scene_, p, color_texture_column);
    for (int k = 0; k < 9; ++k) {
      const T by_painted = part(rest, k % 3);
      sink_.add(of_corner_colors, 9 * p.face + k, p.weight[k / 3] * by_painted);
      if constexpr (Motion::moves) motion_->here()->weight[k / 3] += c[k] * by_painted;
    }
  }

  LG_HD_CALL void pull_roughness(const SurfacePoint<T>& p, T of_roughness, T of_metallic) const {
    const int64_t first = material_columns * int64_t{scene_.face_materials[p.face]};
    const Vec3<T> factor = texture_factor(scene_, p, roughness_texture_column);
    sink_.add(of_materials, first + column_roughness, of_roughness * factor.y);
    sink_.add(of_materials, first + column_metallic, of_metallic * factor.z);
    const T* row = scene_.row_of(p.face);
    pull_texture(p, roughness_texture_column,
                 Vec3<T>{0, of_roughness * row[column_roughness], of_metallic * row[column_metallic]}, motion_->here());
  }

  LG_HD_CALL void pull_layers(const SurfacePoint<T>& p, const T (&by)[material_columns]) const {
    PointGradient<T>* g = motion_->here();
    pull_channel(p, column_transmission, transmission_texture_column, 0, by[column_transmission], g);
    pull_channel(p, column_coat, coat_texture_column, 0, by[column_coat], g);
    pull_channel(p, column_coat_roughness, coat_roughness_texture_column, 1, by[column_coat_roughness], g);
  }

  const Scene<T>& scene_;
  PullMedia<T, Sink, Gradient> media_;
  Vec3<double> rest_;
  Vec3<T> given_, of_through_;
  const Sink& sink_;
  Motion* motion_;
};

// moves: whether shapes, rays or lamps have gradients; where there are media, none of them has.
template <class T, bool moves, bool with_media = false>
struct PullPaths {
  Scene<T> scene;
  RayGrid<T> grid;
  int32_t samples, max_depth;
  uint64_t seed;
  const T *given, *given_through;  // [pixels, 3] or null
  T* of_rays;                      // [pixels, pixel_values], or null

  template <class Sink>
  LG_HD_CALL void pull(int64_t pixel, const Sink& sink) const {
    const Given of = {given_of(given, pixel), with_media ? given_of(given_through, pixel) : Vec3<T>{0, 0, 0}};
    PixelRays<T> of_pixel;
    if (!is_zero(of.radiance) || !is_zero(of.through)) {
      for (int32_t s = 0; s < samples; ++s) pull_sample(pixel, s, of, sink, &of_pixel);
    }
    if (of_rays) of_pixel.store(of_rays + pixel_values * pixel);
  }

  LG_HD Vec3<T> given_of(const T* from, int64_t pixel) const {
    return from ? (1 / T(samples)) * load3(from + 3 * pixel) : Vec3<T>{0, 0, 0};
  }
  LG_HD static bool is_zero(const Vec3<T>& a) { return a.x == 0 && a.y == 0 && a.z == 0; }

 private:
  // The gradient by what a pixel shows.
  struct Given {
    Vec3<T> radiance, through;
  };

  template <class Sink>
  LG_HD void pull_sample(int64_t pixel, int32_t sample, const Given& of, const Sink& sink,
                         PixelRays<T>* of_pixel) const {
    const Random<T> random(seed, static_cast<uint64_t>(pixel), static_cast<uint64_t>(sample));
    const Pair<T> place = random.pair(0);
    const PathRay<T> ray = grid.ray(pixel, place);
    PathTotal<T> whole;
    AnyPathTracer<T, PathTotal<T>, with_media>(scene, random, max_depth, T(darkest_color), whole).run(ray);
    const double sum = whole.total.x + whole.total.y + whole.total.z;
    if (!(sum - sum == 0)) return;
    if constexpr (moves) {
      Moving<T, Sink> motion(scene, ray.direction, sink);
      pull_path(ray, random, whole, of, sink, &motion);
      of_pixel->add(place, motion.finish());
    } else {
      Still<T> motion;
      pull_path(ray, random, whole, of, sink, &motion);
    }
  }

  template <class Sink, class Motion>
  LG_HD void pull_path(const PathRay<T>& ray, const Random<T>& random, const PathTotal<T>& whole, const Given& of,
                       const Sink& sink, Motion* motion) const {
    using Pull = PullPath<T, Sink, Motion>;
    Pull pull(scene, whole.total, of.radiance, sink, motion, of.through * whole.through);
    AnyPathTracer<T, Pull, with_media>(scene, random, max_depth, T(darkest_color), pull).run(ray);
  }
};

template <class T, bool moves, bool with_media>
PullPaths<T, moves, with_media> make_pull_paths(const lg_lit_scene& scene, const void* origins, const void* directions,
                                                int64_t width, int32_t samples, int32_t max_depth, int64_t seed,
                                                const void* given, const void* given_through) {
  return {make_scene<T>(scene),
          make_ray_grid<T>(origins, directions, width),
          samples,
          max_depth,
          static_cast<uint64_t>(seed),
          static_cast<const T*>(given),
          static_cast<const T*>(given_through),
          nullptr};
}

// Calls pull(moves, with_media) for the kind of paths that a scene asks for. moves: whether points, directions or
// normals have gradients, which in media they have not.
template <class Pull>
auto with_kind_of_paths(const lg_lit_scene& scene, bool moves, Pull&& pull) {
  if (scene.media) return pull(std::false_type{}, std::true_type{});
  if (moves) return pull(std::true_type{}, std::false_type{});
  return pull(std::false_type{}, std::false_type{});
}

}  // namespace lg::light
