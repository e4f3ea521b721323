// The paths of an image on the CPU, many at a time and one segment after the other, as in path_stream_cpu.h; and those
// that come to diffuse surfaces are shaded sixteen at a time, in the lanes of registers.
//
// Lanes take the formulas that a path alone takes, so each path is that of PathTracer, to the bit. What depends on more
// than arithmetic (textures, lamps, environments, other materials) is computed for one path after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "light/path.h"
#include "light/path_stream_cpu.h"
#include "light/pull_cpu.h"
#include "math/lanes.h"
#include "ray/stream_cpu.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::light {

constexpr int lane_stream_size = ray::most_in_stream;
constexpr int path_lanes = 16;

// Values of all lanes, on their way from and to memory.
template <class T>
struct LaneRow {
  using V = Lanes<T, path_lanes>;
  alignas(64) T values[path_lanes];

  T& operator[](int l) { return values[l]; }
  T operator[](int l) const { return values[l]; }
  V lanes() const { return V::load(values); }
  void take(const V& lanes) { lanes.store(values); }
};
template <class T>
struct LaneRows3 {
  using V = Lanes<T, path_lanes>;
  LaneRow<T> x, y, z;

  void set(int l, const Vec3<T>& a) { x[l] = a.x, y[l] = a.y, z[l] = a.z; }
  Vec3<T> operator[](int l) const { return {x[l], y[l], z[l]}; }
  Vec3<V> lanes() const { return {x.lanes(), y.lanes(), z.lanes()}; }
  void take(const Vec3<V>& a) { x.take(a.x), y.take(a.y), z.take(a.z); }
};
template <class T>
struct LanePairs {
  LaneRow<T> first, second;

  void set(int l, const Pair<T>& a) { first[l] = a.first, second[l] = a.second; }
  Pair<T> operator[](int l) const { return {first[l], second[l]}; }
  Pair<Lanes<T, path_lanes>> lanes() const { return {first.lanes(), second.lanes()}; }
};

// Triangles, one in each lane, with the normals of their corners where the scene has any.
template <class T>
struct LaneTriangles {
  using V = Lanes<T, path_lanes>;
  LaneRows3<T> corner[3], normal[3];

  void set(int l, const Scene<T>& scene, int64_t face) {
    for (int k = 0; k < 3; ++k) {
      corner[k].set(l, scene.corner(face, k));
      if (scene.corner_normals) normal[k].set(l, load3(scene.corner_normals + 9 * face + 3 * k));
    }
  }
  void clear(int l) {
    for (int k = 0; k < 3; ++k) corner[k].set(l, {0, 0, 0}), normal[k].set(l, {0, 0, 0});
  }
  Triangle<V> lanes() const { return {corner[0].lanes(), corner[1].lanes(), corner[2].lanes()}; }
  Vec3<V> blended_normal(const SurfacePlace<V>& p) const {
    return blend(p.weight, normal[0].lanes(), normal[1].lanes(), normal[2].lanes());
  }
  Vec3<V> origin_towards(const SurfacePlace<V>& p, const Vec3<V>& towards, bool smooth) const {
    return origin_beside<V>(
        p, towards, smooth, [&](int k) { return corner[k].lanes(); }, [&](int k) { return normal[k].lanes(); });
  }
};

// What lights send to surfaces, one in each lane; see LightSample.
template <class T>
struct LaneLights {
  LaneRows3<T> direction, end, radiance;
  LaneRow<T> part, pdf;
  uint32_t distant;  // where the shadow ray has no end, as bits

  void set(int l, const LightSample<T>& s) {
    direction.set(l, s.direction);
    end.set(l, s.end);
    radiance.set(l, s.radiance);
    part[l] = s.part;
    pdf[l] = s.pdf;
    distant |= static_cast<uint32_t>(!(s.distance < std::numeric_limits<T>::infinity())) << l;
  }
  void clear(int l) {
    direction.set(l, {0, 0, 0}), end.set(l, {0, 0, 0}), radiance.set(l, {0, 0, 0});
    part[l] = pdf[l] = 0;
  }
};

