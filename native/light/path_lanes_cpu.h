// The paths of an image on the CPU, many at a time and one segment after the other, as in path_stream_cpu.h; and those
// that come to diffuse surfaces, or to metallic-roughness ones without a coat or transmission, are shaded sixteen at a
// time, in the lanes of registers. So are those that end in the environment, and draws from it.
//
// Lanes take the formulas that a path alone takes, so each path is that of PathTracer. What depends on more than
// arithmetic (lamps, other materials, textures of lights) is computed for one path after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "light/lanes_cpu.h"
#include "light/lookups_cpu.h"
#include "light/path.h"
#include "light/path_stream_cpu.h"
#include "light/pull_cpu.h"
#include "math/bits.h"
#include "math/lanes.h"
#include "ray/stream_cpu.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::light {

constexpr int lane_stream_size = ray::most_in_stream;
template <class T>
class LanePaths {
 public:
  LanePaths(const TracePaths<T, false>& body, PixelSum<T>* sums)
      : body_(body),
        scene_(body.scene),
        max_depth_(body.max_depth),
        smooth_(scene_.corner_normals),
        tinted_(scene_.corner_colors || scene_.textures.count > 0),
        uniform_(is_uniform(scene_.environment)),
        sums_(sums) {}

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
      diffuse_.in_lanes([&](const int* paths, int count) { shade<kind_diffuse>(surface, paths, count); });
      glossy_.in_lanes([&](const int* paths, int count) { shade<kind_metallic_roughness>(surface, paths, count); });
      for (int k = 0; k < other_.count; ++k) shade_alone(surface, other_.paths[k]);
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

  // Numbers of paths.
  struct PathList {
    int paths[lane_stream_size];
    int count = 0;

    void add(int i) { paths[count++] = i; }
    // Calls visit(paths, count) for as many at a time as there are lanes.
    template <class Visit>
    void in_lanes(Visit&& visit) const {
      for (int k = 0; k < count; k += path_lanes) visit(paths + k, std::min(path_lanes, count - k));
    }
  };

  // Tells paths apart by what they have come to. Those that have come to nothing end here.
  void sort(int32_t surface) {
    diffuse_.count = glossy_.count = other_.count = 0;
    PathList escaped;
    for (int k = 0; k < active_; ++k) {
      const int i = numbers_[k];
      const int64_t face = hit_[i].face;
      if (face < 0) escaped.add(i);
      if (scene_.is_whole(face)) list_of(face).add(i);
    }
    if (surface == 0 || !scene_.environment.exists()) return;
    escaped.in_lanes([&](const int* paths, int count) { escape(paths, count); });
  }
  PathList& list_of(int64_t face) {
    const int32_t kind = scene_.kind_of(face)[kind_column];
    if (kind == kind_diffuse) return diffuse_;
    const T* row = scene_.row_of(face);
    const bool layers = row[column_transmission] > 0 || row[column_coat] > 0;
    return is_metallic_roughness(static_cast<Kind>(kind)) && !layers ? glossy_ : other_;
  }

  PixelSum<T>& sum_of(int i) { return sums_[slot_[i]]; }
  PathSteps<T, PixelSum<T>> steps_of(int i) { return {scene_, T(0), sum_of(i)}; }
  // Lanes beyond `count` are those of the first path.
  static int lane_path(const int* paths, int count, int l) { return paths[l < count ? l : 0]; }
  LanePairs<T> draws(const int* paths, int count, int32_t surface, Draw what) const {
    Random<T> random[path_lanes];
    for (int l = 0; l < path_lanes; ++l) random[l] = random_[lane_path(paths, count, l)];
    LanePairs<T> out;
    LG_VECTORIZE
    for (int l = 0; l < path_lanes; ++l) out.set(l, draw_at(random[l], surface, what));
    return out;
  }

  // ---- The environment -------------------------------------------------------------------------------------

  void radiance_around(const CubePlaces<T>& places, LaneRows3<T>* radiance) const {
    const Environment<T>& around = scene_.environment;
    if (!uniform_) return look_around(around, places, radiance);
    for (int l = 0; l < path_lanes; ++l) radiance->set(l, load3(around.texels));
  }

