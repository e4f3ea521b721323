// Direct light at given points of surfaces.
//
// Lamps are looked at one by one, each with one ray: their light has no noise. Of triangles that emit, of the
// environment and of the material, each sample draws a direction; what two of these can meet is weighted by the power
// heuristic. What the environment sends is blocked by what lies within a reach alone.
//
// A visitor is called as path.h describes. Points are paths whose first segment is given.
#pragma once

#include <cstdint>
#include <limits>

#include "light/path.h"
#include "light/path_gradient.h"
#include "light/random.h"
#include "light/scene.h"
#include "runtime/call.h"

namespace lg::light {

// Pairs of numbers.
enum DirectDraw : uint32_t { even_emitter, even_texel, even_direction, even_lobe };

// Points of triangles, as rays hit them.
template <class T>
struct SeenPoints {
  const int32_t* tri;   // [points], -1 for none
  const T* bary;        // [points, 2]
  const T* directions;  // [points, 3] of the rays

  LG_HD Hit<T> hit(int64_t point) const { return {tri[point], bary[2 * point], bary[2 * point + 1], 0}; }
  LG_HD Vec3<T> direction(int64_t point) const { return unit(load3(directions + 3 * point)); }
};

// Where in its interval a number is: what is left of it once it has chosen the interval. Places on lights that are
// drawn with it are as evenly spread as the numbers are.
template <class T>
LG_HD T rest_within(const T* sums, T number) {
  const T width = sums[1] - sums[0], rest = width > 0 ? (number - sums[0]) / width : T(0.5);
  return clamped(rest, T(0), T(1 - 1.0 / (1 << 24)));
}

template <class T, class Visitor>
class DirectTracer {
 public:
  LG_HD DirectTracer(const Scene<T>& scene, const Hit<T>& hit, const Vec3<T>& direction, T reach, T darkest,
                     Visitor& visitor)
      : scene_(scene), steps_(scene, darkest, visitor), visitor_(visitor), reach_(reach) {
    steps_.stop(hit, direction, &at_);
    at_.frame = frame_around(at_.point.normal);
    at_.wi = at_.frame.to_local(-direction);
  }

  // What is the same for all samples: emission and lamps.
  LG_HD void run_certain() {
    visitor_.first(at_, at_.distance);
    const Vec3<T> whole = {1, 1, 1};
    steps_.emit(at_.point.position, at_.point, whole, T(0));
    if (is_smooth(at_.material)) return;
    for (int64_t lamp = 0; lamp < scene_.lamp_count; ++lamp) {
      steps_.receive(at_, whole,
                     [&](const Vec3<T>& from, LightSample<T>* sample) { light_of_lamp(scene_, from, lamp, sample); });
    }
  }

  // One of several samples, each of which counts `share`.
  LG_HD void run_sample(const EvenRandom<T>& random, T share) {
    visitor_.first(at_, at_.distance);
    const Vec3<T> carried = {share, share, share};
    const bool lights_drawn = !is_smooth(at_.material);
    if (lights_drawn && scene_.emitter_count > 0) {
      const Pair<T> choice = random.pair(even_emitter), place = place_on_emitter(choice);
      steps_.receive(at_, carried, [&](const Vec3<T>& from, LightSample<T>* sample) {
        sample_emitter(scene_, from, choice, place, sample);
      });
    }
    if (lights_drawn && scene_.environment.exists()) {
      const Pair<T> choice = random.pair(even_texel), place = place_in_texel(choice);
      steps_.receive(at_, carried, [&](const Vec3<T>& from, LightSample<T>* sample) {
        sample_environment(scene_, choice, place, sample);
        keep_within_reach(from, sample);
      });
    }
    if (scene_.can_be_hit()) follow_material(random, carried, lights_drawn);
  }

 private:
  LG_HD Pair<T> place_on_emitter(const Pair<T>& choice) const {
    const int64_t emitter = find_interval(scene_.emitter_sums, scene_.emitter_count, choice.first);
    return {rest_within(scene_.emitter_sums + emitter, choice.first), choice.second};
  }
  LG_HD Pair<T> place_in_texel(const Pair<T>& choice) const {
    const Environment<T>& around = scene_.environment;
    const int64_t row = find_interval(around.row_sums, 6 * int64_t{around.side}, choice.first);
    const T* sums = around.texel_sums + row * (around.side + 1);
    const int64_t column = find_interval(sums, around.side, choice.second);
    return {rest_within(sums + column, choice.second), rest_within(around.row_sums + row, choice.first)};
  }

  LG_HD void keep_within_reach(const Vec3<T>& from, LightSample<T>* light) const {
    if (!(reach_ < std::numeric_limits<T>::infinity())) return;
    light->distance = reach_;
    light->end = from + reach_ * light->direction;
  }