template <class T>
class LanePaths {
 public:
  LanePaths(const TracePaths<T, false>& body, PixelSum<T>* sums)
      : body_(body), scene_(body.scene), max_depth_(body.max_depth), smooth_(scene_.corner_normals), sums_(sums) {}

  void trace(int64_t first, int64_t end) {
    for (int64_t pixel = first; pixel < end; ++pixel) {
      for (int32_t s = 0; s < body_.samples; ++s) {
        add(pixel, static_cast<int32_t>(pixel - first), s);
        if (active_ == lane_stream_size) run();
      }
    }
    run();
  }

 private:
  using V = Lanes<T, path_lanes>;
  using Mask = MaskOf<V>;

  void add(int64_t pixel, int32_t slot, int32_t sample) {
    const int i = active_++;
    numbers_[i] = i;
    slot_[i] = slot;
    random_[i] = Random<T>(body_.seed, static_cast<uint64_t>(pixel), static_cast<uint64_t>(sample));
    const PathRay<T> ray = body_.grid.ray(pixel, random_[i]);
    scale_[i] = 1 / length(ray.direction);
    put(i, ray.origin, unit(ray.direction), {1, 1, 1}, 0);
    eta_[i] = 1;
  }

  // pdf: of the direction, as far as lights are drawn, too; see PathState.
  void put(int i, const Vec3<T>& origin, const Vec3<T>& direction, const Vec3<T>& carried, T pdf) {
    origin_[i] = origin;
    direction_[i] = direction;
    carried_[i] = carried;
    pdf_[i] = pdf;
  }

  void run() {
    for (int32_t surface = 0; active_ > 0 && surface < max_depth_; ++surface) {
      trace_rays();
      fetch_surfaces(scene_, active_, [&](int k) { return hit_[numbers_[k]].face; });
      sort(surface);
      if (scene_.environment.exists() && surface + 1 < max_depth_) draw_from_around(surface);
      active_ = shadows_ = 0;
      for (int k = 0; k < diffuse_count_; k += path_lanes) {
        shade(surface, diffuse_ + k, std::min(path_lanes, diffuse_count_ - k));
      }
      for (int k = 0; k < other_count_; ++k) shade_alone(surface, other_[k]);
      trace_shadows();
    }
    active_ = 0;
  }

  void trace_rays() {
    for (int k = 0; k < active_; ++k) rays_[k] = ray_of(origin_[numbers_[k]], direction_[numbers_[k]]);
    ray::Hit<T> hits[lane_stream_size];
    ray::closest_hits(scene_.intersector.bvh, rays_, active_, hits);
    for (int k = 0; k < active_; ++k) hit_[numbers_[k]] = {hits[k].tri, hits[k].u, hits[k].v, hits[k].t};
  }
  static ray::Ray<T> ray_of(const Vec3<T>& o, const Vec3<T>& d, T t_max = ray::infinity<T>) {
    return {{o.x, o.y, o.z}, {d.x, d.y, d.z}, T(0), t_max};
  }

  // Tells paths that have come to diffuse surfaces from those that have come to others. The rest end here.
  void sort(int32_t surface) {
    diffuse_count_ = other_count_ = 0;
    for (int k = 0; k < active_; ++k) {
      const int i = numbers_[k];
      const int64_t face = hit_[i].face;
      if (face < 0 && surface > 0) steps_of(i).escape(direction_[i], carried_[i], pdf_[i]);
      if (!scene_.is_whole(face)) continue;
      const bool diffuse = scene_.kind_of(face)[kind_column] == kind_diffuse && !has_normal_map(scene_, face);
      if (diffuse) {
        diffuse_[diffuse_count_++] = i;
      } else {
        other_[other_count_++] = i;
      }
    }
  }

  PixelSum<T>& sum_of(int i) { return sums_[slot_[i]]; }
  PathSteps<T, PixelSum<T>> steps_of(int i) { return {scene_, T(0), sum_of(i)}; }
  Pair<T> draw(int i, int32_t surface, Draw what) const { return draw_at(random_[i], surface, what); }