  // Light from there that paths meet.
  void escape(const int* paths, int count) {
    LaneRows3<T> direction, carried, radiance;
    LaneRow<T> drawn, pdf;
    for (int l = 0; l < path_lanes; ++l) {
      const int i = lane_path(paths, count, l);
      direction.set(l, direction_[i]);
      carried.set(l, carried_[i]);
      drawn[l] = pdf_[i];
    }
    const CubePlaces<T> places = places_on_cube(scene_.environment, direction);
    radiance_around(places, &radiance);
    densities_around(scene_.environment, places, &pdf);
    const V mine = drawn.lanes(), other = pdf.lanes() / V(T(scene_.light_choices()));
    const V weight = select(V(T(0)) < mine, power_heuristic(mine, other), V(T(1)));
    LaneRows3<T> light;
    light.take((weight * carried.lanes()) * radiance.lanes());
    for (int l = 0; l < count; ++l) sum_of(paths[l]).add(light[l]);
  }

  // Draws directions to it, which are looked for in large tables: of all paths one after the other, so that none waits
  // for memory for long.
  void draw_from_around(int32_t surface) {
    PathList chosen;
    const auto choose = [&](const int* paths, int count) {
      const LanePairs<T> group = draws(paths, count, surface, draw_group);
      for (int l = 0; l < count; ++l) {
        const int i = paths[l];
        around_row_[i] = -1;
        if (chooses_environment(scene_, group.first[l])) chosen.add(i);
      }
    };
    for (const PathList* list : {&diffuse_, &glossy_, &other_}) list->in_lanes(choose);
    chosen.in_lanes([&](const int* paths, int count) {
      const LanePairs<T> choice = draws(paths, count, surface, draw_light);
      for (int l = 0; l < count; ++l) {
        around_row_[paths[l]] = scene_.environment.sample_row(choice[l]);
        scene_.environment.fetch_row(around_row_[paths[l]]);
      }
    });
    chosen.in_lanes([&](const int* paths, int count) { draw_in_rows(surface, paths, count); });
  }
  void draw_in_rows(int32_t surface, const int* paths, int count) {
    int64_t row[path_lanes];
    for (int l = 0; l < path_lanes; ++l) row[l] = around_row_[lane_path(paths, count, l)];
    LaneRows3<T> towards, radiance;
    LaneRow<T> pdf;
    draw_around(scene_.environment, row, draws(paths, count, surface, draw_light),
                draws(paths, count, surface, draw_place), &towards, &pdf);
    radiance_around(places_on_cube(scene_.environment, towards), &radiance);
    for (int l = 0; l < count; ++l) {
      const int i = paths[l];
      around_[i] = towards[l];
      around_light_[i] = radiance[l];
      around_pdf_[i] = pdf[l];
    }
  }

  // ---- Shadows ---------------------------------------------------------------------------------------------

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
        light_from_around(scene_, around_[i], around_pdf_[i], around_light_[i], sample);
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

  // ---- Paths side by side at surfaces of one kind ----------------------------------------------------------

  // What is read of the surfaces.
  struct Surfaces {
    LaneTriangles<T> triangles;
    LaneTangents<T> tangents;
    LaneRows3<T> color, tint, direction, carried;
    LaneRow<T> u, v, eta, roughness, metallic, ior, normal_scale;
    TextureLookups<T> color_map, roughness_map, normal_map;
    uint32_t two_sided = 0, emitting = 0;
  };

  void read(const int* paths, int count, Surfaces* s) const {
    for (int l = 0; l < path_lanes; ++l) {
      const int i = lane_path(paths, count, l);
      const Hit<T>& hit = hit_[i];
      const T* row = scene_.row_of(hit.face);
      s->triangles.set(l, scene_, hit.face);
      s->direction.set(l, direction_[i]);
      s->carried.set(l, carried_[i]);
      s->u[l] = hit.u, s->v[l] = hit.v, s->eta[l] = eta_[i];
      s->color.set(l, load3(row + column_color));
      s->roughness[l] = row[column_roughness], s->metallic[l] = row[column_metallic], s->ior[l] = row[column_ior];
      if (tinted_) read_textures(l, hit, s);
      const T* emission = row + column_emission;
      s->emitting |= static_cast<uint32_t>(emission[0] != 0 || emission[1] != 0 || emission[2] != 0) << l;
      s->two_sided |= static_cast<uint32_t>(scene_.kind_of(hit.face)[two_sided_column] != 0) << l;
    }
  }

  void read_textures(int l, const Hit<T>& hit, Surfaces* s) const {
    SurfacePoint<T> p;
    p.face = hit.face;
    p.weight[0] = hit.u, p.weight[1] = hit.v, p.weight[2] = 1 - hit.u - hit.v;
    interpolate_uv(scene_.corner_uvs, p, &p.u, &p.v);
    interpolate_uv(scene_.corner_second_uvs, p, &p.second_u, &p.second_v);
    s->color_map.set(l, scene_, p, color_texture_column);
    s->roughness_map.set(l, scene_, p, roughness_texture_column);
    s->tint.set(l, vertex_color(scene_, p));
    if (!scene_.corner_tangents) return;
    s->normal_map.set(l, scene_, p, normal_texture_column);
    s->normal_scale[l] = scene_.row_of(hit.face)[column_normal_scale];
    s->tangents.set(l, scene_.corner_tangents + 12 * hit.face);
  }

