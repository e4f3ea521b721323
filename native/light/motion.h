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
  T u = 0, v = 0, second_u = 0, second_v = 0;
  T weight[3] = {0, 0, 0};  // of the corners, beyond what these have by all of the above
};

// Gradients by a ray's origin and by its direction, which may have any length.
template <class T>
struct RayGradient {
  Vec3<T> origin, direction;
};

// ---- What points depend on ---------------------------------------------------------------------------------

// By the place where a texture of the material is looked up. given: by what is found there.
template <class T>
LG_HD void pull_place(const Scene<T>& scene, const SurfacePoint<T>& p, int column, const Vec3<T>& given,
                      PointGradient<T>* g) {
  const bool second = uses_second_uv(scene, p, column);
  const Taps<T> taps = texture_taps(scene, p, column);
  const TapSlopes<T> slopes =
      scene.textures.slopes(scene.kind_of(p.face)[column], second ? p.second_u : p.u, second ? p.second_v : p.v);
  T &u = second ? g->second_u : g->u, &v = second ? g->second_v : g->v;
  for (int k = 0; k < 4; ++k) {
    const T along = dot(given, load3(scene.textures.texels + 3 * taps.texel[k]));
    u += slopes.u[k] * along;
    v += slopes.v[k] * along;
  }
}

// given: by the normal that a normal map makes of `smooth`; returns the gradient by that. Tangents are held fixed.
template <class T, class Sink>
LG_HD_CALL Vec3<T> pull_mapped_normal(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& smooth,
                                      const Vec3<T>& given, PointGradient<T>* g, const Sink& sink) {
  const NormalMap<T> map = normal_map(scene, p, smooth);
  const int64_t row = material_columns * int64_t{scene.face_materials[p.face]};
  const T scale = scene.row_of(p.face)[column_normal_scale];
  const Vec3<T> by_sum = pull_unit(map.sum(scale), given);
  const T by_x = dot(by_sum, map.tangent), by_y = dot(by_sum, map.bitangent);
  sink.add(of_materials, row + column_normal_scale, map.bend.x * by_x + map.bend.y * by_y);
  const Vec3<T> by_texel = {2 * scale * by_x, 2 * scale * by_y, 2 * dot(by_sum, smooth)};
  const Taps<T> taps = texture_taps(scene, p, normal_texture_column);
  for (int k = 0; k < 4; ++k) {
    for (int c = 0; c < 3; ++c) sink.add(of_texels, 3 * taps.texel[k] + c, taps.weight[k] * part(by_texel, c));
  }
  pull_place(scene, p, normal_texture_column, by_texel, g);
  const Vec3<T> by_bitangent = (scale * map.bend.y * map.hand) * by_sum;
  const Vec3<T> by_tangent = (scale * map.bend.x) * by_sum + cross(by_bitangent, smooth);
  const T off = dot(map.along, smooth);
  const Vec3<T> by_flat = pull_unit(map.along - off * smooth, by_tangent);
  return map.bend.z * by_sum + cross(map.tangent, by_bitangent) - off * by_flat - dot(by_flat, smooth) * map.along;
}

// given: by the shading normal. d: the direction in which the point was met, by which the gradient is returned: normals
// that are seen from behind are turned towards the viewer.
template <class T, class Sink>
LG_HD_CALL Vec3<T> pull_normal(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& d, const Vec3<T>& given,
                               PointGradient<T>* g, const Sink& sink) {
  Vec3<T> by_smooth = given, by_direction = {0, 0, 0}, smooth = p.geometric, blended = {0, 0, 0};
  if (scene.corner_normals) {
    blended = blended_normal(scene, p);
    smooth = unit(blended);
  }
  const bool mapped = has_normal_map(scene, p.face);
  const Vec3<T> before_map = smooth;
  if (mapped) smooth = mapped_normal(scene, p, smooth);
  if ((!scene.corner_normals && !mapped) || !(dot(smooth, p.geometric) > 0)) {
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
  if (mapped) by_smooth = pull_mapped_normal(scene, p, before_map, by_smooth, g, sink);
  if (scene.corner_normals) {
    g->blended = g->blended + pull_unit(blended, by_smooth);
  } else {
    g->face_normal = g->face_normal + pull_unit(scene.face_normal(p.face), by_smooth);
  }
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

// To the texture coordinates of a corner; returns the gradient by its weight.
template <class T, class Sink>
LG_HD T pull_uv(const T* corners, Gradient gradient, const SurfacePoint<T>& p, int k, T by_u, T by_v,
                const Sink& sink) {
  if (!corners) return 0;
  const int64_t first = 6 * p.face + 2 * k;
  sink.add(gradient, first, p.weight[k] * by_u);
  sink.add(gradient, first + 1, p.weight[k] * by_v);
  return corners[first] * by_u + corners[first + 1] * by_v;
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
    by_weight[k] += pull_uv(scene.corner_uvs, of_corner_uvs, p, k, g.u, g.v, sink);
    by_weight[k] += pull_uv(scene.corner_second_uvs, of_corner_second_uvs, p, k, g.second_u, g.second_v, sink);
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