  // Draws directions to the environment, which are looked for in large tables: of all paths one after the other, so
  // that none waits for memory for long.
  void draw_from_around(int32_t surface) {
    const Environment<T>& around = scene_.environment;
    const auto each = [&](auto&& visit) {
      for (int k = 0; k < diffuse_count_; ++k) visit(diffuse_[k]);
      for (int k = 0; k < other_count_; ++k) visit(other_[k]);
    };
    each([&](int i) {
      around_row_[i] = -1;
      if (!chooses_environment(scene_, draw(i, surface, draw_group).first)) return;
      around_row_[i] = around.sample_row(draw(i, surface, draw_light));
      around.fetch_row(around_row_[i]);
    });
    each([&](int i) {
      if (around_row_[i] < 0) return;
      around_[i] = around.sample_in_row(around_row_[i], draw(i, surface, draw_light), draw(i, surface, draw_place),
                                        &around_pdf_[i]);
    });
  }

  // Light that a path gets at a surface if nothing is in its way.
  void wait_for(int i, const ShadowRay<T>& ray, const Vec3<T>& light) {
    rays_[shadows_] = ray_of(ray.origin, ray.direction, ray.t_max);
    waiting_[shadows_] = i;
    light_[shadows_++] = light;
  }

  void trace_shadows() {
    bool hit[lane_stream_size];
    ray::any_hits(scene_.intersector.bvh, rays_, shadows_, hit);
    for (int k = 0; k < shadows_; ++k) {
      if (!hit[k]) sum_of(waiting_[k]).add(light_[k]);
    }
  }

  // ---- One path at any surface -----------------------------------------------------------------------------

  void shade_alone(int32_t surface, int i) {
    PathTracer<T, PixelSum<T>> tracer(scene_, random_[i], max_depth_, T(0), sum_of(i));
    PathState<T> path = {origin_[i], direction_[i], carried_[i], pdf_[i], eta_[i], true};
    Stop<T> at;
    if (!tracer.arrive(surface, scale_[i], &hit_[i], &path, &at)) return;
    LightSample<T> light;
    Vec3<T> wo;
    T chance;
    const auto light_from = [&](const Vec3<T>& from, LightSample<T>* sample) {
      if (scene_.environment.exists() && around_row_[i] >= 0) {
        light_from_around(scene_, around_[i], around_pdf_[i], sample);
      } else {
        tracer.light_from(from, surface, sample);
      }
    };
    if (path.lights_drawn && tracer.steps().find_light(at, light_from, &light, &wo, &chance)) {
      light.part = weighted_part(light.part, light.pdf, chance);
      wait_for(i, shadow_ray_of(light), lit_radiance(at, wo, path.carried, light));
    }
    if (!tracer.leave(surface, at, &path)) return;
    put(i, path.origin, path.direction, path.carried, path.lights_drawn ? path.pdf : T(0));
    eta_[i] = path.eta;
    numbers_[active_++] = i;
  }

  // ---- Paths side by side at diffuse surfaces --------------------------------------------------------------

  // What is read of the surfaces.
  struct Surfaces {
    LaneTriangles<T> triangles;
    LaneRows3<T> color, direction, carried;
    LaneRow<T> u, v, eta;
    uint32_t two_sided = 0, emitting = 0;
  };

  void read(const int* paths, int count, Surfaces* s) const {
    for (int l = 0; l < path_lanes; ++l) {
      const int i = paths[l < count ? l : 0];
      const Hit<T>& hit = hit_[i];
      const T* row = scene_.row_of(hit.face);
      s->triangles.set(l, scene_, hit.face);
      s->direction.set(l, direction_[i]);
      s->carried.set(l, carried_[i]);
      s->u[l] = hit.u, s->v[l] = hit.v, s->eta[l] = eta_[i];
      s->color.set(l, load3(row + column_color) * factor_at(hit));
      const T* emission = row + column_emission;
      s->emitting |= static_cast<uint32_t>(emission[0] != 0 || emission[1] != 0 || emission[2] != 0) << l;
      s->two_sided |= static_cast<uint32_t>(scene_.kind_of(hit.face)[two_sided_column] != 0) << l;
    }
  }

