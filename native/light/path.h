// Paths of light from the camera on.
//
// At every surface a light is drawn and a direction in which the path goes on; what both can meet is weighted by the
// power heuristic (Veach 1997). A path counts its segments: the first ends at the surface that is seen. From the fifth
// surface on, it ends by Russian roulette with the probability that it carries little.
//
// A path goes straight on through surfaces that are partly there with the probability that they are not; shadow rays
// carry the part of light that passes all of them.
//
// PathTracer::run() tells a visitor what it meets:
//   met(point, opacity, stays)          a surface that is partly there, at which it ends a segment or does not
//   first(at, t)                        the surface that the camera sees; t: in units of the ray's direction
//   next(at)                            a surface to which it has come from another one; its frame is not set yet
//   escaped()                           there is none in the direction that was drawn last
//   emitted(source, scale, radiance)    it adds scale * radiance
//   absorbed(at)                        it came here through the inside of a material
//   lit(at, wo, scale, light)           it adds scale * f |cos| * part * radiance of a light sample
//   scattered(at, sample)               it goes on, in the direction of a BSDF sample
// and of media, where the scene has any,
//   first_in_medium(medium, point, distance)     it collides there before it meets a surface
//   passed(carried)                              it goes past all surfaces, with a part of what it began with
//   lit_in_medium(medium, cosine, scale, light)  it adds scale * phase function * part * radiance of a light sample
//   dimmed(ray, inside, radiance)                that light, or that of lit(), has come through media
//   turned(medium, cosine)                       it goes on, in a drawn direction
// besides attenuated() and collided() of flight.h,
// so that image and gradients are computed from the same paths.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "light/bsdf.h"
#include "light/flight.h"
#include "light/light_sample.h"
#include "light/phase.h"
#include "light/random.h"
#include "light/ray_grid.h"
#include "light/scene.h"
#include "runtime/call.h"

namespace lg::light {

constexpr int32_t roulette_depth = 5;
constexpr double most_survival = 0.95;
// Pairs of random numbers: one for the place in the pixel, then those of each surface; and far behind them those of
// the surfaces that are partly there on the way to each surface.
enum Draw : uint32_t { draw_group, draw_light, draw_place, draw_direction, draw_lobe, draws_per_surface };
constexpr int32_t most_passes = 256;  // of such surfaces on the way; behind them all is black
constexpr uint32_t first_pass_draw = 0x80000000u;
constexpr double least_chance = 0.05;  // of both ways to go on, where gradients are computed
// Those of the distances between surfaces are numbered from here on.
constexpr uint32_t first_flight_draw = 0xc0000000u;

template <class T>
LG_HD T power_heuristic(T mine, T other) {
  const T m = mine * mine;
  return m / (m + other * other);
}

// The part of a light sample that counts beside the rays of materials, which meet the same light with the density
// `other`; those of density 0 no ray meets.
template <class T>
LG_HD T weighted_part(const T& part, const T& pdf, const T& other) {
  return select(T(0) < pdf, part * power_heuristic(pdf, other), part);
}

// The probability that a path ends its segment at a surface of this opacity. With gradients (darkest > 0), both cases
// happen, for what each would bring if there were more of it.
template <class T>
LG_HD T chance_to_stay(T opacity, T darkest) {
  return darkest > 0 ? clamped(opacity, T(least_chance), T(1 - least_chance)) : opacity;
}

// Walks along a shadow ray through all surfaces that are partly there. Calls visit(point, opacity) at each. Returns the
// part of light that arrives.
template <class T, class Visit>
LG_HD T pass_shadows(const Scene<T>& scene, const LightSample<T>& light, T darkest, Visit visit) {
  const bool distant = !(light.distance < std::numeric_limits<T>::infinity());
  Vec3<T> origin = light.start;
  T part = 1;
  for (int32_t pass = 0; pass < most_passes; ++pass) {
    const Vec3<T> direction = distant ? light.direction : light.end - origin;
    const Hit<T> hit = scene.intersector.closest(origin, direction, distant ? light.distance : T(1));
    if (hit.face < 0) return part;
    if (!scene.is_whole(hit.face) || scene.alpha_mode(hit.face) == alpha_opaque) return 0;
    const SurfacePoint<T> point = surface_point(scene, hit, direction);
    const Opacity<T> opacity = opacity_at(scene, point, darkest);
    visit(point, opacity);
    part *= 1 - opacity.value;
    if (!(part > 0)) return 0;
    origin = origin_towards(scene, point, direction);
  }
  return 0;
}

// A ray that light comes along, from the surface on, which nothing must meet before t_max.
template <class T>
struct ShadowRay {
  Vec3<T> origin, direction;
  T t_max;
};
template <class T>
LG_HD ShadowRay<T> shadow_ray_of(const LightSample<T>& light) {
  const T infinite = std::numeric_limits<T>::infinity();
  if (!(light.distance < infinite)) return {light.start, light.direction, infinite};
  return {light.start, light.end - light.start, T(1)};
}

// Whether both normals agree on which side a direction is; where they do not, light would leak through.
template <class T>
LG_HD MaskOf<T> same_side(const SurfacePlace<T>& p, const Vec3<T>& world, const Vec3<T>& local) {
  return T(0) < dot(p.geometric, world) * local.z;
}

// A direction in which a path goes on.
template <class T>
struct Onward {
  BsdfSample<T> sample;
  Vec3<T> direction;
};

// Where a path is: a surface, how it was met, and the frame of its shading normal.
template <class T>
struct Stop {
  SurfacePoint<T> point;
  Material<T> material;
  Vec3<T> direction;  // unit, in which the surface was met
  T distance;         // from where that ray began
  Frame<T> frame;
  Vec3<T> wi;  // in this frame, back to where the path comes from
};

// Russian roulette.
template <class T>
LG_HD MaskOf<T> survives(int32_t surface, const T& eta, const T& number, Vec3<T>* carried) {
  if (surface + 1 < roulette_depth) return MaskOf<T>(-1);
  const T chance = minimum(largest(*carried) * eta * eta, T(ScalarOf<T>(most_survival)));
  const MaskOf<T> goes_on = number < chance;
  *carried = select(goes_on, (1 / chance) * *carried, *carried);
  return goes_on;
}

// What paths are made of.
template <class T, class Visitor>
class PathSteps {
 public:
  LG_HD PathSteps(const Scene<T>& scene, T darkest, Visitor& visitor)
      : scene_(scene), darkest_(darkest), visitor_(visitor) {}

