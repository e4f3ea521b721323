// Gradients of what paths of light can see of one another: edge sampling (Li et al. 2018).
//
// At a surface, let an edge end what hides the light from farther away. Where the edge moves against what is seen
// beside it, that light appears or goes. So the gradient has, besides the one within surfaces (path_gradient.h), an
// integral over the silhouettes that are seen from p, of
//
//   - L f |cos| |m| / r^2 (n . y' / r - n . z' / d - n . p' (1 / r - 1 / d)) ds
//
// y = a + s (b - a) is a point of the edge at the distance r; z at the distance d is what is seen beside it, and sends
// the light L to p; m = (a - p) x (b - p), and n its unit vector, away from what the edge belongs to. Points of
// surfaces move with their triangles, but for the first one, which stays on its ray. What an edge belongs to sends
// light of its own from surfaces that move, none of which appears or goes.
//
// At every surface, one point of an edge is drawn for all light, and another one for light that comes straight from
// triangles that emit; both are weighted by the power heuristic. They are drawn by resampling (Talbot et al. 2005): of
// several points of edges one is kept, by what they would be worth if all were visible and light were the same
// everywhere. Candidates for light from triangles lie in front of one. Surface number k, counted from 1, does all this
// with the probability 1 / k, so that long paths are not much more work than short ones.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "light/motion.h"
#include "light/path.h"
#include "light/path_gradient.h"
#include "light/ray_grid.h"
#include "light/silhouette.h"
#include "runtime/call.h"

namespace lg::light {

constexpr int32_t most_candidates = 60;
// Pairs of random numbers of each surface: two for each candidate of all light, two for each of light from triangles.
constexpr uint32_t edge_draws_per_surface = 256, draws_to_lights = 128;
enum EdgeDraw : uint32_t { draw_stratum = 120, draw_side, draw_onward, draw_onward_lobe };

template <class T>
struct EdgeScene {
  Scene<T> scene;
  Edges<T> edges;
  int32_t candidates, max_depth;
};

// A drawn point of an edge; worth: what an integral over edges is to be multiplied with there, over its density.
template <class T>
struct EdgePoint {
  int64_t edge, face;  // face: that emits, in front of which the edge was drawn; -1: drawn for all light
  T s, target, worth;
};

// A surface from which edges are seen.
template <class T>
struct EdgeView {
  Stop<T> at;
  Vec3<T> from, carried;
  int32_t surface;
  bool behind;  // `from` lies on the other side than the viewer

  // f |cos|
  LG_HD Vec3<T> reflected(const Vec3<T>& direction) const {
    const Vec3<T> wo = at.frame.to_local(direction);
    T value[3] = {0, 0, 0};
    if (same_side(at.point, direction, wo)) bsdf_value(at.material, at.wi, wo, value);
    return load3(value);
  }
};

// sink.add(gradient, number of the value, what is added)
template <class T, class Sink>
class PullEdges {
 public:
  // given: the gradient by the path's radiance; onward: numbers of the paths that go on from what is seen beside edges.
  LG_HD PullEdges(const EdgeScene<T>& all, const Random<T>& random, const Random<T>& onward, const Vec3<T>& given,
                  const Sink& sink)
      : all_(all), scene_(all.scene), random_(random), onward_(onward), given_(given), sink_(sink) {
    const float* bounds = scene_.intersector.bvh.bounds;
    T size = 0;
    for (int k = 0; k < 6; ++k) size = maximum(size, std::fabs(T(bounds[k])));
    near_ = 4 * ray::offset_factor<T> * size;
  }