  Vec3<T> factor_at(const Hit<T>& hit) const {
    if (!scene_.corner_colors && !scene_.textures.has(scene_.kind_of(hit.face)[color_texture_column])) return {1, 1, 1};
    SurfacePoint<T> p;
    p.face = hit.face;
    p.weight[0] = hit.u, p.weight[1] = hit.v, p.weight[2] = 1 - hit.u - hit.v;
    interpolate_uv(scene_.corner_uvs, p, &p.u, &p.v);
    interpolate_uv(scene_.corner_second_uvs, p, &p.second_u, &p.second_v);
    return color_factor(scene_, p);
  }

  void shade(int32_t surface, const int* paths, int count) {
    const uint32_t used = (1u << count) - 1;
    Surfaces s;
    read(paths, count, &s);
    const Vec3<V> direction = s.direction.lanes(), color = at_least_black(s.color.lanes());
    SurfacePlace<V> p;
    set_place(s.triangles.lanes(), s.u.lanes(), s.v.lanes(), direction, &p);
    if (smooth_) p.normal = facing_normal(p, unit(s.triangles.blended_normal(p)), direction);
    if (surface == 0) see(paths, count, p.side * p.normal, color);
    for (uint32_t left = s.emitting & used; left; left &= left - 1) emit(paths[__builtin_ctz(left)]);
    if (surface + 1 == max_depth_) return;

    const Frame<V> frame = frame_around(p.normal);
    const Vec3<V> wi = frame.to_local(-direction), carried = s.carried.lanes();
    const Mask two_sided = mask_of<T, path_lanes>(s.two_sided);
    if (scene_.light_groups() > 0) {
      const Vec3<V> from = s.triangles.origin_towards(p, p.side * p.geometric, smooth_);
      gather(surface, paths, used, p, frame, wi, two_sided, color, carried, from);
    }
    if (surface + 2 == max_depth_ && !scene_.can_be_hit()) return;
    scatter(surface, paths, used, s, p, frame, wi, two_sided, color, carried);
  }

  static Vec3<V> at_least_black(const Vec3<V>& a) {
    const V black(T(0));
    return {select(a.x < black, black, a.x), select(a.y < black, black, a.y), select(a.z < black, black, a.z)};
  }

  void see(const int* paths, int count, const Vec3<V>& normal, const Vec3<V>& color) {
    LaneRows3<T> normals, colors;
    normals.take(normal);
    colors.take(color);
    for (int l = 0; l < count; ++l) {
      const int i = paths[l];
      sum_of(i).see(hit_[i].t * scale_[i], normals[l], colors[l]);
    }
  }

  void emit(int i) {
    const SurfacePoint<T> point = surface_point(scene_, hit_[i], direction_[i]);
    steps_of(i).emit(origin_[i], point, carried_[i], pdf_[i]);
  }

  // Light that is drawn.
  void gather(int32_t surface, const int* paths, uint32_t used, const SurfacePlace<V>& p, const Frame<V>& frame,
              Vec3<V> wi, const Mask& two_sided, const Vec3<V>& color, const Vec3<V>& carried, const Vec3<V>& from) {
    LaneRows3<T> start;
    start.take(from);
    LaneLights<T> lights;
    draw_lights(surface, paths, used, from, start, &lights);
    const Vec3<V> towards = lights.direction.lanes();
    const V part = lights.part.lanes(), pdf = lights.pdf.lanes();
    Vec3<V> wo = frame.to_local(towards);
    Mask lit = (V(T(0)) < part) & same_side(p, towards, wo);
    lit &= turn_to_front<V>(two_sided, false, &wi, &wo);
    const V chance = diffuse_pdf(wo);
    const uint32_t bits = bits_of(lit & (V(T(0)) < chance)) & used;
    if (!bits) return;
    Material<V> m;
    m.color[0] = color.x, m.color[1] = color.y, m.color[2] = color.z;
    V value[3];
    diffuse_value(m, wi, wo, value);
    LaneRows3<T> arriving;
    arriving.take(carried * load3(value) * (weighted_part(part, pdf, chance) * lights.radiance.lanes()));
    for (uint32_t left = bits; left; left &= left - 1) {
      const int l = __builtin_ctz(left);
      const bool distant = (lights.distant >> l & 1) != 0;
      const Vec3<T> origin = start[l];
      const ShadowRay<T> ray = distant ? ShadowRay<T>{origin, lights.direction[l], ray::infinity<T>}
                                       : ShadowRay<T>{origin, lights.end[l] - origin, T(1)};
      wait_for(paths[l], ray, arriving[l]);
    }
  }

