// What rays of light meet.
#pragma once

#include <cmath>
#include <cstdint>

#include "light/vector.h"
#include "lumigrad.h"

namespace lg::light {

template <class T>
struct Hit {
  int64_t face;  // -1: none
  T u, v, t;
};

template <class T>
struct Intersector {
  const T* positions;
  const int32_t* tri;
  int64_t triangles;
  T extent;

  LG_HD_LARGE Hit<T> closest(const Vec3<T>& o, const Vec3<T>& d) const {
    Hit<T> best = {-1, 0, 0, T(1e30)};
    for (int64_t f = 0; f < triangles; ++f) meet(f, o, d, &best);
    return best;
  }
  // Between two points.
  LG_HD_LARGE bool blocked(const Vec3<T>& o, const Vec3<T>& d, T t_max) const {
    Hit<T> best = {-1, 0, 0, t_max};
    for (int64_t f = 0; f < triangles; ++f) meet(f, o, d, &best);
    return best.face >= 0;
  }

  LG_HD void meet(int64_t f, const Vec3<T>& o, const Vec3<T>& d, Hit<T>* best) const {
    const Vec3<T> c = load3(positions + 3 * int64_t{tri[3 * f + 2]});
    const Vec3<T> e0 = load3(positions + 3 * int64_t{tri[3 * f]}) - c,
                  e1 = load3(positions + 3 * int64_t{tri[3 * f + 1]}) - c;
    const Vec3<T> p = cross(d, e1), s = o - c, q = cross(s, e0);
    const T det = dot(e0, p);
    if (det == 0) return;
    const T u = dot(s, p) / det, v = dot(d, q) / det, t = dot(e1, q) / det;
    if (u >= 0 && v >= 0 && u + v <= 1 && t > 0 && t < best->t) *best = {f, u, v, t};
  }
};

template <class T>
Intersector<T> make_intersector(const lg_lit_scene& s) {
  return {static_cast<const T*>(s.positions), s.tri, s.triangles, 1};
}

}  // namespace lg::light
