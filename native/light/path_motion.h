// Gradients of a path to what moves its points: shapes, the ray it begins with, lamps.
//
// The light that a point p sends on from a point z is an integral over the places of z in its triangle, of
//   f(p) |cos p| |n.e| / |e|^3,  e = z - p and n the normal of z's triangle, as long as twice the area.
// Points keep their places (motion.h) and densities are held fixed, so this is what changes; f by the three points
// before, at and behind p, by the normal at p and by its place in textures. Light from the environment and from
// distant lamps comes from fixed directions. At smooth materials nothing of this changes.
//
// Of a path three points are kept: what z gets from its successor's light is not known before that is.
#pragma once

#include <cstdint>

#include "light/motion.h"
#include "light/path.h"
#include "runtime/call.h"

namespace lg::light {

// The gradients by e and by n of |n.e| / |e|^3, times a factor that has the gradient `given` by its logarithm.
template <class T>
struct TransferGradient {
  Vec3<T> by_span, by_normal;
};
template <class T>
LG_HD TransferGradient<T> pull_transfer(const Vec3<T>& span, const Vec3<T>& normal, T given) {
  const T narrowing = dot(normal, span), squared = dot(span, span);
  if (!(squared > 0) || narrowing == 0) return {{0, 0, 0}, {0, 0, 0}};
  const T share = given / narrowing;
  return {share * normal - (3 * given / squared) * span, share * span};
}

// The gradient by a difference of points with the unit vector `direction`, by which there is the gradient `given`.
template <class T>
LG_HD Vec3<T> pull_span(const Vec3<T>& direction, T distance, const Vec3<T>& given) {
  return (1 / distance) * (given - dot(direction, given) * direction);
}

// Of paths whose points do not move.
template <class T>
struct Still {
  static constexpr bool moves = false;

  LG_HD PointGradient<T>* here() { return nullptr; }
  LG_HD void first(const Stop<T>&, T) {}
  LG_HD void next(const Stop<T>&) {}
  LG_HD void escaped() {}
};

template <class T, class Sink>
class Moving {
 public:
  static constexpr bool moves = true;

  LG_HD Moving(const Scene<T>& scene, const Vec3<T>& ray, const Sink& sink) : scene_(scene), ray_(ray), sink_(sink) {}

  // Of the point where the path is; what depends on its place in textures is added here.
  LG_HD PointGradient<T>* here() { return &here_.gradient; }

  LG_HD void first(const Stop<T>& at, T t) {
    here_ = point_of(at);
    t_ = t;
    points_ = 1;
  }

  LG_HD_CALL void next(const Stop<T>& at) {
    Point z = point_of(at);
    if (continues_) {
      const Vec3<T> span = at.distance * at.direction;
      const auto transfer = pull_transfer(span, scene_.face_normal(at.point.face), by_onward_log_);
      const Vec3<T> by_span = transfer.by_span + pull_span(at.direction, at.distance, by_onward_);
      z.gradient.position = by_span;
      z.gradient.face_normal = transfer.by_normal;
      leave(here_, at.direction, by_span);
    }
    settle();
    before_ = here_;
    here_ = z;
    ++points_;
    continues_ = false;
  }

  LG_HD void escaped() { continues_ = false; }

  // by_length: the gradient by the length of the way to the point.
  LG_HD void stretched(T by_length) {
    const Vec3<T> by_span = by_length * here_.direction;
    here_.gradient.position = here_.gradient.position + by_span;
    if (points_ > 1) {
      leave(before_, here_.direction, by_span);
    } else {
      by_start_ = by_start_ - by_span;
    }
  }

  // A sample of a light. given: the gradient by f of each channel; by_log: by the logarithm of the whole; g: of the
  // light's point.
  template <int N>
  LG_HD_CALL void lit(const Stop<T>& at, const Vec3<T>& wo, const LightSample<T>& light, const Dual<T, N> (&value)[3],
                      const Vec3<T>& given, T by_log, PointGradient<T>* g) {
    const Vec3<T> by_direction = scattered_to(at, wo, value, given);
    if (light.source.kind == Source::surface) {
      const SurfacePoint<T>& z = light.source.point;
      const Vec3<T> span = light.distance * light.direction;
      const auto transfer = pull_transfer(span, scene_.face_normal(z.face), by_log);
      const Vec3<T> by_span = transfer.by_span + pull_span(light.direction, light.distance, by_direction);
      g->position = g->position + by_span;
      g->face_normal = g->face_normal + transfer.by_normal;
      pull_following(scene_, z, *g, sink_);
      leave(here_, light.direction, by_span);
    } else if (light.source.kind == Source::lamp) {
      pull_lamp(light, by_direction, by_log);
    }
  }