  void draw_lights(int32_t surface, const int* paths, uint32_t used, const Vec3<V>& from, const LaneRows3<T>& start,
                   LaneLights<T>* lights) const {
    LaneTriangles<T> emitters;
    LanePairs<T> places;
    LaneRow<T> chances;
    uint32_t on_emitters = 0, two_sided = 0;
    lights->distant = 0;
    for (int l = 0; l < path_lanes; ++l) {
      lights->clear(l);
      emitters.clear(l);
      places.set(l, {0, 0});
      chances[l] = 0;
      if (!(used >> l & 1)) continue;
      const int i = paths[l];
      LightSample<T> sample;
      const Source source = chosen_source(scene_, draw(i, surface, draw_group).first);
      if (source == Source::environment) {
        light_from_around(scene_, around_[i], around_pdf_[i], &sample);
      } else {
        const Pair<T> choice = draw(i, surface, draw_light), place = draw(i, surface, draw_place);
        if (source == Source::surface) {
          const int64_t number = find_interval(scene_.emitter_sums, scene_.emitter_count, choice.first);
          const int64_t face = scene_.emitter_faces[number];
          if (!scene_.is_whole(face)) continue;
          if (!scene_.textures.has(scene_.kind_of(face)[emission_texture_column])) {
            on_emitters |= 1u << l;
            two_sided |= static_cast<uint32_t>(scene_.kind_of(face)[two_sided_column] != 0) << l;
            emitters.set(l, scene_, face);
            places.set(l, place);
            chances[l] = scene_.emitter_sums[number + 1] - scene_.emitter_sums[number];
            lights->radiance.set(l, load3(scene_.row_of(face) + column_emission));
            continue;
          }
          sample_emitter(scene_, start[l], choice, place, &sample);
        } else {
          sample_lamp(scene_, start[l], choice, &sample);
        }
      }
      lights->set(l, sample);
    }
    if (on_emitters) draw_on_emitters(on_emitters, two_sided, emitters, places, chances, from, lights);
  }

  void draw_on_emitters(uint32_t lanes, uint32_t two_sided, const LaneTriangles<T>& emitters,
                        const LanePairs<T>& places, const LaneRow<T>& chances, const Vec3<V>& from,
                        LaneLights<T>* lights) const {
    const V zero(T(0));
    const Triangle<V> triangles = emitters.lanes();
    const TrianglePoint<V> drawn = point_on_triangle(triangles, from, places.lanes());
    SurfacePlace<V> at;
    set_place(triangles, drawn.u, drawn.v, drawn.direction, &at);
    const Vec3<V> end = emitters.origin_towards(at, -drawn.direction, smooth_);
    const V pdf = drawn.density(chances.lanes()) / V(T(scene_.light_choices()));
    const Mask emits = drawn.is_seen() & ((zero < at.side) | mask_of<T, path_lanes>(two_sided));
    const Mask mine = mask_of<T, path_lanes>(lanes);
    lights->direction.take(select(mine, drawn.direction, lights->direction.lanes()));
    lights->end.take(select(mine, end, lights->end.lanes()));
    lights->pdf.take(select(mine, pdf, lights->pdf.lanes()));
    lights->part.take(select(mine, only(emits, part_of_density(pdf)), lights->part.lanes()));
  }