  // Where paths are, as Stop has it of one.
  template <Kind kind>
  struct Stops {
    SurfacePlace<V> p;
    Frame<V> frame;
    Vec3<V> wi, carried;
    LaneBsdf<kind, V> bsdf;
  };

  template <Kind kind>
  void shade(int32_t surface, const int* paths, int count) {
    const uint32_t used = (1u << count) - 1;
    Surfaces s;
    read(paths, count, &s);
    Stops<kind> at;
    const Vec3<V> direction = s.direction.lanes();
    set_place(s.triangles.lanes(), s.u.lanes(), s.v.lanes(), direction, &at.p);
    set_normal(s, direction, &at.p);
    set_material(s, &at.bsdf);
    if (surface == 0) see(paths, count, at.p.side * at.p.normal, at.bsdf.color());
    for (uint32_t left = s.emitting & used; left; left &= left - 1) emit(paths[__builtin_ctz(left)]);
    if (surface + 1 == max_depth_) return;

    at.frame = frame_around(at.p.normal);
    at.wi = at.frame.to_local(-direction);
    at.carried = s.carried.lanes();
    if (scene_.light_groups() > 0) {
      gather(surface, paths, used, at, s.triangles.origin_towards(at.p, at.p.side * at.p.geometric, smooth_));
    }
    if (surface + 2 == max_depth_ && !scene_.can_be_hit()) return;
    scatter(surface, paths, used, s, at);
  }

  void set_normal(const Surfaces& s, const Vec3<V>& direction, SurfacePlace<V>* p) const {
    if (smooth_) p->normal = unit(s.triangles.blended_normal(*p));
    if (s.normal_map.any()) {
      const NormalMap<V> map = s.tangents.map(*p, s.normal_map.factors(scene_.textures), p->normal);
      const Vec3<V> bent = unit(map.sum(s.normal_scale.lanes()));
      p->normal = select(mask_of<T, path_lanes>(s.normal_map.lanes()), bent, p->normal);
    }
    if (!smooth_ && !s.normal_map.any()) return;
    const Mask shaded = mask_of<T, path_lanes>(smooth_ ? ~0u : s.normal_map.lanes());
    p->normal = select(shaded, facing_normal(*p, p->normal, direction), p->normal);
  }