  // A direction in which the path goes on; the same arguments.
  template <int N>
  LG_HD_CALL void scattered(const Stop<T>& at, const Vec3<T>& wo, const Dual<T, N> (&value)[3], const Vec3<T>& given,
                            T by_log) {
    by_onward_ = scattered_to(at, wo, value, given);
    by_onward_log_ = by_log;
    continues_ = true;
  }

  // At the end of the path: the gradient by its ray.
  LG_HD_CALL RayGradient<T> finish() {
    if (points_ > 0) {
      settle();
      before_ = here_;
      pull_before(points_ == 1);
    }
    return by_ray_;
  }

 private:
  struct Point {
    SurfacePoint<T> point;
    PointGradient<T> gradient;
    Vec3<T> direction, by_direction;  // in which it was met
    T distance;
    Vec3<T> by_normal;
  };

  LG_HD static Point point_of(const Stop<T>& at) {
    Point p;
    p.point = at.point;
    p.gradient = {};
    p.direction = at.direction;
    p.distance = at.distance;
    p.by_direction = p.by_normal = {0, 0, 0};
    return p;
  }

  // What f depends on at `at`; returns the gradient by the direction of the light.
  template <int N>
  LG_HD Vec3<T> scattered_to(const Stop<T>& at, const Vec3<T>& wo, const Dual<T, N> (&value)[3], const Vec3<T>& given) {
    const Vec3<T> by_wi = pull_direction(value, given, N - 6), by_wo = pull_direction(value, given, N - 3);
    // The frame turns with the normal, by which f changes as if both directions turned the other way.
    const Vec3<T> by_normal = by_wi.z * at.wi - at.wi.z * by_wi + (by_wo.z * wo - wo.z * by_wo);
    here_.by_normal = here_.by_normal + at.frame.to_world(by_normal);
    here_.by_direction = here_.by_direction - at.frame.to_world(by_wi);
    return at.frame.to_world(by_wo);
  }

  // Adds the gradient by the distance covered by a ray that leaves p.
  LG_HD static void leave(Point& p, const Vec3<T>& direction, const Vec3<T>& by_span) {
    const bool lifted = (dot(p.point.geometric, direction) < 0) == (p.point.side < 0);
    Vec3<T>& to = lifted ? p.gradient.origin : p.gradient.position;
    to = to - by_span;
  }

  // Nothing more will be known of f here: what it says of the way to this point goes to both of its ends. The one
  // before is complete then.
  LG_HD void settle() {
    here_.by_direction =
        here_.by_direction + pull_normal(scene_, here_.point, here_.direction, here_.by_normal, &here_.gradient, sink_);
    if (points_ < 2) return;
    const Vec3<T> by_span = pull_span(here_.direction, here_.distance, here_.by_direction);
    here_.gradient.position = here_.gradient.position + by_span;
    leave(before_, here_.direction, by_span);
    pull_before(points_ == 2);
  }

  LG_HD void pull_before(bool is_first) {
    if (!is_first) {
      pull_following(scene_, before_.point, before_.gradient, sink_);
      return;
    }
    by_ray_ = pull_sliding(scene_, before_.point, ray_, t_, before_.gradient, sink_);
    by_ray_.direction = by_ray_.direction + pull_unit(ray_, before_.by_direction);
    by_ray_.origin = by_ray_.origin + by_start_;
  }

  LG_HD_CALL void pull_lamp(const LightSample<T>& light, const Vec3<T>& by_direction, T by_log) {
    const T* row = scene_.lamps + lamp_columns * light.source.lamp;
    LampGradient<T> g;
    const int32_t kind = scene_.lamp_kinds[light.source.lamp];
    if (kind == lamp_distant) {
      g = pull_distant_lamp(row, by_direction);
    } else {
      const Vec3<T> point = load3(row) - light.distance * light.direction;
      g = pull_point_lamp(row, kind == lamp_linear, point, by_direction, by_log);
      leave(here_, light.direction, load3(g.row));
    }
    for (int k = 0; k < lamp_columns; ++k) sink_.add(of_lamps, lamp_columns * light.source.lamp + k, g.row[k]);
  }

  const Scene<T>& scene_;
  Vec3<T> ray_;
  const Sink& sink_;
  int32_t points_ = 0;
  T t_ = 0;
  Point before_, here_;
  bool continues_ = false;
  Vec3<T> by_onward_ = {0, 0, 0};
  T by_onward_log_ = 0;
  Vec3<T> by_start_ = {0, 0, 0};  // by where the ray begins
  RayGradient<T> by_ray_ = {{0, 0, 0}, {0, 0, 0}};
};

}  // namespace lg::light
