// A scene as path tracing sees it: where rays meet surfaces, and what these are made of.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "light/environment.h"
#include "light/intersect.h"
#include "light/lamp.h"
#include "light/lookup.h"
#include "light/material.h"
#include "light/medium.h"
#include "light/vector.h"
#include "lumigrad.h"
#include "math/scalar.h"
#include "ray/offset.h"
#include "runtime/call.h"

namespace lg::light {

// The corners of a triangle; V: a number, or lanes of one for each of many triangles.
template <class V>
struct Triangle {
  Vec3<V> a, b, c;

  LG_HD Vec3<V> normal() const { return cross(b - a, c - a); }
};

template <class T>
struct Scene {
  Intersector<T> intersector;
  const T* positions;
  const int32_t* tri;
  const T *corner_normals, *corner_uvs, *corner_second_uvs, *corner_colors, *corner_tangents;  // or null
  const int32_t* face_materials;
  const T* materials;
  const int32_t *kinds, *alpha_modes;  // alpha_modes: of each material, or null where all are opaque
  Textures<T> textures;
  const T *lamps, *lamp_intensities;
  const int32_t* lamp_kinds;
  const int32_t* emitter_faces;
  const T* emitter_sums;
  const int32_t* face_emitters;
  Environment<T> environment;
  Media<T> media;
  int64_t vertices, triangles, material_count, lamp_count, emitter_count;
  bool all_lights = false;  // are drawn at each surface, not one of them

  // Whether a triangle has corners and a material.
  LG_HD bool is_whole(int64_t face) const {
    if (face < 0 || face >= triangles || face_materials[face] < 0 || face_materials[face] >= material_count) {
      return false;
    }
    for (int k = 0; k < 3; ++k) {
      if (tri[3 * face + k] < 0 || tri[3 * face + k] >= vertices) return false;
    }
    return true;
  }

  LG_HD const T* corner_values(int64_t face, int k) const { return positions + 3 * int64_t{tri[3 * face + k]}; }
  LG_HD Vec3<T> corner(int64_t face, int k) const { return load3(corner_values(face, k)); }
  LG_HD Triangle<T> corners(int64_t face) const { return {corner(face, 0), corner(face, 1), corner(face, 2)}; }
  // Of the length of twice the triangle's area.
  LG_HD Vec3<T> face_normal(int64_t face) const { return corners(face).normal(); }
  LG_HD const int32_t* kind_of(int64_t face) const { return kinds + kind_columns * face_materials[face]; }
  LG_HD const T* row_of(int64_t face) const { return materials + material_columns * face_materials[face]; }
  LG_HD int32_t alpha_mode(int64_t face) const {
    return alpha_modes ? alpha_modes[face_materials[face]] : int32_t{alpha_opaque};
  }