  LG_HD void stop(const Hit<T>& hit, const Vec3<T>& direction, Stop<T>* at) const {
    set_surface_point(scene_, hit, direction, &at->point);
    set_material(scene_, at->point, darkest_, &at->material);
    at->direction = direction;
    at->distance = hit.t;
  }

  LG_HD void absorb(const Stop<T>& at, Vec3<T>* carried) {
    const Vec3<T> depth = at.distance * load3(scene_.row_of(at.point.face) + column_attenuation);
    if (depth.x != 0 || depth.y != 0 || depth.z != 0) {
      *carried = *carried * Vec3<T>{std::exp(-depth.x), std::exp(-depth.y), std::exp(-depth.z)};
    }
    visitor_.absorbed(at);
  }

  LG_HD void escape(const Vec3<T>& direction, const Vec3<T>& carried, T pdf) {
    if (!scene_.environment.exists()) return;
    visitor_.escaped();
    LightSource<T> source;
    source.kind = Source::environment;
    source.direction = direction;
    const T weight = pdf > 0 ? power_heuristic(pdf, environment_pdf(scene_, direction)) : T(1);
    visitor_.emitted(source, weight * carried, scene_.environment.radiance(direction));
  }

  LG_HD void emit(const Vec3<T>& origin, const SurfacePoint<T>& point, const Vec3<T>& carried, T pdf) {
    if (!emits(scene_, point)) return;
    LightSource<T> source;
    source.kind = Source::surface;
    source.point = point;
    const T weight = pdf > 0 ? power_heuristic(pdf, emitter_pdf(scene_, origin, point)) : T(1);
    visitor_.emitted(source, weight * carried, emission_at(scene_, point));
  }

