// Drawing points of lights, and the density of what a ray happens to meet.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "light/random.h"
#include "light/scene.h"
#include "runtime/call.h"

namespace lg::light {

enum class Source : int32_t { none, surface, lamp, environment };

// What light comes from, for gradients.
template <class T>
struct LightSource {
  Source kind;
  int64_t lamp;
  SurfacePoint<T> point;  // of a surface
  Vec3<T> direction;      // to the environment
};

// What is drawn: radiance over the density, from a direction.
template <class T>
struct LightSample {
  LightSource<T> source;
  Vec3<T> direction;   // unit
  Vec3<T> start, end;  // of the shadow ray; it has no end where it is infinite
  T distance;
  Vec3<T> radiance;  // or intensity of a lamp, without `part`
  T part;            // of radiance that arrives, over the density; 0: nothing
  T pdf;             // per solid angle; 0: a lamp, which no ray meets
};

// A point that is drawn uniformly on a triangle, as it is seen from another point. V: a number, or lanes of one for
// each of many draws.
template <class V>
struct TrianglePoint {
  V u, v;             // weights of the first two corners
  Vec3<V> direction;  // to the point, unit
  V distance, squared;
  V narrowing;  // twice the triangle's area as it is seen

  LG_HD MaskOf<V> is_seen() const { return (V(0) < squared) & (V(0) < narrowing); }
  // Per solid angle, of drawing this triangle of several with a chance.
  LG_HD V density(const V& chance) const { return chance * V(2) * squared / narrowing; }
};
template <class V>
LG_HD TrianglePoint<V> point_on_triangle(const Triangle<V>& corners, const Vec3<V>& from, const Pair<V>& place) {
  TrianglePoint<V> p;
  const V side = root(place.first);
  p.u = 1 - side;
  p.v = side * place.second;
  const Vec3<V> towards = p.u * corners.a + p.v * corners.b + (1 - p.u - p.v) * corners.c - from;
  p.squared = dot(towards, towards);
  p.distance = root(p.squared);
  p.direction = (1 / p.distance) * towards;
  p.narrowing = absolute(dot(corners.normal(), p.direction));
  return p;
}

// The part of radiance that a sample of a density brings.
template <class V>
LG_HD V part_of_density(const V& pdf) {
  return select(V(0) < pdf, 1 / pdf, V(0));
}

// A point of a triangle that emits, seen from `from`.
template <class T>
LG_HD_CALL void sample_emitter(const Scene<T>& scene, const Vec3<T>& from, const Pair<T>& choice, const Pair<T>& place,
                               LightSample<T>* sample) {
  LightSample<T>& s = *sample;
  s.part = 0;
  const int64_t number = find_interval(scene.emitter_sums, scene.emitter_count, choice.first);
  const int64_t face = scene.emitter_faces[number];
  s.direction = {0, 0, 0};
  if (!scene.is_whole(face)) return;
  const T* sums = scene.emitter_sums + number;
  const TrianglePoint<T> drawn = point_on_triangle(scene.corners(face), from, place);
  s.distance = drawn.distance;
  s.direction = drawn.direction;
  s.source.kind = Source::surface;
  set_surface_point(scene, Hit<T>{face, drawn.u, drawn.v, 0}, s.direction, &s.source.point);
  s.end = origin_towards(scene, s.source.point, -s.direction);
  if (!drawn.is_seen() || !emits(scene, s.source.point)) return;
  s.radiance = emission_at(scene, s.source.point);
  s.pdf = drawn.density(sums[1] - sums[0]) / T(scene.light_choices());
  s.part = part_of_density(s.pdf);
}

template <class T>
LG_HD_CALL void light_of_lamp(const Scene<T>& scene, const Vec3<T>& from, int64_t lamp, LightSample<T>* sample) {
  LightSample<T>& s = *sample;
  const LampLight<T> light = light_of(scene.lamps + lamp_columns * lamp, scene.lamp_kinds[lamp], from);
  s.source.kind = Source::lamp;
  s.source.lamp = lamp;
  s.direction = light.direction;
  s.distance = light.distance;
  s.end = from + (light.distance < std::numeric_limits<T>::infinity() ? light.distance : T(0)) * light.direction;
  s.radiance = load3(scene.lamp_intensities + 3 * lamp);
  s.part = light.part;
  s.pdf = 0;
}

template <class T>
LG_HD_CALL void sample_lamp(const Scene<T>& scene, const Vec3<T>& from, const Pair<T>& choice, LightSample<T>* s) {
  const int64_t last = scene.lamp_count - 1, found = static_cast<int64_t>(choice.first * T(scene.lamp_count));
  light_of_lamp(scene, from, found < last ? found : last, s);
  s->part = s->part * T(scene.lamp_count) * T(scene.light_choices());
}

// Light from a drawn direction; pdf: of drawing it from the environment.
template <class T>
LG_HD void light_from_around(const Scene<T>& scene, const Vec3<T>& direction, T pdf, const Vec3<T>& radiance,
                             LightSample<T>* s) {
  s->source.kind = Source::environment;
  s->direction = s->source.direction = direction;
  s->distance = std::numeric_limits<T>::infinity();
  s->radiance = radiance;
  s->pdf = pdf / T(scene.light_choices());
  s->part = part_of_density(s->pdf);
}
template <class T>
LG_HD void light_from_around(const Scene<T>& scene, const Vec3<T>& direction, T pdf, LightSample<T>* s) {
  light_from_around(scene, direction, pdf, scene.environment.radiance(direction), s);
}

template <class T>
LG_HD_CALL void sample_environment(const Scene<T>& scene, const Pair<T>& choice, const Pair<T>& place,
                                   LightSample<T>* s) {
  T pdf;
  const Vec3<T> direction = scene.environment.sample(choice, place, &pdf);
  light_from_around(scene, direction, pdf, s);
}

// What sample_light() draws from.
template <class T>
LG_HD Source chosen_source(const Scene<T>& scene, T group) {
  int left = static_cast<int>(group * T(scene.light_groups()));
  if (scene.emitter_count > 0 && left-- == 0) return Source::surface;
  if (scene.lamp_count > 0 && left-- == 0) return Source::lamp;
  return scene.environment.exists() ? Source::environment : Source::none;
}
template <class T>
LG_HD bool chooses_environment(const Scene<T>& scene, T group) {
  return chosen_source(scene, group) == Source::environment;
}

template <class T>
LG_HD_CALL void sample_light(const Scene<T>& scene, const Vec3<T>& from, T group, const Pair<T>& choice,
                             const Pair<T>& place, LightSample<T>* s) {
  const Source source = chosen_source(scene, group);
  if (source == Source::surface) return sample_emitter(scene, from, choice, place, s);
  if (source == Source::lamp) return sample_lamp(scene, from, choice, s);
  if (source == Source::environment) return sample_environment(scene, choice, place, s);
  s->part = 0;
  s->direction = {0, 0, 0};
}

// The density with which sample_light() draws the point that a ray from `from` has met.
template <class T>
LG_HD T emitter_pdf(const Scene<T>& scene, const Vec3<T>& from, const SurfacePoint<T>& p) {
  const int32_t number = scene.face_emitters ? scene.face_emitters[p.face] : -1;
  if (number < 0 || number >= scene.emitter_count) return T(0);
  const Vec3<T> a = scene.corner(p.face, 0), towards = p.position - from;
  const Vec3<T> normal = cross(scene.corner(p.face, 1) - a, scene.corner(p.face, 2) - a);
  const T squared = dot(towards, towards), narrowing = std::fabs(dot(normal, towards)) / std::sqrt(squared);
  const T* sums = scene.emitter_sums + number;
  return narrowing > 0 ? (sums[1] - sums[0]) * 2 * squared / narrowing / T(scene.light_choices()) : T(0);
}

template <class T>
LG_HD T environment_pdf(const Scene<T>& scene, const Vec3<T>& direction) {
  return scene.environment.pdf(direction) / T(scene.light_choices());
}

}  // namespace lg::light
