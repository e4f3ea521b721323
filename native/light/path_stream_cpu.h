// Paths on the CPU, many at a time and one segment after the other.
//
// All paths of a stream have their rays traced, then all are shaded, then their shadow rays are traced, and so on: rays
// go through the tree together (ray/stream_cpu.h), and what one path waits for does not hold up the others. Each path
// equals that of PathTracer, bit for bit.
//
// Gradients follow a path twice. What it meets the first time is kept, up to a number of surfaces, so that the second
// time nothing is traced or drawn.
#pragma once

#include <algorithm>
#include <cstdint>

#include "light/path.h"
#include "light/path_gradient.h"
#include "light/pull_cpu.h"
#include "ray/stream_cpu.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::light {

constexpr int stream_size = 64;
constexpr int32_t most_kept = 12;  // surfaces of a path that are kept

// What happens to a path at one surface.
template <class T>
struct Visit {
  Stop<T> at;
  LightSample<T> light;  // which it gets, if is_lit
  Vec3<T> wo;
  T chance;
  Vec3<T> carried;         // when it gets that
  Vec3<T> scale, emitted;  // of the surface's own light, if emits
  BsdfSample<T> sample;    // of the direction in which it goes on, if scatters
  bool is_lit, emits, absorbs, scatters;
};

// Where a path of a stream is.
template <class T>
struct StreamPath {
  Random<T> random = Random<T>(0, 0, 0);
  PathRay<T> ray;  // of the camera
  T scale;         // of its parameter
  int64_t pixel;
  Pair<T> place;
  PathState<T> state;
  Hit<T> hit;
  bool drawn_from_around;  // whether the light at the next surface comes from the environment: from where
  int64_t around_row;
  Vec3<T> around;
  T around_pdf;
};

// Passes its calls on to a visitor, and records them.
template <class T>
struct Keeper : PathTotal<T> {
  Visit<T>* visit = nullptr;  // where the path is, or comes to
  int32_t surfaces = 0;       // to which it has come
  bool has_escaped = false;
  Vec3<T> scale, light, direction;  // of what it has got from around, then

  LG_HD void first(const Stop<T>&, T) { begin(); }
  LG_HD void next(const Stop<T>&) { begin(); }
  LG_HD void absorbed(const Stop<T>&) { visit->absorbs = true; }
  LG_HD void emitted(const LightSource<T>& source, const Vec3<T>& by, const Vec3<T>& what) {
    PathTotal<T>::emitted(source, by, what);
    if (source.kind == Source::environment) {
      has_escaped = true;
      scale = by, light = what, direction = source.direction;
    } else {
      visit->emits = true;
      visit->scale = by, visit->emitted = what;
    }
  }
  LG_HD void lit(const Stop<T>& at, const Vec3<T>& wo, const Vec3<T>& carried, const LightSample<T>& sample) {
    PathTotal<T>::lit(at, wo, carried, sample);
    visit->carried = carried;
  }
  LG_HD void scattered(const Stop<T>&, const BsdfSample<T>& next) {
    visit->scatters = true;
    visit->sample = next;
  }

 private:
  LG_HD void begin() {
    ++surfaces;
    visit->emits = visit->absorbs = visit->scatters = visit->is_lit = false;
  }
};

// Asks for what shading reads of the triangles that are hit; face_of(k) is one of `count`, or -1.
template <class T, class FaceOf>
void fetch_surfaces(const Scene<T>& scene, int count, FaceOf&& face_of) {
  for (int k = 0; k < count; ++k) {
    const int64_t face = face_of(k);
    if (face < 0 || face >= scene.triangles) continue;
    LG_PREFETCH(scene.tri + 3 * face);
    LG_PREFETCH(scene.face_materials + face);
    if (scene.corner_uvs) LG_PREFETCH(scene.corner_uvs + 6 * face);
    if (scene.corner_normals) LG_PREFETCH(scene.corner_normals + 9 * face);
  }
  for (int k = 0; k < count; ++k) {
    const int64_t face = face_of(k);
    if (!scene.is_whole(face)) continue;
    for (int corner = 0; corner < 3; ++corner) LG_PREFETCH(scene.corner_values(face, corner));
  }
}