  // Draws a direction from the material. False: the path ends here.
  LG_HD bool scatter(const Stop<T>& at, T lobe, const Pair<T>& place, Vec3<T>* carried, Onward<T>* next) {
    sample_bsdf(at.material, at.wi, lobe, place.first, place.second, &next->sample);
    next->direction = at.frame.to_world(next->sample.wo);
    if (next->sample.wo.z == 0 || !same_side(at.point, next->direction, next->sample.wo)) return false;
    *carried = *carried * next->sample.weight;
    if (!(largest(*carried) > 0)) return false;
    visitor_.scattered(at, next->sample);
    return true;
  }

  // A point of a light that may send light to the surface, in the direction wo, and the chance of that direction
  // among those of the material; light_from(place at the surface, sample) draws it. False: there is none.
  template <class LightFrom>
  LG_HD bool find_light(const Stop<T>& at, const LightFrom& light_from, LightSample<T>* found, Vec3<T>* wo,
                        T* chance) const {
    // Opaque surfaces are lit from the side of the viewer alone.
    const Vec3<T> viewer = at.point.side * at.point.geometric;
    Vec3<T> from = origin_towards(scene_, at.point, viewer);
    LightSample<T>& light = *found;
    light_from(from, found);
    if (transmits(at.material) && dot(light.direction, viewer) < 0) {
      from = origin_towards(scene_, at.point, -viewer);
      light_from(from, found);
    }
    light.start = from;
    *wo = at.frame.to_local(light.direction);
    if (!(light.part > 0) || !same_side(at.point, light.direction, *wo)) return false;
    *chance = bsdf_pdf(at.material, at.wi, *wo);
    return *chance > 0;
  }

  // Light that a point of a light sends to the surface.
  template <class LightFrom>
  LG_HD_CALL void receive(const Stop<T>& at, const Vec3<T>& carried, const LightFrom& light_from) {
    LightSample<T> light;
    Vec3<T> wo;
    T chance;
    if (!find_light(at, light_from, &light, &wo, &chance)) return;
    if (scene_.alpha_modes) {
      light.part *= arriving(light);
      if (!(light.part > 0)) return;
    } else if (shadowed(light)) {
      return;
    }
    take_light(at, carried, wo, chance, &light);
  }

  // The same of light that find_light() has found, once it has arrived.
  LG_HD void take_light(const Stop<T>& at, const Vec3<T>& carried, const Vec3<T>& wo, T chance, LightSample<T>* light) {
    light->part = weighted_part(light->part, light->pdf, chance);
    visitor_.lit(at, wo, carried, *light);
  }

  // The part of light that is there at all and passes what is on its way.
  LG_HD_CALL T arriving(const LightSample<T>& light) const {
    T part = 1;
    if (light.source.kind == Source::surface) part = opacity_at(scene_, light.source.point, darkest_).value;
    if (!(part > 0)) return 0;
    return part * pass_shadows(scene_, light, darkest_, [](const SurfacePoint<T>&, const Opacity<T>&) {});
  }

 private:
  LG_HD bool shadowed(const LightSample<T>& light) const {
    const ShadowRay<T> ray = shadow_ray_of(light);
    return scene_.intersector.blocked(ray.origin, ray.direction, ray.t_max);
  }

  const Scene<T>& scene_;
  T darkest_;
  Visitor& visitor_;
};

// surface: number of the surface or of the segment.
template <class T>
LG_HD Pair<T> draw_at(const Random<T>& random, int32_t surface, Draw what) {
  return random.pair(1 + static_cast<uint32_t>(surface) * draws_per_surface + what);
}

// What tracers with and without media have in common: the steps of a path, and its random numbers.
template <class T, class Visitor>
class TracerBase {
 public:
  LG_HD TracerBase(const Scene<T>& scene, const Random<T>& random, int32_t max_depth, T darkest, Visitor& visitor)
      : scene_(scene),
        steps_(scene, darkest, visitor),
        random_(random),
        max_depth_(max_depth),
        darkest_(darkest),
        visitor_(visitor) {}

 protected:
  LG_HD Pair<T> draw(int32_t surface, Draw what) const { return draw_at(random_, surface, what); }

  LG_HD void light_from(const Vec3<T>& from, int32_t surface, LightSample<T>* sample) const {
    const Pair<T> choice = draw(surface, draw_light), place = draw(surface, draw_place);
    sample_light(scene_, from, draw(surface, draw_group).first, choice, place, sample);
  }