  // Returns the gradient by the ray.
  LG_HD RayGradient<T> run(const PathRay<T>& ray) {
    PathTotal<T> unused;
    PathSteps<T, PathTotal<T>> steps(scene_, T(0), unused);
    of_ray_ = {{0, 0, 0}, {0, 0, 0}};
    Vec3<T> origin = ray.origin, direction = unit(ray.direction);
    EdgeView<T> view;
    view.carried = {1, 1, 1};
    T eta = 1;
    for (view.surface = 0; view.surface + 1 < all_.max_depth; ++view.surface) {
      const Hit<T> hit = scene_.intersector.closest(origin, direction);
      if (hit.face < 0 || !scene_.is_whole(hit.face)) break;
      steps.stop(hit, direction, &view.at);
      view.at.frame = frame_around(view.at.point.normal);
      view.at.wi = view.at.frame.to_local(-direction);
      if (view.at.point.side < 0 && refracts(view.at.material)) steps.absorb(view.at, &view.carried);
      if (!is_smooth(view.at.material) && looks_around(view.surface)) look_around(view, ray);
      if (view.surface + 2 == all_.max_depth) break;
      Onward<T> next;
      const Pair<T> place = draw(view.surface, draw_onward), lobe = draw(view.surface, draw_onward_lobe);
      if (!steps.scatter(view.at, lobe.first, place, &view.carried, &next)) break;
      eta *= next.sample.eta;
      if (!survives(view.surface, eta, lobe.second, &view.carried)) break;
      origin = origin_towards(scene_, view.at.point, next.direction);
      direction = next.direction;
    }
    return of_ray_;
  }

 private:
  LG_HD Pair<T> draw(int32_t surface, uint32_t what) const {
    return random_.pair(1 + static_cast<uint32_t>(surface) * edge_draws_per_surface + what);
  }

  // Later surfaces look around more seldom, and count for more when they do.
  LG_HD bool looks_around(int32_t surface) const {
    return draw(surface, draw_side).second * static_cast<T>(surface + 1) < 1;
  }

  LG_HD_CALL void look_around(EdgeView<T> view, const PathRay<T>& ray) {
    view.carried = static_cast<T>(view.surface + 1) * view.carried;
    Vec3<T> side = view.at.point.side * view.at.point.geometric;
    view.behind = false;
    if (transmits(view.at.material)) {  // sees edges on both sides
      view.behind = draw(view.surface, draw_side).first < T(0.5);
      if (view.behind) side = -side;
      view.carried = T(2) * view.carried;
    }
    view.from = origin_towards(scene_, view.at.point, side);
    const bool from_lights = scene_.emitter_count > 0;
    const bool from_others = view.surface + 2 < all_.max_depth || scene_.environment.exists();
    if (from_lights) pull(view, ray, choose(view, true), !from_others);
    if (from_others) pull(view, ray, choose(view, false), false);
  }

  // ---- Drawing points of edges ---------------------------------------------------------------------------------

  LG_HD_CALL EdgePoint<T> choose(const EdgeView<T>& view, bool to_lights) const {
    const Edges<T>& edges = all_.edges;
    const bool each = edges.count <= all_.candidates;
    const int64_t count = each ? edges.count : all_.candidates;
    const uint32_t first = to_lights ? draws_to_lights : 0;
    const T stratum = draw(view.surface, first + draw_stratum).first;
    EdgePoint<T> kept = {-1, -1, 0, 0, 0};
    T total = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t edge = each ? i : find_interval(edges.sums, edges.count, (T(i) + stratum) / T(count));
      const Silhouette<T> silhouette(edges.shapes + edge_columns * edge, view.from, near_);
      if (!silhouette.is_valid()) continue;
      const uint32_t number = first + 2 * static_cast<uint32_t>(i);
      const Pair<T> place = draw(view.surface, number), choice = draw(view.surface, number + 1);
      EdgePoint<T> found = {edge, -1, 0, 0, 0};
      T density = each ? T(1) : T(count) * (edges.sums[edge + 1] - edges.sums[edge]);
      if (to_lights) {
        const int64_t emitter = find_interval(scene_.emitter_sums, scene_.emitter_count, place.second);
        found.face = scene_.emitter_faces[emitter];
        density *= scene_.emitter_sums[emitter + 1] - scene_.emitter_sums[emitter];
      }
      const EqualAngles<T> angles(silhouette, part_of(silhouette, view, found.face));
      if (!angles.is_valid()) continue;
      found.s = angles.draw(place.first);
      found.target = target(view, silhouette, found.s);
      const T worth = found.target / (density * angles.pdf(found.s));
      if (!is_finite(worth)) continue;
      total += worth;
      if (choice.first * total < worth) kept = found;
    }
    if (kept.edge >= 0) kept.worth = all_.edges.shapes[edge_columns * kept.edge + share_column] * total / kept.target;
    return kept;
  }