  // Directions in which paths go on.
  void scatter(int32_t surface, const int* paths, uint32_t used, const Surfaces& s, const SurfacePlace<V>& p,
               const Frame<V>& frame, const Vec3<V>& wi, const Mask& two_sided, const Vec3<V>& color,
               const Vec3<V>& carried) {
    LanePairs<T> places;
    LaneRow<T> numbers;
    for (int l = 0; l < path_lanes; ++l) {
      const int i = paths[used >> l & 1 ? l : 0];
      places.set(l, draw(i, surface, draw_direction));
      numbers[l] = draw(i, surface, draw_group).second;
    }
    const V zero(T(0));
    const Pair<V> place = places.lanes();
    const Vec3<V> wo = sample_diffuse<V>(two_sided, wi, place.first, place.second), towards = frame.to_world(wo);
    Vec3<V> left = carried * color;
    Mask goes_on = (!(wo.z == zero)) & same_side(p, towards, wo) & (zero < largest(left));
    goes_on &= survives<V>(surface, s.eta.lanes(), numbers.lanes(), &left);
    const uint32_t bits = bits_of(goes_on) & used;
    if (!bits) return;
    const bool lights_drawn = scene_.light_groups() > 0;
    LaneRows3<T> origins, directions, parts;
    LaneRow<T> densities;
    origins.take(s.triangles.origin_towards(p, towards, smooth_));
    directions.take(towards);
    parts.take(left);
    densities.take(lights_drawn ? diffuse_pdf(Vec3<V>{wo.x, wo.y, absolute(wo.z)}) : zero);
    for (uint32_t rest = bits; rest; rest &= rest - 1) {
      const int l = __builtin_ctz(rest);
      put(paths[l], origins[l], directions[l], parts[l], densities[l]);
      numbers_[active_++] = paths[l];
    }
  }

  const TracePaths<T, false>& body_;
  const Scene<T>& scene_;
  int32_t max_depth_;
  bool smooth_;  // whether corners have normals
  PixelSum<T>* sums_;

  // Of each path.
  int32_t slot_[lane_stream_size];  // which sum is its pixel's
  Random<T> random_[lane_stream_size];
  T scale_[lane_stream_size];  // of the parameter of the camera's ray
  Vec3<T> origin_[lane_stream_size], direction_[lane_stream_size], carried_[lane_stream_size];
  T pdf_[lane_stream_size], eta_[lane_stream_size];
  Hit<T> hit_[lane_stream_size];
  int64_t around_row_[lane_stream_size];  // of the environment, where light comes from there, or -1
  Vec3<T> around_[lane_stream_size];
  T around_pdf_[lane_stream_size];

  ray::Ray<T> rays_[lane_stream_size];
  int waiting_[lane_stream_size];  // whose shadow rays these are, and what they carry
  Vec3<T> light_[lane_stream_size];
  int numbers_[lane_stream_size], diffuse_[lane_stream_size], other_[lane_stream_size];
  int active_ = 0, shadows_ = 0, diffuse_count_ = 0, other_count_ = 0;
};

// The image. Paths of surfaces that are partly there, and those in float64, are shaded one by one.
template <class T>
void trace_image(int32_t threads, int64_t pixels, const TracePaths<T, false>& body) {
  const int64_t per_task = std::max(pixels_per_task, int64_t{lane_stream_size} / std::max(body.samples, 1));
  parallel_for(threads, divide_up(pixels, per_task), [&](int64_t task, int) {
    const int64_t first = task * per_task, end = std::min(pixels, first + per_task);
    Buffer<PixelSum<T>> sums(static_cast<size_t>(end - first));
    for (int64_t k = 0; k < end - first; ++k) sums[static_cast<size_t>(k)] = {};
    if constexpr (std::is_same_v<T, float>) {
      if (body.scene.alpha_modes) {
        ImageStream<T>{body}.trace(first, end, sums.data());
      } else {
        LanePaths<T>(body, sums.data()).trace(first, end);
      }
    } else {
      ImageStream<T>{body}.trace(first, end, sums.data());
    }
    for (int64_t pixel = first; pixel < end; ++pixel) body.write(pixel, sums[static_cast<size_t>(pixel - first)]);
  });
}

}  // namespace lg::light