  // Of three kinds of lights those that there are are chosen alike: triangles, lamps and the environment.
  LG_HD int light_groups() const { return (emitter_count > 0) + (lamp_count > 0) + environment.exists(); }
  // How many of them one is chosen from.
  LG_HD int light_choices() const { return all_lights ? 1 : light_groups(); }
  LG_HD bool can_be_hit() const { return emitter_count > 0 || environment.exists(); }
};

// Where a ray meets a triangle. V: a number, or lanes of one for each of many rays.
template <class V>
struct SurfacePlace {
  V weight[3];  // of the corners
  Vec3<V> position;
  Vec3<V> geometric;  // unit normal, on the side that the winding says
  Vec3<V> normal;     // shading normal, on the same side
  V side;             // 1 where the ray came from that side, or -1
  V offset;           // of rays that leave, see ray/offset.h
};

// The same of a scene's triangle.
template <class T>
struct SurfacePoint : SurfacePlace<T> {
  int64_t face;
  T u, v, second_u, second_v;
};

template <class T>
LG_HD T largest_size(const Vec3<T>& a) {
  return maximum(maximum(absolute(a.x), absolute(a.y)), absolute(a.z));
}

// What the corners have, by their weights.
template <class V>
LG_HD Vec3<V> blend(const V (&weight)[3], const Vec3<V>& a, const Vec3<V>& b, const Vec3<V>& c) {
  return weight[0] * a + weight[1] * b + weight[2] * c;
}

// With the triangle's own normal as that for shading. u and v: weights of the first two corners; d: the ray's
// direction.
template <class V>
LG_HD void set_place(const Triangle<V>& corners, const V& u, const V& v, const Vec3<V>& d, SurfacePlace<V>* place) {
  SurfacePlace<V>& p = *place;
  p.weight[0] = u;
  p.weight[1] = v;
  p.weight[2] = 1 - u - v;
  p.position = blend(p.weight, corners.a, corners.b, corners.c);
  p.geometric = p.normal = unit(corners.normal());
  p.side = select(dot(p.geometric, d) < V(0), V(1), V(-1));
  p.offset = V(ray::offset_factor<ScalarOf<V>>) *
             maximum(maximum(largest_size(corners.a), largest_size(corners.b)), largest_size(corners.c));
}

template <class T>
LG_HD void interpolate_uv(const T* corners, const SurfacePoint<T>& p, T* u, T* v) {
  *u = *v = 0;
  if (!corners) return;
  const T* uv = corners + 6 * p.face;
  *u = p.weight[0] * uv[0] + p.weight[1] * uv[2] + p.weight[2] * uv[4];
  *v = p.weight[0] * uv[1] + p.weight[1] * uv[3] + p.weight[2] * uv[5];
}

template <class T>
LG_HD bool uses_second_uv(const Scene<T>& scene, const SurfacePoint<T>& p, int column) {
  return (scene.kind_of(p.face)[second_uv_column] >> column & 1) != 0;
}

// The texels that the material's texture of a column of its kinds has at a point.
template <class T>
LG_HD Taps<T> texture_taps(const Scene<T>& scene, const SurfacePoint<T>& p, int column) {
  const bool second = uses_second_uv(scene, p, column);
  return scene.textures.taps(scene.kind_of(p.face)[column], second ? p.second_u : p.u, second ? p.second_v : p.v);
}

// What a texture multiplies a material with; `column` of the material's kinds holds its number.
template <class T>
LG_HD Vec3<T> texture_factor(const Scene<T>& scene, const SurfacePoint<T>& p, int column) {
  if (!scene.textures.has(scene.kind_of(p.face)[column])) return {1, 1, 1};
  return combine(scene.textures.texels, texture_taps(scene, p, column));
}

template <class T>
LG_HD bool has_normal_map(const Scene<T>& scene, int64_t face) {
  return scene.corner_tangents && scene.textures.has(scene.kind_of(face)[normal_texture_column]);
}

// A normal map at a point: its axes are the tangent, made perpendicular to the normal, and the bitangent.
template <class T>
struct NormalMap {
  Vec3<T> along;  // of the corners' tangents
  T hand;         // 1 or -1
  Vec3<T> tangent, bitangent, normal;
  Vec3<T> bend;  // what the map holds, from -1 to 1