  // Makes ready to scatter at a surface: light that leaves what absorbs is dimmed, and directions get their frame.
  LG_HD void enter(Stop<T>* at, Vec3<T>* carried) {
    if (at->point.side < 0 && refracts(at->material)) steps_.absorb(*at, carried);
    at->frame = frame_around(at->point.normal);
    at->wi = at->frame.to_local(-at->direction);
  }

  const Scene<T>& scene_;
  PathSteps<T, Visitor> steps_;
  const Random<T>& random_;
  int32_t max_depth_;
  T darkest_;
  Visitor& visitor_;
};

// The ray along which a path goes on, and what it carries.
template <class T>
struct PathState {
  Vec3<T> origin, direction;
  Vec3<T> carried = {1, 1, 1};
  T pdf = 0, eta = 1;         // of the direction; 0: it was the only one
  bool lights_drawn = false;  // at the surface before
};

template <class T, class Visitor>
class PathTracer : TracerBase<T, Visitor> {
  using Base = TracerBase<T, Visitor>;
  using Base::darkest_, Base::draw, Base::enter, Base::max_depth_, Base::random_, Base::scene_, Base::steps_,
      Base::visitor_;

 public:
  using Base::Base, Base::light_from;

  LG_HD void run(const PathRay<T>& ray) {
    const Vec3<T> direction = unit(ray.direction);
    follow(ray.origin, direction, scene_.intersector.closest(ray.origin, direction), 0, 1 / length(ray.direction));
  }

  // Goes on along a ray that meets surface number `first`, or nothing; scale: of its parameter.
  LG_HD void follow(Vec3<T> origin, Vec3<T> direction, Hit<T> hit, int32_t first, T scale = 1) {
    PathState<T> path;
    path.origin = origin;
    path.direction = direction;
    for (int32_t surface = first; surface < max_depth_; ++surface) {
      Stop<T> at;
      if (!arrive(surface, scale, &hit, &path, &at)) return;
      if (path.lights_drawn) gather(at, path.carried, surface);
      if (!leave(surface, at, &path)) return;
      hit = scene_.intersector.closest(path.origin, path.direction);
    }
  }

  // What happens where the ray ends. False: the path ends there.
  LG_HD bool arrive(int32_t surface, T scale, Hit<T>* hit, PathState<T>* path, Stop<T>* at) {
    if (scene_.alpha_modes && !meet(surface, path->direction, hit, &path->carried)) return false;
    const T pdf = path->lights_drawn ? path->pdf : T(0);
    if (hit->face < 0) {
      if (surface > 0) steps_.escape(path->direction, path->carried, pdf);
      return false;
    }
    if (!scene_.is_whole(hit->face)) return false;
    steps_.stop(*hit, path->direction, at);
    if (surface == 0) {
      visitor_.first(*at, hit->t * scale);
    } else {
      visitor_.next(*at);
    }
    steps_.emit(path->origin, at->point, path->carried, pdf);
    if (surface + 1 == max_depth_) return false;
    enter(at, &path->carried);
    path->lights_drawn = scene_.light_groups() > 0 && !is_smooth(at->material);
    return true;
  }

  // Draws the direction in which it goes on. False: the path ends there.
  LG_HD bool leave(int32_t surface, const Stop<T>& at, PathState<T>* path) {
    if (surface + 2 == max_depth_ && !scene_.can_be_hit()) return false;
    Onward<T> next;
    const T lobe = draw(surface, draw_lobe).first;
    if (!steps_.scatter(at, lobe, draw(surface, draw_direction), &path->carried, &next)) return false;
    path->eta *= next.sample.eta;
    path->pdf = next.sample.pdf;
    if (!survives(surface, path->eta, draw(surface, draw_group).second, &path->carried)) return false;
    path->origin = origin_towards(scene_, at.point, next.direction);
    path->direction = next.direction;
    return true;
  }

  // For those that look themselves whether light arrives.
  LG_HD PathSteps<T, Visitor>& steps() { return steps_; }

