// What sixteen paths need of a scene, in the lanes of registers, on the CPU.
#pragma once

#include <cstdint>
#include <limits>

#include "light/bsdf.h"
#include "light/light_sample.h"
#include "light/random.h"
#include "light/scene.h"
#include "math/lanes.h"

namespace lg::light {

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

// The tangents of the corners of one triangle in each lane.
template <class T>
struct LaneTangents {
  using V = Lanes<T, path_lanes>;
  LaneRows3<T> tangent[3];
  LaneRow<T> hand[3];

  void set(int l, const T* corners) {
    for (int k = 0; k < 3; ++k) {
      tangent[k].set(l, load3(corners + 4 * k));
      hand[k][l] = corners[4 * k + 3];
    }
  }
  // Of normal maps with these texels.
  NormalMap<V> map(const SurfacePlace<V>& p, const Vec3<V>& texel, const Vec3<V>& normal) const {
    return normal_map<V>(
        p.weight, [&](int k) { return tangent[k].lanes(); }, [&](int k) { return hand[k].lanes(); }, texel, normal);
  }
};

// Opaque surfaces of one kind, diffuse or metallic-roughness, one in each lane; see bsdf.h.
template <Kind kind, class V>
struct LaneBsdf {
  Material<V> material;  // as far as the kind has a use for it
  MaskOf<V> two_sided;

  void set_color(const Vec3<V>& c) { material.color[0] = c.x, material.color[1] = c.y, material.color[2] = c.z; }
  Vec3<V> color() const { return load3(material.color); }

  // Of directions that are turned to the front.
  V pdf(const Vec3<V>& wi, const Vec3<V>& wo) const {
    if constexpr (kind == kind_diffuse) {
      return diffuse_pdf(wo);
    } else {
      return metallic_roughness_pdf(material, wi, wo);
    }
  }
  Vec3<V> value(const Vec3<V>& wi, const Vec3<V>& wo) const {
    V out[3];
    if constexpr (kind == kind_diffuse) {
      diffuse_value(material, wi, wo, out);
    } else {
      metallic_roughness_value(material, wi, wo, V(1), out);
    }
    return load3(out);
  }

  Vec3<V> sample(const Vec3<V>& wi, const V& lobe, const Pair<V>& place) const {
    if constexpr (kind == kind_diffuse) {
      return sample_diffuse<V>(two_sided, wi, place.first, place.second);
    } else {
      const Vec3<V> front = {wi.x, wi.y, absolute(wi.z)};
      return sent_to<V>(two_sided, wi, sample_metallic_roughness(material, front, lobe, place.first, place.second));
    }
  }
  // What a drawn direction is worth, and its density.
  Vec3<V> weight(Vec3<V> wi, Vec3<V> wo, V* density) const {
    if constexpr (kind == kind_diffuse) {
      *density = diffuse_pdf(Vec3<V>{wo.x, wo.y, absolute(wo.z)});
      return color();
    } else {
      wi.z = absolute(wi.z), wo.z = absolute(wo.z);
      *density = pdf(wi, wo);
      return select(V(0) < *density, (1 / *density) * value(wi, wo), Vec3<V>{V(0), V(0), V(0)});
    }
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
  // Light from infinitely far.
  void set_distant(int l, const Vec3<T>& towards, const Vec3<T>& light, T density) {
    direction.set(l, towards);
    radiance.set(l, light);
    pdf[l] = density;
    part[l] = part_of_density(density);
    distant |= 1u << l;
  }
  void clear(int l) {
    direction.set(l, {0, 0, 0}), end.set(l, {0, 0, 0}), radiance.set(l, {0, 0, 0});
    part[l] = pdf[l] = 0;
  }
};

}  // namespace lg::light
