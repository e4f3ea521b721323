// How points of surfaces move with shapes, rays and cameras, for gradients.
//
// A point that light comes to from another surface keeps its place in its triangle: its weights stay, and it moves with
// the corners. The first point of a path is where the ray meets the triangle: it slides as the ray or the triangle
// moves, and its weights change. Rays leave a point where origin_towards() says, but for the distance that keeps them
// from the triangle, which is held fixed.
//
// All that depends on a point adds its gradients to a PointGradient, which is pulled once: by pull_following() or by
// pull_sliding(). sink.add(gradient, number of the value, what is added)
#pragma once

#include <cstdint>

#include "light/gradients.h"
#include "light/scene.h"
#include "ray/trace.h"
#include "runtime/call.h"

namespace lg::light {

template <class T>
struct PointGradient {
  Vec3<T> position = {0, 0, 0};
  Vec3<T> origin = {0, 0, 0};       // of rays that leave on the side of the viewer
  Vec3<T> blended = {0, 0, 0};      // what the normals of the corners come to, see pull_normal()
  Vec3<T> face_normal = {0, 0, 0};  // as long as twice the area
  T u = 0, v = 0;
  T weight[3] = {0, 0, 0};  // of the corners, beyond what these have by all of the above
};

// Gradients by a ray's origin and by its direction, which may have any length.
template <class T>
struct RayGradient {
  Vec3<T> origin, direction;
};

// ---- What points depend on ---------------------------------------------------------------------------------

// given: by the shading normal. d: the direction in which the point was met, by which the gradient is returned: normals
// that are seen from behind are turned towards the viewer.
template <class T>
LG_HD_CALL Vec3<T> pull_normal(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& d, const Vec3<T>& given,
                               PointGradient<T>* g) {
  Vec3<T> by_smooth = given, by_direction = {0, 0, 0}, blended = {0, 0, 0}, smooth = {0, 0, 0};
  if (scene.corner_normals) {
    blended = blended_normal(scene, p);
    smooth = unit(blended);
  }
  if (!(dot(smooth, p.geometric) > 0)) {
    g->face_normal = g->face_normal + pull_unit(scene.face_normal(p.face), given);
    return by_direction;
  }
  const Vec3<T> facing = p.side * smooth;
  const T lacking = T(least_facing) + dot(facing, d);
  if (lacking > 0) {
    const Vec3<T> by_turned = pull_unit(facing - lacking * d, p.side * given);
    const T along = dot(by_turned, d);
    by_smooth = p.side * (by_turned - along * d);
    by_direction = -(along * facing) - lacking * by_turned;
  }
  g->blended = g->blended + pull_unit(blended, by_smooth);
  return by_direction;
}

// ---- Pulling to corners --------------------------------------------------------------------------------------

template <class T, class Sink>
LG_HD void add_to_position(const Scene<T>& scene, int64_t face, int k, const Vec3<T>& value, const Sink& sink) {
  const int64_t first = 3 * int64_t{scene.tri[3 * face + k]};
  for (int c = 0; c < 3; ++c) sink.add(of_positions, first + c, part(value, c));
}

template <class T, class Sink>
LG_HD void add_to_corner_normal(int64_t face, int k, const Vec3<T>& value, const Sink& sink) {
  for (int c = 0; c < 3; ++c) sink.add(of_corner_normals, 9 * face + 3 * k + c, part(value, c));
}

// A gradient by cross(b - a, c - a).
template <class T, class Sink>
LG_HD void pull_face_normal(const Scene<T>& scene, int64_t face, const Vec3<T>& given, const Sink& sink) {
  const Vec3<T> a = scene.corner(face, 0);
  const Vec3<T> of_b = cross(scene.corner(face, 2) - a, given), of_c = cross(given, scene.corner(face, 1) - a);
  add_to_position(scene, face, 0, -(of_b + of_c), sink);
  add_to_position(scene, face, 1, of_b, sink);
  add_to_position(scene, face, 2, of_c, sink);
}

// What a point that rays leave is lifted by, as in origin_towards(); weights are added to, the rest is pulled.
template <class T, class Sink>
LG_HD_CALL Vec3<T> pull_lift(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& given, T (&by_weight)[3],
                             const Sink& sink) {
  Vec3<T> by_position = {0, 0, 0};
  for (int k = 0; k < 3; ++k) {
    const Vec3<T> n = p.side * load3(scene.corner_normals + 9 * p.face + 3 * k);
    const Vec3<T> beside = p.position - scene.corner(p.face, k);
    const T below = dot(beside, n), along = dot(given, n);
    if (!(below < -p.offset)) continue;
    by_weight[k] -= below * along;
    const Vec3<T> moved = (p.weight[k] * along) * n;
    by_position = by_position - moved;
    add_to_position(scene, p.face, k, moved, sink);
    add_to_corner_normal(p.face, k, (-p.side * p.weight[k]) * (along * beside + below * given), sink);
  }
  return by_position;
}

// Pulls to what the triangle's corners have, their weights held fixed. by_weight: the gradients by these weights.
template <class T, class Sink>
LG_HD_CALL void pull_corners(const Scene<T>& scene, const SurfacePoint<T>& p, const PointGradient<T>& g,
                             T (&by_weight)[3], const Sink& sink) {
  for (int k = 0; k < 3; ++k) by_weight[k] = g.weight[k];
  Vec3<T> by_position = g.position + g.origin;
  if (scene.corner_normals) by_position = by_position + pull_lift(scene, p, g.origin, by_weight, sink);
  for (int k = 0; k < 3; ++k) {
    // Only differences of weights count: places are measured from the last corner.
    by_weight[k] += dot(scene.corner(p.face, k) - scene.corner(p.face, 2), by_position);
    add_to_position(scene, p.face, k, p.weight[k] * by_position, sink);
    if (scene.corner_normals) {
      by_weight[k] += dot(load3(scene.corner_normals + 9 * p.face + 3 * k), g.blended);
      add_to_corner_normal(p.face, k, p.weight[k] * g.blended, sink);
    }
    if (scene.corner_uvs) {
      const T* uv = scene.corner_uvs + 6 * p.face + 2 * k;
      by_weight[k] += uv[0] * g.u + uv[1] * g.v;
      sink.add(of_corner_uvs, 6 * p.face + 2 * k, p.weight[k] * g.u);
      sink.add(of_corner_uvs, 6 * p.face + 2 * k + 1, p.weight[k] * g.v);
    }
  }
  pull_face_normal(scene, p.face, g.face_normal, sink);
}

template <class T, class Sink>
LG_HD void pull_following(const Scene<T>& scene, const SurfacePoint<T>& p, const PointGradient<T>& g,
                          const Sink& sink) {
  T by_weight[3];
  pull_corners(scene, p, g, by_weight, sink);
}

// The point is where a ray met its triangle, at the parameter t of its direction; returns the gradient by that ray.
template <class T, class Sink>
LG_HD_CALL RayGradient<T> pull_sliding(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& direction, T t,
                                       const PointGradient<T>& g, const Sink& sink) {
  T by_weight[3];
  pull_corners(scene, p, g, by_weight, sink);
  const T* const corner[3] = {scene.corner_values(p.face, 0), scene.corner_values(p.face, 1),
                              scene.corner_values(p.face, 2)};
  const T d[3] = {direction.x, direction.y, direction.z};
  const auto hit = ray::hit_gradient(corner, d, p.weight, static_cast<double>(t), 0.0,
                                     static_cast<double>(by_weight[0] - by_weight[2]),
                                     static_cast<double>(by_weight[1] - by_weight[2]));
  if (!hit.exists) return {{0, 0, 0}, {0, 0, 0}};
  const Vec3<T> q = {static_cast<T>(hit.q[0]), static_cast<T>(hit.q[1]), static_cast<T>(hit.q[2])};
  for (int k = 0; k < 3; ++k) add_to_position(scene, p.face, k, -p.weight[k] * q, sink);
  return {q, t * q};
}

}  // namespace lg::light