  // Of an edge what is in front of a triangle, or all of it.
  LG_HD Part<T> part_of(const Silhouette<T>& silhouette, const EdgeView<T>& view, int64_t face) const {
    if (face < 0) return {0, 1};
    if (!scene_.is_whole(face)) return {0, 0};
    return silhouette.before(scene_.corner(face, 0) - view.from, scene_.corner(face, 1) - view.from,
                             scene_.corner(face, 2) - view.from);
  }

  LG_HD T target(const EdgeView<T>& view, const Silhouette<T>& silhouette, T s) const {
    const Vec3<T> y = silhouette.at(s);
    const T squared = dot(y, y), r = std::sqrt(squared);
    return mean(view.reflected((1 / r) * y)) * length(silhouette.plane()) / (squared * r);
  }

  // How much likelier light from triangles is drawn at a point of an edge than all light.
  LG_HD T preference(const EdgeView<T>& view, const Silhouette<T>& silhouette, T s, int64_t face) const {
    const int32_t number = scene_.face_emitters ? scene_.face_emitters[face] : -1;
    if (number < 0 || number >= scene_.emitter_count) return 0;
    const EqualAngles<T> part(silhouette, part_of(silhouette, view, face)), whole(silhouette, Part<T>{0, 1});
    if (!part.is_valid()) return 0;
    return (scene_.emitter_sums[number + 1] - scene_.emitter_sums[number]) * part.pdf(s) / whole.pdf(s);
  }

  // ---- What a point of an edge adds ------------------------------------------------------------------------------

  // only: whether no other point is drawn for the light from triangles.
  LG_HD_CALL void pull(const EdgeView<T>& view, const PathRay<T>& ray, const EdgePoint<T>& drawn, bool only) {
    if (drawn.edge < 0) return;
    const Silhouette<T> silhouette(all_.edges.shapes + edge_columns * drawn.edge, view.from, near_);
    const Vec3<T> y = silhouette.at(drawn.s), n = unit(silhouette.plane());
    const T r = length(y);
    const Vec3<T> beside = unit(y + (near_ + T(beside_edge) * r) * n);
    const Hit<T> hit = scene_.intersector.closest(view.from, beside);
    if (hit.face >= 0 && (hit.t <= r * T(1 + touching) + near_ || !scene_.is_whole(hit.face))) return;
    if (drawn.face >= 0 && hit.face != drawn.face) return;
    const Vec3<T> light = light_beside(view, silhouette, drawn, hit, beside, only);
    const T worth = drawn.worth * dot(given_ * view.carried * view.reflected((1 / r) * y), light);
    const T distance = hit.face >= 0 ? hit.t : std::numeric_limits<T>::infinity();
    const Vec3<T> turn = (worth * length(silhouette.plane()) / (r * r)) * n;
    move_edge(drawn, (-1 / r) * turn);
    if (hit.face >= 0) move_background(hit, (1 / distance) * turn);
    move_point(view, ray, (1 / r - 1 / distance) * turn);
  }

  LG_HD_CALL Vec3<T> light_beside(const EdgeView<T>& view, const Silhouette<T>& silhouette, const EdgePoint<T>& drawn,
                                  const Hit<T>& hit, const Vec3<T>& direction, bool only) {
    Vec3<T> emitted = {0, 0, 0};
    T preferred = 0;
    if (hit.face >= 0) {
      emitted = emission_at(scene_, surface_point(scene_, hit, direction));
      if (largest(emitted) > 0 && !only) preferred = preference(view, silhouette, drawn.s, hit.face);
    }
    if (drawn.face >= 0) return (only ? T(1) : power_heuristic(preferred, T(1))) * emitted;
    PathTotal<T> beyond;
    PathTracer<T, PathTotal<T>>(scene_, onward_, all_.max_depth, T(0), beyond)
        .follow(view.from, direction, hit, view.surface + 1);
    const Vec3<T> whole = {static_cast<T>(beyond.total.x), static_cast<T>(beyond.total.y),
                           static_cast<T>(beyond.total.z)};
    return whole - power_heuristic(preferred, T(1)) * emitted;
  }