template <class T>
class PathStream {
 public:
  // kept: how many surfaces of each path are kept, at least one.
  PathStream(const Scene<T>& scene, int32_t max_depth, T darkest, int32_t kept)
      : scene_(scene),
        max_depth_(max_depth),
        darkest_(darkest),
        kept_(kept),
        visits_(static_cast<size_t>(kept) * stream_size) {}

  void clear() { count_ = 0; }
  bool is_full() const { return count_ == stream_size; }
  int count() const { return count_; }
  const StreamPath<T>& operator[](int i) const { return paths_[i]; }
  // Whether all of a path is kept that has come to so many surfaces.
  bool keeps(int32_t surfaces) const { return !scene_.alpha_modes && surfaces <= kept_; }
  Visit<T>& visit(int i, int32_t surface) {
    return visits_[static_cast<size_t>(surface % kept_) * stream_size + static_cast<size_t>(i)];
  }

  void add(const RayGrid<T>& grid, uint64_t seed, int64_t pixel, int32_t sample) {
    StreamPath<T>& p = paths_[count_++];
    p.random = Random<T>(seed, static_cast<uint64_t>(pixel), static_cast<uint64_t>(sample));
    p.place = p.random.pair(0);
    p.ray = grid.ray(pixel, p.place);
    p.scale = 1 / length(p.ray.direction);
    p.pixel = pixel;
  }

  // Follows the paths i with wanted(i) to their ends; visitor(i, visit): what path i tells what it meets.
  template <class Wanted, class VisitorOf>
  void run(Wanted&& wanted, VisitorOf&& visitor) {
    int active = 0;
    for (int i = 0; i < count_; ++i) {
      if (!wanted(i)) continue;
      StreamPath<T>& p = paths_[i];
      p.state = {};
      p.state.origin = p.ray.origin;
      p.state.direction = unit(p.ray.direction);
      active_[active++] = i;
    }
    for (int32_t surface = 0; active > 0 && surface < max_depth_; ++surface) {
      trace(active);
      fetch_surfaces(scene_, active, [&](int k) { return paths_[active_[k]].hit.face; });
      if (scene_.environment.exists() && surface + 1 < max_depth_) draw_from_around(surface, active);
      active = keep(active, [&](int i) {
        Visit<T>& at = visit(i, surface);
        return arrive(surface, paths_[i], at, visitor(i, at));
      });
      trace_shadows(surface, active);
      active = keep(active, [&](int i) {
        Visit<T>& at = visit(i, surface);
        return leave(surface, paths_[i], at, visitor(i, at));
      });
    }
  }

 private:
  // The active paths with goes_on(i) stay active, in their order.
  template <class GoesOn>
  int keep(int active, GoesOn&& goes_on) {
    int left = 0;
    for (int k = 0; k < active; ++k) {
      const int i = active_[k];
      if (goes_on(i)) active_[left++] = i;
    }
    return left;
  }

  void trace(int active) {
    for (int k = 0; k < active; ++k) {
      const Vec3<T>&o = paths_[active_[k]].state.origin, &d = paths_[active_[k]].state.direction;
      rays_[k] = {{o.x, o.y, o.z}, {d.x, d.y, d.z}, T(0), ray::infinity<T>};
    }
    ray::Hit<T> hits[stream_size];
    ray::closest_hits(scene_.intersector.bvh, rays_, active, hits);
    for (int k = 0; k < active; ++k) paths_[active_[k]].hit = {hits[k].tri, hits[k].u, hits[k].v, hits[k].t};
  }