 private:
  // Goes on from the first hit to the surface at which the segment ends, or to none. False where the path ends.
  LG_HD_CALL bool meet(int32_t surface, const Vec3<T>& direction, Hit<T>* hit, Vec3<T>* carried) {
    const uint32_t first = first_pass_draw + static_cast<uint32_t>(surface) * most_passes;
    for (int32_t pass = 0; pass < most_passes; ++pass) {
      if (hit->face < 0 || !scene_.is_whole(hit->face)) return true;
      const int32_t mode = scene_.alpha_mode(hit->face);
      if (mode == alpha_opaque) return true;
      const SurfacePoint<T> point = surface_point(scene_, *hit, direction);
      const Opacity<T> opacity = opacity_at(scene_, point, darkest_);
      if (mode == alpha_mask && opacity.value > 0) return true;
      if (mode == alpha_blend) {
        const T chance = chance_to_stay(opacity.value, darkest_);
        const bool stays = random_.pair(first + static_cast<uint32_t>(pass)).first < chance;
        *carried = (stays ? opacity.value / chance : (1 - opacity.value) / (1 - chance)) * *carried;
        visitor_.met(point, opacity, stays);
        if (stays) return true;
      }
      const T before = hit->t;
      *hit = scene_.intersector.closest(origin_towards(scene_, point, direction), direction);
      hit->t += before;
    }
    return false;
  }

  LG_HD void gather(const Stop<T>& at, const Vec3<T>& carried, int32_t surface) {
    steps_.receive(at, carried,
                   [&](const Vec3<T>& from, LightSample<T>* sample) { light_from(from, surface, sample); });
  }
};

// The same where there are media: paths may end their segments between surfaces, too.
template <class T, class Visitor>
class MediumPathTracer : TracerBase<T, Visitor> {
  using Base = TracerBase<T, Visitor>;
  using Base::darkest_, Base::draw, Base::enter, Base::light_from, Base::max_depth_, Base::random_, Base::scene_,
      Base::steps_, Base::visitor_;

 public:
  using Base::Base;

  LG_HD void run(const PathRay<T>& ray) {
    Vec3<T> origin = ray.origin, direction = unit(ray.direction);
    const T scale = 1 / length(ray.direction);
    Vec3<T> carried = {1, 1, 1};
    T pdf = 0, eta = 1;
    T way = 0;  // from the surface before, through collisions
    bool lights_drawn = false;
    inside_ = media_around(scene_, origin, direction);
    for (int32_t segment = 0; segment < max_depth_; ++segment) {
      const Pair<T> distance = random_.pair(first_flight_draw + static_cast<uint32_t>(segment));
      const Flight<T> flight = fly(scene_, origin, direction, distance, darkest_, &carried, &inside_, visitor_);
      if (segment == 0 && flight.collides) {
        visitor_.first_in_medium(flight.medium, flight.position, flight.distance * scale);
      }
      if (!(largest(carried) > 0)) return;
      if (flight.collides) {
        if (!turn(flight, segment, &direction, carried, &pdf)) return;
        lights_drawn = scene_.light_groups() > 0;
        way += flight.distance;
        origin = flight.position;
      } else if (flight.hit.face < 0) {
        if (segment == 0) {
          visitor_.passed(carried);
        } else {
          steps_.escape(direction, carried, lights_drawn ? pdf : T(0));
        }
        return;
      } else {
        if (!scene_.is_whole(flight.hit.face)) return;
        Stop<T> at;
        steps_.stop(flight.hit, direction, &at);
        if (segment == 0) visitor_.first(at, flight.hit.t * scale);
        steps_.emit(origin, at.point, carried, lights_drawn ? pdf : T(0));
        if (segment + 1 == max_depth_) return;
        at.distance = way + flight.hit.t;
        way = 0;
        enter(&at, &carried);
        lights_drawn = scene_.light_groups() > 0 && !is_smooth(at.material);
        if (lights_drawn) gather(at, carried, segment);
        if (segment + 2 == max_depth_ && !scene_.can_be_hit()) return;
        Onward<T> next;
        const T lobe = draw(segment, draw_lobe).first;
        if (!steps_.scatter(at, lobe, draw(segment, draw_direction), &carried, &next)) return;
        eta *= next.sample.eta;
        pdf = next.sample.pdf;
        inside_ = beyond(at.point, next.direction);
        origin = origin_towards(scene_, at.point, next.direction);
        direction = next.direction;
      }
      if (!survives(segment, eta, draw(segment, draw_group).second, &carried)) return;
    }
  }

