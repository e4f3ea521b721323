// Sixteen rays in lanes, as they are given, and the hits that are written for them, on the CPU.
#pragma once

#include <cstdint>
#include <limits>

#include "math/lanes.h"
#include "ray/bvh.h"
#include "ray/ray.h"
#include "ray/triangle.h"

namespace lg::ray {

constexpr int packet_size = 16;

template <class T>
struct RayLanes {
  using V = Lanes<T, packet_size>;
  using I = typename V::Mask;

  V origin[3], direction[3], t_min, t_max;

  template <class RayOf>
  void gather(RayOf&& ray_of) {
    alignas(64) T o[3][packet_size], d[3][packet_size], low[packet_size], high[packet_size];
    for (int l = 0; l < packet_size; ++l) {
      const Ray<T> ray = ray_of(l);
      for (int a = 0; a < 3; ++a) o[a][l] = ray.origin[a], d[a][l] = ray.direction[a];
      low[l] = ray.t_min;
      high[l] = ray.t_max;
    }
    for (int a = 0; a < 3; ++a) {
      origin[a] = V::load(o[a]);
      direction[a] = V::load(d[a]);
    }
    t_min = V::load(low);
    t_max = V::load(high);
  }

  Ray<T> ray(int l) const {
    return {{origin[0][l], origin[1][l], origin[2][l]},
            {direction[0][l], direction[1][l], direction[2][l]},
            t_min[l],
            t_max[l]};
  }

  // Calls write(l, hit) for each ray. t: where the tests found the hit, in units of the direction; tri: the number of
  // the triangle, the largest integer where there is none; place: of its corners, leaf_size * leaf + place in it.
  template <class Write>
  void write_hits(const BvhView<T>& bvh, const V& t, const I& tri, const I& place, Write&& write) const {
    const uint32_t found = bits_of(tri < I(std::numeric_limits<int32_t>::max()));
    alignas(64) int32_t numbers[packet_size];
    tri.store(numbers);
    alignas(64) double at_u[packet_size], at_v[packet_size], at_t[packet_size];
    if (found) {
      const Place<Wide> at = places_of(bvh, found, t, place);
      at.u.store(at_u);
      at.v.store(at_v);
      at.t.store(at_t);
    }
    for (int l = 0; l < packet_size; ++l) {
      if (found >> l & 1) {
        write(l, Hit<T>{numbers[l], static_cast<T>(at_u[l]), static_cast<T>(at_v[l]), static_cast<T>(at_t[l])});
      } else {
        write(l, Hit<T>{-1, T(0), T(0), infinity<T>});
      }
    }
  }

 private:
  using Wide = Lanes<double, packet_size>;

  static Wide wide(const V& a) {
    alignas(64) T values[packet_size];
    a.store(values);
    return Wide::load(values);
  }

  Place<Wide> places_of(const BvhView<T>& bvh, uint32_t found, const V& t, const I& place) const {
    alignas(64) int32_t places[packet_size];
    place.store(places);
    alignas(64) T corner[9][packet_size];
    for (int l = 0; l < packet_size; ++l) {
      const T* from = bvh.corners_of(places[l] / leaf_size) + places[l] % leaf_size;
      for (int i = 0; i < 9; ++i) corner[i][l] = found >> l & 1 ? from[leaf_size * i] : T(0);
    }
    const Wide from[3] = {wide(origin[0]), wide(origin[1]), wide(origin[2])};
    const Wide towards[3] = {wide(direction[0]), wide(direction[1]), wide(direction[2])};
    return exact_place<Wide>(from, towards, wide(t), wide(t_min), wide(t_max),
                             [&](int k, int a) { return Wide::load(corner[3 * k + a]); });
  }
};

}  // namespace lg::ray