  // given: the gradient by the point's position.
  LG_HD void move_edge(const EdgePoint<T>& drawn, const Vec3<T>& given) const {
    for (int k = 0; k < 2; ++k) {
      const int64_t vertex = all_.edges.ends[2 * drawn.edge + k];
      if (vertex < 0 || vertex >= scene_.vertices) continue;
      const Vec3<T> mine = (k ? drawn.s : 1 - drawn.s) * given;
      for (int c = 0; c < 3; ++c) sink_.add(of_positions, 3 * vertex + c, part(mine, c));
    }
  }
  LG_HD void move_background(const Hit<T>& hit, const Vec3<T>& given) const {
    const T weight[3] = {hit.u, hit.v, 1 - hit.u - hit.v};
    for (int k = 0; k < 3; ++k) add_to_position(scene_, hit.face, k, weight[k] * given, sink_);
  }
  LG_HD void move_point(const EdgeView<T>& view, const PathRay<T>& ray, const Vec3<T>& given) {
    PointGradient<T> g;
    (view.behind ? g.position : g.origin) = given;
    if (view.surface > 0) {
      pull_following(scene_, view.at.point, g, sink_);
      return;
    }
    const T t = view.at.distance / length(ray.direction);
    const RayGradient<T> found = pull_sliding(scene_, view.at.point, ray.direction, t, g, sink_);
    of_ray_ = {of_ray_.origin + found.origin, of_ray_.direction + found.direction};
  }

  const EdgeScene<T>& all_;
  const Scene<T>& scene_;
  const Random<T>& random_;
  const Random<T>& onward_;
  Vec3<T> given_;
  const Sink& sink_;
  T near_;  // how close a point counts as lying in a plane
  RayGradient<T> of_ray_;
};

// Salts of the seeds, so that the numbers are none of the paths' own.
constexpr uint64_t edge_salt = 0x3c6ef372fe94f82bULL, onward_salt = 0xa54ff53a5f1d36f1ULL;

template <class T>
struct PullPathEdges {
  EdgeScene<T> all;
  RayGrid<T> grid;
  int32_t samples;
  uint64_t seed;
  const T* given;  // [pixels, 3]
  T* of_rays;      // [pixels, pixel_values], for GatherRays; or null

  template <class Sink>
  LG_HD_CALL void pull(int64_t pixel, const Sink& sink) const {
    PixelRays<T> rays;
    const Vec3<T> share = (1 / T(samples)) * load3(given + 3 * pixel);
    const bool wanted = share.x != 0 || share.y != 0 || share.z != 0;
    for (int32_t s = 0; wanted && s < samples; ++s) {
      const Random<T> random(seed ^ edge_salt, static_cast<uint64_t>(pixel), static_cast<uint64_t>(s));
      const Random<T> onward(seed ^ onward_salt, static_cast<uint64_t>(pixel), static_cast<uint64_t>(s));
      rays.add(random.pair(0), PullEdges<T, Sink>(all, random, onward, share, sink).run(grid.ray(pixel, random)));
    }
    if (of_rays) rays.store(of_rays + pixel_values * pixel);
  }
};

template <class T>
PullPathEdges<T> make_pull_path_edges(const lg_lit_scene& scene, const void* origins, const void* directions,
                                      int64_t width, int32_t samples, int32_t max_depth, int64_t seed,
                                      const int32_t* ends, const void* shapes, const void* sums, int64_t edges,
                                      int32_t candidates, const void* given) {
  const Edges<T> all = {ends, static_cast<const T*>(shapes), static_cast<const T*>(sums), edges};
  const int32_t most = candidates < most_candidates ? candidates : most_candidates;
  return {{make_scene<T>(scene), all, most, max_depth},
          make_ray_grid<T>(origins, directions, width),
          samples,
          static_cast<uint64_t>(seed),
          static_cast<const T*>(given),
          nullptr};
}

}  // namespace lg::light