 private:
  LG_HD_CALL void gather(const Stop<T>& at, const Vec3<T>& carried, int32_t segment) {
    LightSample<T> light;
    Vec3<T> wo;
    T chance;
    const auto draw_from = [&](const Vec3<T>& from, LightSample<T>* sample) { light_from(from, segment, sample); };
    if (!steps_.find_light(at, draw_from, &light, &wo, &chance)) return;
    if (light.pdf > 0) light.part *= power_heuristic(light.pdf, chance);
    const Course<T> ray = shadow_ray(light.start, light);
    const MediumStack inside = beyond(at.point, light.direction);
    const Vec3<T> arriving = carried * transmittance(scene_, ray, inside);
    if (!(largest(arriving) > 0)) return;
    visitor_.lit(at, wo, arriving, light);
    if (Visitor::learns) visitor_.dimmed(ray, inside, lit_radiance(at, wo, arriving, light));
  }

  // The media on the side of a surface to which a direction points.
  LG_HD MediumStack beyond(const SurfacePoint<T>& point, const Vec3<T>& direction) const {
    MediumStack inside = inside_;
    const T along = dot(point.geometric, direction);
    if (along * point.side < 0) scene_.media.cross(point.face, along, &inside);
    return inside;
  }

  // At a collision: light that is drawn, and the direction in which the path goes on. False: it ends there.
  LG_HD bool turn(const Flight<T>& flight, int32_t segment, Vec3<T>* direction, const Vec3<T>& carried, T* pdf) {
    if (segment + 1 == max_depth_) return false;
    if (scene_.light_groups() > 0) gather_in_medium(flight, *direction, carried, segment);
    if (segment + 2 == max_depth_ && !scene_.can_be_hit()) return false;
    const Pair<T> place = draw(segment, draw_direction);
    const T cosine = sample_phase_cosine(flight.medium.g, place.first);
    visitor_.turned(flight.medium, cosine);
    *direction = unit(direction_around(*direction, cosine, place.second));
    *pdf = phase_value(flight.medium.g, cosine);
    return true;
  }

  LG_HD_CALL void gather_in_medium(const Flight<T>& flight, const Vec3<T>& direction, const Vec3<T>& carried,
                                   int32_t segment) {
    LightSample<T> light;
    light_from(flight.position, segment, &light);
    if (!(light.part > 0)) return;
    const T cosine = dot(direction, light.direction), chance = phase_value(flight.medium.g, cosine);
    if (light.pdf > 0) light.part *= power_heuristic(light.pdf, chance);
    const Course<T> ray = shadow_ray(flight.position, light);
    const Vec3<T> arriving = carried * transmittance(scene_, ray, inside_);
    if (!(largest(arriving) > 0)) return;
    visitor_.lit_in_medium(flight.medium, cosine, arriving, light);
    if (Visitor::learns) visitor_.dimmed(ray, inside_, lit_radiance(flight.medium, cosine, arriving, light));
  }

  MediumStack inside_;  // the media where the path is
};

template <class T, class Visitor, bool with_media>
using AnyPathTracer = std::conditional_t<with_media, MediumPathTracer<T, Visitor>, PathTracer<T, Visitor>>;

// What lit() adds.
template <class T>
LG_HD Vec3<T> lit_radiance(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
  T value[3];
  bsdf_value(at.material, at.wi, wo, value);
  return carried * load3(value) * (light.part * light.radiance);
}

// What lit_in_medium() adds.
template <class T>
LG_HD Vec3<T> lit_radiance(const Medium<T>& m, T cosine, const Vec3<T>& carried, const LightSample<T>& light) {
  return phase_value(m.g, cosine) * carried * (light.part * light.radiance);
}

// ---- The image ---------------------------------------------------------------------------------------------

// What a pixel adds up over its paths.
template <class T>
struct PixelSum {
  static constexpr bool learns = false;

  Vec3<double> radiance = {0, 0, 0};
  Vec3<T> normal = {0, 0, 0}, albedo = {0, 0, 0}, through = {0, 0, 0};
  T hits = 0, depth = 0;

