// What rays of light meet: native/ray, in the vectors of this family.
#pragma once

#include <cstdint>

#include "light/vector.h"
#include "lumigrad.h"
#include "ray/traverse.h"
#include "runtime/call.h"

namespace lg::light {

// u and v are the weights of the corners 0 and 1.
template <class T>
struct Hit {
  int64_t face;  // -1: none
  T u, v, t;
};

template <class T>
struct Intersector {
  ray::BvhView<T> bvh;

  LG_HD_CALL Hit<T> closest(const Vec3<T>& o, const Vec3<T>& d, T t_max = ray::infinity<T>) const {
    const auto hit = ray::closest_hit(bvh, ray_of(o, d, t_max));
    return {hit.tri, hit.u, hit.v, hit.t};
  }
  LG_HD_CALL bool blocked(const Vec3<T>& o, const Vec3<T>& d, T t_max) const {
    return ray::any_hit(bvh, ray_of(o, d, t_max));
  }

 private:
  static LG_HD ray::Ray<T> ray_of(const Vec3<T>& o, const Vec3<T>& d, T t_max) {
    return {{o.x, o.y, o.z}, {d.x, d.y, d.z}, T(0), t_max};
  }
};

template <class T>
Intersector<T> make_intersector(const lg_lit_scene& s) {
  return {
      {s.boxes, s.children, static_cast<const T*>(s.corners), s.leaf_tri, s.bounds, s.nodes, s.leaves, s.triangles}};
}

}  // namespace lg::light