  // Draws directions to the environment, which are looked for in large tables: of all paths one after the other, so
  // that none waits for memory for long.
  void draw_from_around(int32_t surface, int active) {
    const Environment<T>& around = scene_.environment;
    for (int k = 0; k < active; ++k) {
      StreamPath<T>& p = paths_[active_[k]];
      p.drawn_from_around = false;
      if (p.hit.face < 0) continue;
      p.drawn_from_around = chooses_environment(scene_, draw_at(p.random, surface, draw_group).first);
      if (!p.drawn_from_around) continue;
      p.around_row = around.sample_row(draw_at(p.random, surface, draw_light));
      around.fetch_row(p.around_row);
    }
    for (int k = 0; k < active; ++k) {
      StreamPath<T>& p = paths_[active_[k]];
      if (!p.drawn_from_around) continue;
      const Pair<T> choice = draw_at(p.random, surface, draw_light), place = draw_at(p.random, surface, draw_place);
      p.around = around.sample_in_row(p.around_row, choice, place, &p.around_pdf);
    }
  }

  void trace_shadows(int32_t surface, int active) {
    if (scene_.alpha_modes) return;
    int count = 0;
    Visit<T>* waiting[stream_size];
    for (int k = 0; k < active; ++k) {
      Visit<T>& at = visit(active_[k], surface);
      if (!at.is_lit) continue;
      const ShadowRay<T> ray = shadow_ray_of(at.light);
      const Vec3<T>&o = ray.origin, &d = ray.direction;
      rays_[count] = {{o.x, o.y, o.z}, {d.x, d.y, d.z}, T(0), ray.t_max};
      waiting[count++] = &at;
    }
    bool hit[stream_size];
    ray::any_hits(scene_.intersector.bvh, rays_, count, hit);
    for (int k = 0; k < count; ++k) waiting[k]->is_lit = !hit[k];
  }

  template <class Visitor>
  bool arrive(int32_t surface, StreamPath<T>& p, Visit<T>& visit, Visitor& visitor) {
    PathTracer<T, Visitor> tracer(scene_, p.random, max_depth_, darkest_, visitor);
    if (!tracer.arrive(surface, p.scale, &p.hit, &p.state, &visit.at)) return false;
    const auto light_from = [&](const Vec3<T>& from, LightSample<T>* sample) {
      if (scene_.environment.exists() && p.drawn_from_around) {
        light_from_around(scene_, p.around, p.around_pdf, sample);
      } else {
        tracer.light_from(from, surface, sample);
      }
    };
    visit.is_lit =
        p.state.lights_drawn && tracer.steps().find_light(visit.at, light_from, &visit.light, &visit.wo, &visit.chance);
    if (visit.is_lit && scene_.alpha_modes) {
      visit.light.part *= tracer.steps().arriving(visit.light);
      visit.is_lit = visit.light.part > 0;
    }
    return true;
  }

  template <class Visitor>
  bool leave(int32_t surface, StreamPath<T>& p, Visit<T>& visit, Visitor& visitor) {
    PathTracer<T, Visitor> tracer(scene_, p.random, max_depth_, darkest_, visitor);
    if (visit.is_lit) tracer.steps().take_light(visit.at, p.state.carried, visit.wo, visit.chance, &visit.light);
    return tracer.leave(surface, visit.at, &p.state);
  }

  const Scene<T>& scene_;
  int32_t max_depth_;
  T darkest_;
  int32_t kept_;
  Buffer<Visit<T>> visits_;
  StreamPath<T> paths_[stream_size];
  ray::Ray<T> rays_[stream_size];
  int active_[stream_size];
  int count_ = 0;
};

// The image, of some pixels.
template <class T>
struct ImageStream {
  const TracePaths<T, false>& body;