  LG_HD void met(const SurfacePoint<T>&, const Opacity<T>&, bool) {}
  LG_HD void absorbed(const Stop<T>&) {}
  LG_HD void first(const Stop<T>& at, T t) { see(t, at.point.side * at.point.normal, shown_color(at.material)); }
  LG_HD void see(T t, const Vec3<T>& facing, const Vec3<T>& color) {
    hits += 1;
    depth += t;
    normal = normal + facing;
    albedo = albedo + color;
  }
  LG_HD void next(const Stop<T>&) {}
  LG_HD void escaped() {}
  LG_HD void emitted(const LightSource<T>&, const Vec3<T>& scale, const Vec3<T>& light) { add(scale * light); }
  LG_HD void lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& light) {
    add(lit_radiance(at, wo, carried, light));
  }
  LG_HD void scattered(const Stop<T>&, const BsdfSample<T>&) {}

  LG_HD void first_in_medium(const Medium<T>& m, const Vec3<T>& point, T t) {
    hits += 1;
    depth += t;
    albedo = albedo + albedo_at(m, point);
  }
  LG_HD void passed(const Vec3<T>& carried) {
    through = through + carried;
    hits += 1 - mean(carried);
  }
  LG_HD void lit_in_medium(const Medium<T>& m, T cosine, const Vec3<T>& carried, const LightSample<T>& light) {
    add(lit_radiance(m, cosine, carried, light));
  }
  LG_HD void turned(const Medium<T>&, T) {}
  LG_HD void attenuated(const Medium<T>&, const Vec3<T>&, const Vec3<T>&, const Passage<T>&) {}
  LG_HD void collided(const Medium<T>&, const Vec3<T>&) {}
  LG_HD void dimmed(const Course<T>&, const MediumStack&, const Vec3<T>&) {}

  // A path that is not finite counts as black.
  LG_HD void add(const Vec3<T>& v) {
    const T sum = v.x + v.y + v.z;
    if (!(sum - sum == 0)) return;
    radiance = radiance + Vec3<double>{static_cast<double>(v.x), static_cast<double>(v.y), static_cast<double>(v.z)};
  }

 private:
  LG_HD static Vec3<T> shown_color(const Material<T>& m) {
    T color[3] = {m.color[0], m.color[1], m.color[2]};
    if (m.kind == kind_conductor) mirror_value(m, Vec3<T>{0, 0, 1}, color);
    return load3(color);
  }
};

template <class T, bool with_media>
struct TracePaths {
  Scene<T> scene;
  RayGrid<T> grid;
  int32_t samples, max_depth;
  uint64_t seed;
  T *radiance, *alpha, *depth, *normal, *albedo, *through;

  LG_HD void operator()(int64_t pixel) const {
    PixelSum<T> sum;
    for (int32_t s = 0; s < samples; ++s) {
      const Random<T> random(seed, static_cast<uint64_t>(pixel), static_cast<uint64_t>(s));
      AnyPathTracer<T, PixelSum<T>, with_media>(scene, random, max_depth, T(0), sum).run(grid.ray(pixel, random));
    }
    write(pixel, sum);
  }

  LG_HD void write(int64_t pixel, const PixelSum<T>& sum) const {
    const T share = 1 / T(samples);
    const double exact = 1.0 / samples;
    const Vec3<double> mean = exact * sum.radiance;
    store3(Vec3<T>{static_cast<T>(mean.x), static_cast<T>(mean.y), static_cast<T>(mean.z)}, radiance + 3 * pixel);
    alpha[pixel] = share * sum.hits;
    depth[pixel] = share * sum.depth;
    store3(share * sum.normal, normal + 3 * pixel);
    store3(share * sum.albedo, albedo + 3 * pixel);
    if constexpr (with_media) store3(share * sum.through, through + 3 * pixel);
  }
};

template <class T, bool with_media>
TracePaths<T, with_media> make_trace_paths(const lg_lit_scene& scene, const void* origins, const void* directions,
                                           int64_t width, int32_t samples, int32_t max_depth, int64_t seed,
                                           void* radiance, void* alpha, void* depth, void* normal, void* albedo,
                                           void* through) {
  return {make_scene<T>(scene),
          make_ray_grid<T>(origins, directions, width),
          samples,
          max_depth,
          static_cast<uint64_t>(seed),
          static_cast<T*>(radiance),
          static_cast<T*>(alpha),
          static_cast<T*>(depth),
          static_cast<T*>(normal),
          static_cast<T*>(albedo),
          static_cast<T*>(through)};
}

}  // namespace lg::light