  template <Kind kind>
  void set_material(const Surfaces& s, LaneBsdf<kind, V>* bsdf) const {
    Vec3<V> color = s.color.lanes();
    if (tinted_) {
      const Vec3<V> tint = s.tint.lanes();
      color = color * (s.color_map.any() ? s.color_map.factors(scene_.textures) * tint : tint);
    }
    bsdf->set_color(at_least_black(color));
    bsdf->two_sided = mask_of<T, path_lanes>(s.two_sided);
    if constexpr (kind == kind_metallic_roughness) {
      Material<V>& m = bsdf->material;
      m.roughness = s.roughness.lanes(), m.metallic = s.metallic.lanes(), m.ior = s.ior.lanes();
      if (!s.roughness_map.any()) return;
      const Vec3<V> factor = s.roughness_map.factors(scene_.textures);
      m.roughness *= factor.y;
      m.metallic *= factor.z;
    }
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
  template <Kind kind>
  void gather(int32_t surface, const int* paths, uint32_t used, const Stops<kind>& at, const Vec3<V>& from) {
    LaneRows3<T> start;
    start.take(from);
    LaneLights<T> lights;
    draw_lights(surface, paths, used, from, start, &lights);
    const Vec3<V> towards = lights.direction.lanes();
    const V part = lights.part.lanes(), pdf = lights.pdf.lanes();
    Vec3<V> wi = at.wi, wo = at.frame.to_local(towards);
    Mask lit = (V(T(0)) < part) & same_side(at.p, towards, wo);
    lit &= turn_to_front<V>(at.bsdf.two_sided, false, &wi, &wo);
    if (!(bits_of(lit) & used)) return;
    const V chance = at.bsdf.pdf(wi, wo);
    const uint32_t bits = bits_of(lit & (V(T(0)) < chance)) & used;
    if (!bits) return;
    LaneRows3<T> arriving;
    arriving.take(at.carried * at.bsdf.value(wi, wo) * (weighted_part(part, pdf, chance) * lights.radiance.lanes()));
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
    const int count = count_lanes(used);
    const LanePairs<T> group = draws(paths, count, surface, draw_group);
    const bool near = scene_.emitter_count > 0 || scene_.lamp_count > 0;
    LanePairs<T> choices, drawn;
    if (near) choices = draws(paths, count, surface, draw_light), drawn = draws(paths, count, surface, draw_place);
    lights->distant = 0;
    for (int l = 0; l < path_lanes; ++l) {
      lights->clear(l);
      if (near) emitters.clear(l), places.set(l, {0, 0}), chances[l] = 0;
      if (!(used >> l & 1)) continue;
      const int i = paths[l];
      const Source source = chosen_source(scene_, group.first[l]);
      if (source == Source::environment) {
        lights->set_distant(l, around_[i], around_light_[i], around_pdf_[i] / T(scene_.light_choices()));
        continue;
      }
      LightSample<T> sample;
      if (source == Source::lamp) {
        sample_lamp(scene_, start[l], choices[l], &sample);
      } else {
        const int64_t number = find_interval(scene_.emitter_sums, scene_.emitter_count, choices.first[l]);
        const int64_t face = scene_.emitter_faces[number];
        if (!scene_.is_whole(face)) continue;
        if (!scene_.textures.has(scene_.kind_of(face)[emission_texture_column])) {
          on_emitters |= 1u << l;
          two_sided |= static_cast<uint32_t>(scene_.kind_of(face)[two_sided_column] != 0) << l;
          emitters.set(l, scene_, face);
          places.set(l, drawn[l]);
          chances[l] = scene_.emitter_sums[number + 1] - scene_.emitter_sums[number];
          lights->radiance.set(l, load3(scene_.row_of(face) + column_emission));
          continue;
        }
        sample_emitter(scene_, start[l], choices[l], drawn[l], &sample);
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
  template <Kind kind>
  void scatter(int32_t surface, const int* paths, uint32_t used, const Surfaces& s, const Stops<kind>& at) {
    const int count = count_lanes(used);
    const Pair<V> place = draws(paths, count, surface, draw_direction).lanes();
    const V survival = draws(paths, count, surface, draw_group).second.lanes(), zero(T(0));
    V lobe = zero;
    if constexpr (kind == kind_metallic_roughness) lobe = draws(paths, count, surface, draw_lobe).first.lanes();
    const Vec3<V> wo = at.bsdf.sample(at.wi, lobe, place), towards = at.frame.to_world(wo);
    V density;
    Vec3<V> left = at.carried * at.bsdf.weight(at.wi, wo, &density);
    Mask goes_on = (!(wo.z == zero)) & same_side(at.p, towards, wo) & (zero < largest(left));
    goes_on &= survives<V>(surface, s.eta.lanes(), survival, &left);
    const uint32_t bits = bits_of(goes_on) & used;
    if (!bits) return;
    const bool lights_drawn = scene_.light_groups() > 0;
    LaneRows3<T> origins, directions, parts;
    LaneRow<T> densities;
    origins.take(s.triangles.origin_towards(at.p, towards, smooth_));
    directions.take(towards);
    parts.take(left);
    densities.take(lights_drawn ? density : zero);
    for (uint32_t rest = bits; rest; rest &= rest - 1) {
      const int l = __builtin_ctz(rest);
      put(paths[l], origins[l], directions[l], parts[l], densities[l]);
      numbers_[active_++] = paths[l];
    }
  }

  const TracePaths<T, false>& body_;
  const Scene<T>& scene_;
  int32_t max_depth_;
  bool smooth_;   // whether corners have normals
  bool tinted_;   // whether there are textures or vertex colours
  bool uniform_;  // whether all of the environment is alike
  PixelSum<T>* sums_;

  // Of each path.
  int32_t slot_[lane_stream_size];  // which sum is its pixel's
  Random<T> random_[lane_stream_size];
  T scale_[lane_stream_size];  // of the parameter of the camera's ray
  Vec3<T> origin_[lane_stream_size], direction_[lane_stream_size], carried_[lane_stream_size];
  T pdf_[lane_stream_size], eta_[lane_stream_size];
  Hit<T> hit_[lane_stream_size];
  int64_t around_row_[lane_stream_size];  // of the environment, where light comes from there, or -1
  Vec3<T> around_[lane_stream_size], around_light_[lane_stream_size];
  T around_pdf_[lane_stream_size];

  ray::Ray<T> rays_[lane_stream_size];
  int waiting_[lane_stream_size];  // whose shadow rays these are, and what they carry
  Vec3<T> light_[lane_stream_size];
  PathList diffuse_, glossy_, other_;
  int numbers_[lane_stream_size];
  int active_ = 0, shadows_ = 0;
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