  LG_HD Vec3<T> sum(T scale) const {
    return (scale * bend.x) * tangent + (scale * bend.y) * bitangent + bend.z * normal;
  }
};
// tangent(k), hand(k): of the corners. V: a number, or lanes of one for each of many points.
template <class V, class TangentOf, class HandOf>
LG_HD NormalMap<V> normal_map(const V (&weight)[3], TangentOf&& tangent, HandOf&& hand, const Vec3<V>& texel,
                              const Vec3<V>& normal) {
  NormalMap<V> map;
  map.normal = normal;
  map.along = {V(0), V(0), V(0)};
  V hands(0);
  for (int k = 0; k < 3; ++k) {
    map.along = map.along + weight[k] * tangent(k);
    hands += weight[k] * hand(k);
  }
  map.hand = select(hands < V(0), V(-1), V(1));
  map.tangent = unit(map.along - dot(map.along, normal) * normal);
  map.bitangent = map.hand * cross(normal, map.tangent);
  map.bend = {2 * texel.x - 1, 2 * texel.y - 1, 2 * texel.z - 1};
  return map;
}
template <class T>
LG_HD NormalMap<T> normal_map(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& normal) {
  const T* corners = scene.corner_tangents + 12 * p.face;
  return normal_map<T>(
      p.weight, [&](int k) { return load3(corners + 4 * k); }, [&](int k) { return corners[4 * k + 3]; },
      combine(scene.textures.texels, texture_taps(scene, p, normal_texture_column)), normal);
}

// The normal that it makes of the shading normal.
template <class T>
LG_HD_CALL Vec3<T> mapped_normal(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& normal) {
  return unit(normal_map(scene, p, normal).sum(scene.row_of(p.face)[column_normal_scale]));
}

// Shading normals that face the viewer by a smaller cosine are turned towards it.
constexpr double least_facing = 0.01;

// Of these a normal that, seen from behind, is turned to where it can just be seen from the front.
template <class V>
LG_HD Vec3<V> facing_normal(const SurfacePlace<V>& p, const Vec3<V>& normal, const Vec3<V>& d) {
  const Vec3<V> facing = p.side * normal;
  const V lacking = V(ScalarOf<V>(least_facing)) + dot(facing, d);
  const MaskOf<V> in_front = V(0) < dot(normal, p.geometric), turns = V(0) < lacking;
  Vec3<V> turned = normal;
  if (any(turns)) turned = select(turns, p.side * unit(facing - lacking * d), normal);
  return select(in_front, turned, p.geometric);
}

// Of the normals of the corners, not a unit vector.
template <class T>
LG_HD Vec3<T> blended_normal(const Scene<T>& scene, const SurfacePoint<T>& p) {
  const T* n = scene.corner_normals + 9 * p.face;
  return blend(p.weight, load3(n), load3(n + 3), load3(n + 6));
}

// d: the ray's direction. What is as large as this is made where it is needed: copies of what has just been written in
// parts are slow.
template <class T>
LG_HD_CALL void set_surface_point(const Scene<T>& scene, const Hit<T>& hit, const Vec3<T>& d, SurfacePoint<T>* point) {
  SurfacePoint<T>& p = *point;
  p.face = hit.face;
  set_place(scene.corners(hit.face), hit.u, hit.v, d, point);
  interpolate_uv(scene.corner_uvs, p, &p.u, &p.v);
  interpolate_uv(scene.corner_second_uvs, p, &p.second_u, &p.second_v);
  if (scene.corner_normals) p.normal = unit(blended_normal(scene, p));
  const bool mapped = has_normal_map(scene, p.face);
  if (mapped) p.normal = mapped_normal(scene, p, p.normal);
  if (scene.corner_normals || mapped) p.normal = facing_normal<T>(p, p.normal, d);
}
template <class T>
LG_HD SurfacePoint<T> surface_point(const Scene<T>& scene, const Hit<T>& hit, const Vec3<T>& d) {
  SurfacePoint<T> p;
  set_surface_point(scene, hit, d, &p);
  return p;
}

// Where rays leave the surface, on the side of `towards`. On smooth meshes the origin moves out to where the curved
// surface would be, which keeps facets from shadowing one another (Hanika 2021); where that is no more than a rounding,
// the surface is flat. Then the origin is moved off the triangle by more than the rounding of its position and of the
// test of the triangle.
//
// smooth: whether corners have normals; corner(k), normal(k): of them.
template <class V, class CornerOf, class NormalOf>
LG_HD Vec3<V> origin_beside(const SurfacePlace<V>& p, const Vec3<V>& towards, bool smooth, CornerOf&& corner,
                            NormalOf&& normal) {
  const V side = select(dot(p.geometric, towards) < V(0), V(-1), V(1));
  Vec3<V> origin = p.position;
  const MaskOf<V> seen = side == p.side;
  if (smooth && any(seen)) {
    for (int k = 0; k < 3; ++k) {
      const Vec3<V> n = side * normal(k);
      const V below = dot(p.position - corner(k), n);
      const MaskOf<V> curved = seen & (below < -p.offset);
      if (any(curved)) origin = select(curved, origin - (p.weight[k] * below) * n, origin);
    }
  }
  return origin + (side * p.offset) * p.geometric;
}
template <class T>
LG_HD_CALL Vec3<T> origin_towards(const Scene<T>& scene, const SurfacePoint<T>& p, const Vec3<T>& towards) {
  return origin_beside<T>(
      p, towards, scene.corner_normals != nullptr, [&](int k) { return scene.corner(p.face, k); },
      [&](int k) { return load3(scene.corner_normals + 9 * p.face + 3 * k); });
}

// ---- What surfaces are made of -----------------------------------------------------------------------------

template <class T>
LG_HD Vec3<T> vertex_color(const Scene<T>& scene, const SurfacePoint<T>& p) {
  if (!scene.corner_colors) return {1, 1, 1};
  const T* c = scene.corner_colors + 9 * p.face;
  return blend(p.weight, load3(c), load3(c + 3), load3(c + 6));
}

// The colour at a point without the material's factor: texture times vertex colours.
template <class T>
LG_HD_CALL Vec3<T> color_factor(const Scene<T>& scene, const SurfacePoint<T>& p) {
  const Vec3<T> factor = texture_factor(scene, p, color_texture_column);
  return scene.corner_colors ? factor * vertex_color(scene, p) : factor;
}

// darkest: least colour of those whose values are in proportion to it, see path_gradient.h.
template <class T>
LG_HD_CALL void set_material(const Scene<T>& scene, const SurfacePoint<T>& p, T darkest, Material<T>* material) {
  Material<T>& m = *material;
  const int32_t* kind = scene.kind_of(p.face);
  m = load_material(scene.row_of(p.face), kind[kind_column], kind[two_sided_column] != 0);
  const Vec3<T> color = color_factor(scene, p);
  for (int c = 0; c < 3; ++c) {
    m.color[c] *= part(color, c);
    if (m.kind != kind_conductor && m.color[c] < darkest) m.color[c] = darkest;
  }
  if (scene.textures.has(kind[roughness_texture_column])) {
    const Vec3<T> factor = texture_factor(scene, p, roughness_texture_column);
    m.roughness *= factor.y;  // the second and third channel, as in glTF
    m.metallic *= factor.z;
  }
  if (has_layers(m)) {
    m.transmission *= texture_factor(scene, p, transmission_texture_column).x;
    m.coat *= texture_factor(scene, p, coat_texture_column).x;
    m.coat_roughness *= texture_factor(scene, p, coat_roughness_texture_column).y;
  }
}

// How much of a surface is there, and the derivative of that by alpha. margin: the least distance from 0 and from 1,
// see path_gradient.h.
template <class T>
struct Opacity {
  T value, slope;
};
template <class T>
LG_HD_CALL Opacity<T> opacity_at(const Scene<T>& scene, const SurfacePoint<T>& p, T margin) {
  const int32_t mode = scene.alpha_mode(p.face);
  if (mode == alpha_opaque) return {1, 0};
  const T* row = scene.row_of(p.face);
  const T alpha = row[column_alpha] * texture_factor(scene, p, alpha_texture_column).x;
  if (mode == alpha_mask) return {alpha >= row[column_alpha_cutoff] ? T(1) : T(0), 0};
  return {clamped(alpha, margin, 1 - margin), alpha >= 0 && alpha <= 1 ? T(1) : T(0)};
}

// Surfaces of one side emit from it alone.
template <class T>
LG_HD bool emits(const Scene<T>& scene, const SurfacePoint<T>& p) {
  return p.side > 0 || scene.kind_of(p.face)[two_sided_column] != 0;
}

template <class T>
LG_HD Vec3<T> emission_at(const Scene<T>& scene, const SurfacePoint<T>& p) {
  if (!emits(scene, p)) return {0, 0, 0};
  return load3(scene.row_of(p.face) + column_emission) * texture_factor(scene, p, emission_texture_column);
}

template <class T>
Scene<T> make_scene(const lg_lit_scene& s) {
  const auto floats = [](const void* values) { return static_cast<const T*>(values); };
  Scene<T> scene;
  scene.intersector = make_intersector<T>(s);
  scene.positions = floats(s.positions);
  scene.tri = s.tri;
  scene.corner_normals = floats(s.corner_normals);
  scene.corner_uvs = floats(s.corner_uvs);
  scene.corner_second_uvs = floats(s.corner_second_uvs);
  scene.corner_tangents = floats(s.corner_tangents);
  scene.corner_colors = floats(s.corner_colors);
  scene.face_materials = s.face_materials;
  scene.materials = floats(s.materials);
  scene.kinds = s.kinds;
  scene.alpha_modes = s.alpha_modes;
  scene.textures = {floats(s.texels), s.textures, s.texture_count, s.texel_count};
  scene.lamps = floats(s.lamps);
  scene.lamp_intensities = floats(s.lamp_intensities);
  scene.lamp_kinds = s.lamp_kinds;
  scene.emitter_faces = s.emitter_faces;
  scene.emitter_sums = floats(s.emitter_sums);
  scene.face_emitters = s.face_emitters;
  scene.environment = {s.side > 0 ? floats(s.environment) : nullptr, floats(s.environment_rotation), floats(s.row_sums),
                       floats(s.texel_sums), static_cast<int32_t>(s.side)};
  scene.media = make_media<T>(s);
  scene.vertices = s.vertices;
  scene.triangles = s.triangles;
  scene.material_count = s.material_count;
  scene.lamp_count = s.lamp_count;
  scene.emitter_count = s.emitter_count;
  return scene;
}

}  // namespace lg::light
