// Sixteen rays that go through the tree one after the other, on the CPU, because they do not go the same way: what the
// tests need to know of them is prepared for all of them at once, in lanes, and so is what they hit.
//
// The arithmetic of a ray and a triangle is that of a ray alone (traverse.h), and so is what it hits.
#pragma once

#include <cstdint>
#include <limits>

#include "math/lanes.h"
#include "ray/bvh.h"
#include "ray/ray.h"
#include "ray/ray_lanes_cpu.h"
#include "ray/traverse.h"
#include "ray/walk_cpu.h"
#include "runtime/config.h"

namespace lg::ray {

template <class T>
class RayGroup {
 public:
  using V = Lanes<T, packet_size>;
  using I = typename V::Mask;

  // The first `count` of them.
  void load(const RayLanes<T>& given, int count, const float* bounds) {
    given_ = given;
    count_ = count;
    bounds_ = bounds;
  }

  // What each ray hits; write(l, hit) takes it.
  template <class Write>
  void closest_hits(const BvhView<T>& bvh, Write&& write) {
    if constexpr (register_bytes < 32) {  // registers are too few and too small for walk_alone()
      for (int l = 0; l < count_; ++l) write(l, closest_hit(bvh, given_.ray(l)));
    } else {
      closest_hits_alone(bvh, write);
    }
  }

  // The rays that hit anything, as bits.
  uint32_t any_hits(const BvhView<T>& bvh) {
    prepare_all();
    uint32_t found = 0;
    for (int l = 0; l < count_; ++l) {
      if (walks(bvh, l)) found |= static_cast<uint32_t>(hits_any(bvh, View(values_, l))) << l;
    }
    return found;
  }

 private:
  template <class U>
  using Row = U[3][packet_size];

  // Of all rays, what PreparedRay has of one.
  struct alignas(64) Values {
    Row<T> origin, enter_origin, leave_origin, inverse, shear;
    Row<int32_t> axis, backwards;
    T t_min[packet_size], t_max[packet_size];
  };
  template <class U, class L>
  static void store(Row<U>& row, int a, const L& lanes) {
    lanes.store(row[a]);
  }

  // The values of one ray, by the names of PreparedRay, where they are.
  template <class U>
  class Column {
   public:
    LG_INLINE Column(const Row<U>& row, int l) : first_(&row[0][l]) {}
    LG_INLINE U operator[](int a) const { return first_[packet_size * a]; }

   private:
    const U* first_;
  };
  struct View {
    LG_INLINE View(const Values& all, int l)
        : origin(all.origin, l),
          enter_origin(all.enter_origin, l),
          leave_origin(all.leave_origin, l),
          inverse(all.inverse, l),
          shear(all.shear, l),
          axes{{all.axis, l}, {all.backwards, l}},
          t_min(all.t_min[l]),
          t_max(all.t_max[l]) {}

    Column<T> origin, enter_origin, leave_origin, inverse, shear;
    struct {
      Column<int32_t> axis, backwards;
    } axes;
    T t_min, t_max;
  };

  void prepare_all() {
    const RayLanes<T>& given = given_;
    const V zero(T(0)), x = magnitude(given.direction[0]), y = magnitude(given.direction[1]),
                        z = magnitude(given.direction[2]);
    MixedDirection<V> axes = {{1, 2, 0}, {}};  // these are of no use: the largest is another one for each ray
    for (int a = 0; a < 3; ++a) axes.backwards[a] = given.direction[a] < zero;
    const PreparedRays<V, MixedDirection<V>> rays =
        prepare(given.origin, given.direction, given.t_min, given.t_max, axes, bounds_);
    const I x_main = (y <= x) & (z <= x), y_main = without(z <= y, x_main);  // as direction_of() chooses
    const auto choose = [&](const auto& a, const auto& b, const auto& c) {
      return select(x_main, a, select(y_main, b, c));
    };
    const auto scaled = [&](int a) { return given.direction[a] * rays.unit; };
    const V largest = choose(rays.inverse[0], rays.inverse[1], rays.inverse[2]);
    store(values_.shear, 0, choose(scaled(1), scaled(2), scaled(0)) * largest);
    store(values_.shear, 1, choose(scaled(2), scaled(0), scaled(1)) * largest);
    store(values_.shear, 2, largest);
    store(values_.axis, 0, choose(I(1), I(2), I(0)));
    store(values_.axis, 1, choose(I(2), I(0), I(1)));
    store(values_.axis, 2, choose(I(0), I(1), I(2)));
    for (int a = 0; a < 3; ++a) {
      store(values_.origin, a, rays.origin[a]);
      store(values_.enter_origin, a, rays.enter_origin[a]);
      store(values_.leave_origin, a, rays.leave_origin[a]);
      store(values_.inverse, a, rays.inverse[a]);
      store(values_.backwards, a, axes.backwards[a]);
    }
    rays.t_min.store(values_.t_min);
    rays.t_max.store(values_.t_max);
    unit_ = rays.unit;
    valid_ = bits_of(rays.valid);
  }

  template <class Write>
  void closest_hits_alone(const BvhView<T>& bvh, Write&& write) {
    prepare_all();
    alignas(64) T end[packet_size];
    alignas(64) int32_t tri[packet_size], place[packet_size];
    for (int l = 0; l < packet_size; ++l) {
      Nearest<T> best = {values_.t_max[l], std::numeric_limits<int32_t>::max(), 0, 0};
      if (walks(bvh, l)) find_closest(bvh, View(values_, l), &best);
      end[l] = best.t;
      tri[l] = best.tri;
      place[l] = leaf_size * best.leaf + best.place;
    }
    given_.write_hits(bvh, V::load(end) * unit_, I::load(tri), I::load(place), write);
  }

  bool walks(const BvhView<T>& bvh, int l) const { return l < count_ && (valid_ >> l & 1) && bvh.nodes > 0; }

  static LG_INLINE void find_closest(const BvhView<T>& bvh, const View& ray, Nearest<T>* best) {
    WaitingStack stack;
    walk_alone(bvh, ray, &best->t, stack, [&](int32_t leaf) LG_INLINE_LAMBDA {
      find_nearer(bvh, ray, leaf, best);
      return false;
    });
  }

  static LG_INLINE bool hits_any(const BvhView<T>& bvh, const View& ray) {
    bool hit = false;
    UnorderedStack stack;
    walk_alone(bvh, ray, &ray.t_max, stack,
               [&](int32_t leaf) LG_INLINE_LAMBDA { return hit = hits_leaf(bvh, ray, leaf); });
    return hit;
  }

  RayLanes<T> given_;
  Values values_;
  V unit_;
  const float* bounds_ = nullptr;
  uint32_t valid_ = 0;
  int count_ = 0;
};

}  // namespace lg::ray