  void trace(int64_t first, int64_t end, PixelSum<T>* sums) const {
    PathStream<T> stream(body.scene, body.max_depth, T(0), 1);
    const auto flush = [&] {
      stream.run([](int) { return true; },
                 [&](int i, const Visit<T>&) -> PixelSum<T>& { return sums[stream[i].pixel - first]; });
      stream.clear();
    };
    for (int64_t pixel = first; pixel < end; ++pixel) {
      for (int32_t s = 0; s < body.samples; ++s) {
        stream.add(body.grid, body.seed, pixel, s);
        if (stream.is_full()) flush();
      }
    }
    flush();
  }
};

// Gradients.
template <class T, bool moves>
struct PullStreams {
  PullPaths<T, moves> paths;
  T* of_rays = nullptr;  // [pixels, pixel_values], or null

  template <class Sink>
  void pull(int64_t first, int64_t end, const Sink& sink) const {
    PathStream<T> stream(paths.scene, paths.max_depth, T(darkest_color), std::min(paths.max_depth, most_kept));
    PixelRays<T> rays[pixels_per_task];
    const auto flush = [&] {
      pull_stream(stream, sink, [&](int64_t pixel) { return &rays[pixel - first]; });
      stream.clear();
    };
    for (int64_t pixel = first; pixel < end; ++pixel) {
      if (PullPaths<T, moves>::is_zero(paths.given_of(paths.given, pixel))) continue;
      for (int32_t s = 0; s < paths.samples; ++s) {
        stream.add(paths.grid, paths.seed, pixel, s);
        if (stream.is_full()) flush();
      }
    }
    flush();
    for (int64_t pixel = first; of_rays && pixel < end; ++pixel) {
      rays[pixel - first].store(of_rays + pixel_values * pixel);
    }
  }

 private:
  // rays_of(pixel)
  template <class Sink, class RaysOf>
  void pull_stream(PathStream<T>& stream, const Sink& sink, RaysOf&& rays_of) const {
    Keeper<T> met[stream_size];
    stream.run([](int) { return true; },
               [&](int i, Visit<T>& visit) -> Keeper<T>& {
                 met[i].visit = &visit;
                 return met[i];
               });
    for (int i = 0; i < stream.count(); ++i) {
      const Vec3<double>& total = met[i].total;
      if (!is_finite(total.x + total.y + total.z)) continue;
      if constexpr (moves) {
        Moving<T, Sink> motion(paths.scene, stream[i].ray.direction, sink);
        pull_path(stream, i, met[i], sink, &motion);
        rays_of(stream[i].pixel)->add(stream[i].place, motion.finish());
      } else {
        Still<T> motion;
        pull_path(stream, i, met[i], sink, &motion);
      }
    }
  }

  template <class Sink, class Motion>
  void pull_path(PathStream<T>& stream, int i, const Keeper<T>& met, const Sink& sink, Motion* motion) const {
    const StreamPath<T>& path = stream[i];
    using Pull = PullPath<T, Sink, Motion>;
    Pull pull(paths.scene, met.total, paths.given_of(paths.given, path.pixel), sink, motion);
    if (!stream.keeps(met.surfaces)) {
      PathTracer<T, Pull>(paths.scene, path.random, paths.max_depth, T(darkest_color), pull).run(path.ray);
      return;
    }
    LightSource<T> source = {};
    for (int32_t surface = 0; surface < met.surfaces; ++surface) {
      const Visit<T>& visit = stream.visit(i, surface);
      if (surface == 0) {
        pull.first(visit.at, visit.at.distance * path.scale);
      } else {
        pull.next(visit.at);
      }
      if (visit.emits) {
        source.kind = Source::surface;
        source.point = visit.at.point;
        pull.emitted(source, visit.scale, visit.emitted);
      }
      if (visit.absorbs) pull.absorbed(visit.at);
      if (visit.is_lit) pull.lit(visit.at, visit.wo, visit.carried, visit.light);
      if (visit.scatters) pull.scattered(visit.at, visit.sample);
    }
    if (!met.has_escaped) return;
    source.kind = Source::environment;
    source.direction = met.direction;
    pull.escaped();
    pull.emitted(source, met.scale, met.light);
  }
};

}  // namespace lg::light