  LG_HD void follow_material(const EvenRandom<T>& random, Vec3<T> carried, bool lights_drawn) {
    Onward<T> next;
    const T lobe = random.pair(even_lobe).first;
    if (!steps_.scatter(at_, lobe, random.pair(even_direction), &carried, &next)) return;
    const T pdf = lights_drawn ? next.sample.pdf : T(0);
    const Vec3<T> origin = origin_towards(scene_, at_.point, next.direction);
    const Hit<T> hit = scene_.intersector.closest(origin, next.direction);
    if (hit.face < 0 || !(hit.t < reach_)) steps_.escape(next.direction, carried, pdf);
    if (hit.face < 0 || !scene_.is_whole(hit.face)) return;
    Stop<T> met;
    steps_.stop(hit, next.direction, &met);
    visitor_.next(met);
    steps_.emit(origin, met.point, carried, pdf);
  }

  const Scene<T>& scene_;
  PathSteps<T, Visitor> steps_;
  Visitor& visitor_;
  Stop<T> at_;
  T reach_;
};

// What both passes are given.
template <class T>
struct DirectCall {
  Scene<T> scene;
  SeenPoints<T> points;
  int32_t samples;
  T reach;
  uint64_t seed;

  LG_HD bool is_seen(int64_t point) const { return scene.is_whole(points.tri[point]); }

  template <class Visitor>
  LG_HD DirectTracer<T, Visitor> tracer(int64_t point, T darkest, Visitor& visitor) const {
    return DirectTracer<T, Visitor>(scene, points.hit(point), points.direction(point), reach, darkest, visitor);
  }
  // Samples draw nothing where there are lamps alone.
  LG_HD int32_t draws() const { return scene.can_be_hit() ? samples : 0; }
  LG_HD EvenRandom<T> random(int64_t point, int32_t sample) const {
    return EvenRandom<T>(seed, static_cast<uint64_t>(point), static_cast<uint32_t>(sample));
  }
};

template <class T>
DirectCall<T> make_direct_call(const lg_lit_scene& scene, const int32_t* hit_tri, const void* bary,
                               const void* directions, int32_t samples, double reach, int64_t seed) {
  DirectCall<T> call = {make_scene<T>(scene),
                        {hit_tri, static_cast<const T*>(bary), static_cast<const T*>(directions)},
                        samples,
                        static_cast<T>(reach),
                        static_cast<uint64_t>(seed)};
  call.scene.all_lights = true;
  return call;
}

template <class T>
struct DirectLight {
  DirectCall<T> call;
  T *radiance, *normal, *albedo;

  LG_HD void operator()(int64_t point) const {
    PixelSum<T> sum;
    if (call.is_seen(point)) {
      auto tracer = call.tracer(point, T(0), sum);
      tracer.run_certain();
      const T share = 1 / T(call.samples);
      for (int32_t s = 0; s < call.draws(); ++s) tracer.run_sample(call.random(point, s), share);
    }
    const Vec3<double>& total = sum.radiance;
    store3(Vec3<T>{static_cast<T>(total.x), static_cast<T>(total.y), static_cast<T>(total.z)}, radiance + 3 * point);
    const T share = sum.hits > 0 ? 1 / sum.hits : T(0);  // each sample begins at the same surface
    store3(share * sum.normal, normal + 3 * point);
    store3(share * sum.albedo, albedo + 3 * point);
  }
};

// Gradients, by replay as those of paths: what a sample finds is known before it is followed a second time.
template <class T>
struct PullDirect {
  DirectCall<T> call;
  const T* given;  // [points, 3]

  template <class Sink>
  LG_HD_CALL void pull(int64_t point, const Sink& sink) const {
    const Vec3<T> by_radiance = load3(given + 3 * point);
    if ((by_radiance.x == 0 && by_radiance.y == 0 && by_radiance.z == 0) || !call.is_seen(point)) return;
    const T darkest = T(darkest_color), share = 1 / T(call.samples);
    Still<T> still;
    PullPath<T, Sink> certain(call.scene, {0, 0, 0}, by_radiance, sink, &still);
    call.tracer(point, darkest, certain).run_certain();
    for (int32_t s = 0; s < call.draws(); ++s) {
      PathTotal<T> whole;
      call.tracer(point, darkest, whole).run_sample(call.random(point, s), share);
      const double sum = whole.total.x + whole.total.y + whole.total.z;
      if (!(sum - sum == 0)) continue;
      PullPath<T, Sink> pull(call.scene, whole.total, by_radiance, sink, &still);
      call.tracer(point, darkest, pull).run_sample(call.random(point, s), share);
    }
  }
};

}  // namespace lg::light
