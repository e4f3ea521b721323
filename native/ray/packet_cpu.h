// Sixteen rays that go through the tree together, on the CPU.
//
// Coherent rays agree in which way the tests take. A node's children are first tested with the whole packet, all eight
// at once, by bounds of what the test of any of its rays can give; children that are left are tested with all rays when
// their turn comes. Mixed rays, which go through trees with a single node, are tested with each of its children.
//
// The arithmetic of a ray and a triangle is that of a ray alone (traverse.h), and so is what it hits.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "math/lanes.h"
#include "ray/bvh.h"
#include "ray/ray.h"
#include "ray/ray_lanes_cpu.h"
#include "ray/traverse.h"
#include "ray/triangle.h"
#include "runtime/config.h"

namespace lg::ray {

// All lanes joined to one value, half with half.
template <class T, int N, class Join>
LG_INLINE T joined_lanes(const Lanes<T, N>& a, Join&& join) {
  if constexpr (N == 4) {
    return join(join(a[0], a[2]), join(a[1], a[3]));
  } else {
    using Half = Lanes<T, N / 2>;
    Half low, high;
    if constexpr (Lanes<T, N>::parts > 1) {
      constexpr int half = Lanes<T, N>::parts / 2;
      Half::each([&](int i) LG_INLINE_LAMBDA { low.part[i] = a.part[i], high.part[i] = a.part[half + i]; });
    } else {
      low.part[0] = values_of<0>(a.part[0], std::make_integer_sequence<int, N / 2>{});
      high.part[0] = values_of<N / 2>(a.part[0], std::make_integer_sequence<int, N / 2>{});
    }
    return joined_lanes(join(low, high), join);
  }
}

// mixed: only the largest component of all directions is the same one.
template <class T, bool mixed = false>
class Packet {
 public:
  using V = Lanes<T, packet_size>;
  using I = typename V::Mask;
  using Axes = std::conditional_t<mixed, MixedDirection<V>, RayDirection>;

  // Rays with their largest component in common; false if one of them is not valid.
  bool load_mixed(const RayLanes<T>& given, const float* bounds) {
    given_ = given;
    const V zero(T(0));
    const RayDirection one = first_direction(given);
    Axes axes;
    for (int a = 0; a < 3; ++a) axes.axis[a] = one.axis[a], axes.backwards[a] = given.direction[a] < zero;
    rays_ = prepare(given.origin, given.direction, given.t_min, given.t_max, axes, bounds);
    end_ = rays_.t_max;
    return bits_of(rays_.valid) == all_rays;
  }

  // Whether sixteen rays can go together: all are valid, and agree in which way the tests take.
  bool load(const RayLanes<T>& given, const float* bounds) {
    const RayDirection axes = first_direction(given);
    if (!agree(given, axes)) return false;
    given_ = given;
    rays_ = prepare(given.origin, given.direction, given.t_min, given.t_max, axes, bounds);
    if (bits_of(rays_.valid) != all_rays || !is_narrow()) return false;
    end_ = rays_.t_max;
    bound();
    return true;
  }

  // What each ray hits; write(l, hit) takes it.
  template <class Write>
  void closest_hits(const BvhView<T>& bvh, Write&& write) {
    I tri(std::numeric_limits<int32_t>::max()), place(0);
    walk(bvh, [&](int32_t leaf) LG_INLINE_LAMBDA {
      for_triangles(bvh, leaf, [&](const Meeting<V>& met, int32_t number, int32_t k) LG_INLINE_LAMBDA {
        const I id(number);
        const I better = met.hit & (rays_.t_min <= met.t) & ((met.t < end_) | ((met.t == end_) & (id < tri)));
        end_ = select(better, met.t, end_);
        tri = select(better, id, tri);
        place = select(better, I(leaf_size * leaf + k), place);
      });
      return false;
    });
    given_.write_hits(bvh, end_ * rays_.unit, tri, place, write);
  }

  // The rays that hit anything, as bits.
  uint32_t any_hits(const BvhView<T>& bvh) {
    uint32_t found = 0;
    walk(bvh, [&](int32_t leaf) LG_INLINE_LAMBDA {
      for_triangles(bvh, leaf, [&](const Meeting<V>& met, int32_t, int32_t) LG_INLINE_LAMBDA {
        const I hit = met.hit & (rays_.t_min <= met.t) & (met.t <= end_);
        found |= bits_of(hit);
        end_ = select(hit, V(-infinity<T>), end_);
      });
      return found == all_rays;
    });
    return found;
  }

 private:
  using Node = Lanes<T, node_width>;
  // Of directions whose largest component is 1.
  static constexpr T widest = T(0.25);
  static constexpr uint32_t all_rays = (1u << packet_size) - 1;

  // Of a value of all rays, the least and the largest.
  struct Range {
    T low, high;
  };
  static LG_INLINE Range range_of(const V& a) {
    return {joined_lanes(a, [](const auto& x, const auto& y) LG_INLINE_LAMBDA { return minimum(x, y); }),
            joined_lanes(a, [](const auto& x, const auto& y) LG_INLINE_LAMBDA { return maximum(x, y); })};
  }

  static RayDirection first_direction(const RayLanes<T>& given) {
    const T first[3] = {given.direction[0][0], given.direction[1][0], given.direction[2][0]};
    return direction_of(first);
  }

  static bool agree(const RayLanes<T>& given, const RayDirection& axes) {
    const V zero(T(0));
    const V main = magnitude(given.direction[axes.axis[2]]);
    uint32_t rays = all_rays;
    for (int a = 0; a < 3; ++a) {
      const uint32_t negative = bits_of(given.direction[a] < zero);
      rays &= axes.backwards[a] ? negative : ~negative;
      // Of components of the same size the first one is chosen.
      const V size = magnitude(given.direction[a]);
      if (a < axes.axis[2]) rays &= bits_of(size < main);
      if (a > axes.axis[2]) rays &= bits_of(size <= main);
    }
    return rays == all_rays;
  }

  // Whether directions differ so little that rays meet about the same nodes. Others are faster one after the other.
  bool is_narrow() const {
    for (int k = 0; k < 2; ++k) {
      const Range range = range_of(rays_.shear[k]);
      if (!(range.high - range.low < widest)) return false;
    }
    return true;
  }

  void bound() {
    for (int a = 0; a < 3; ++a) {
      enter_origin_[a] = range_of(rays_.enter_origin[a]);
      leave_origin_[a] = range_of(rays_.leave_origin[a]);
      inverse_[a] = range_of(rays_.inverse[a]);
    }
    first_t_ = range_of(rays_.t_min).low;
  }

  const float* first_plane(const float* boxes, int a) const {
    return boxes + node_width * (rays_.axes.backwards[a] ? 3 + a : a);
  }
  const float* last_plane(const float* boxes, int a) const {
    return boxes + node_width * (rays_.axes.backwards[a] ? a : 3 + a);
  }

  // Children that rays may meet before `end`, as bits, and a bound of where. Every operation rounds to the same side
  // for all rays, so that bounds hold for what is computed for each of them.
  LG_INLINE uint32_t meet_children(const float* boxes, T end, T (&enter)[node_width]) const {
    Node from(first_t_), to(end);
    unrolled<3>([&](int a) LG_INLINE_LAMBDA {
      const bool backwards = rays_.axes.backwards[a];
      const Node in =
          Node::load(first_plane(boxes, a)) - Node(backwards ? enter_origin_[a].low : enter_origin_[a].high);
      const Node out =
          Node::load(last_plane(boxes, a)) - Node(backwards ? leave_origin_[a].high : leave_origin_[a].low);
      const Node low(inverse_[a].low), high(inverse_[a].high);
      from = maximum(minimum(in * low, in * high), from);
      to = minimum(maximum(out * low, out * high) * Node(leave_factor<T>), to);
    });
    from.store(enter);
    return bits_of(from <= to);
  }

  // Whether any ray meets one child before its own end.
  LG_INLINE bool meet_child(const float* boxes, int child) const {
    const auto plane = [&](int k) LG_INLINE_LAMBDA { return V(T(boxes[node_width * k + child])); };
    const auto first = [&](int a) LG_INLINE_LAMBDA {
      return either(rays_.axes.backwards[a], [&] { return plane(3 + a); }, [&] { return plane(a); });
    };
    const auto last = [&](int a) LG_INLINE_LAMBDA {
      return either(rays_.axes.backwards[a], [&] { return plane(a); }, [&] { return plane(3 + a); });
    };
    const auto span = span_of<V>(rays_, first, last);
    return any(maximum(span.enter, rays_.t_min) <= minimum(span.leave, end_));
  }

  // Calls visit(leaf) for leaves that rays meet, about from the nearest on, until it returns true.
  template <class Visit>
  LG_INLINE void walk(const BvhView<T>& bvh, Visit&& visit) {
    if (bvh.nodes == 0) return;
    if constexpr (mixed) {
      visit_children(bvh, visit);
    } else {
      walk_down(bvh, visit);
    }
  }

  // Of a tree with a single node.
  template <class Visit>
  LG_INLINE void visit_children(const BvhView<T>& bvh, Visit&& visit) {
    for (int child = 0; child < node_width; ++child) {
      const int32_t leaf = -1 - bvh.children_of(0)[child];
      if (leaf < 0 || leaf >= bvh.leaves || !meet_child(bvh.boxes_of(0), child)) continue;
      if (visit(leaf)) return;
    }
  }

  template <class Visit>
  LG_INLINE void walk_down(const BvhView<T>& bvh, Visit&& visit) {
    struct Entry {
      T enter;
      int32_t node, child;
    };
    Entry stack[largest_stack];
    int size = 0;
    T enter[node_width];
    int32_t node = 0;
    for (int64_t visits = bvh.nodes + bvh.leaves; visits > 0; --visits) {
      if (node >= 0) {
        if (node < bvh.nodes) {
          const int bottom = size;
          for (uint32_t hit = meet_children(bvh.boxes_of(node), last_end(), enter); hit && size < largest_stack;
               hit &= hit - 1) {
            const int child = __builtin_ctz(hit);
            int at = size++;
            for (; at > bottom && stack[at - 1].enter < enter[child]; --at) stack[at] = stack[at - 1];
            stack[at] = {enter[child], node, child};
          }
        }
      } else {
        const int32_t leaf = -1 - node;
        if (leaf < bvh.leaves && visit(leaf)) return;
      }
      for (;;) {
        if (size == 0) return;
        const Entry& entry = stack[--size];
        if (!meet_child(bvh.boxes_of(entry.node), entry.child)) continue;
        node = bvh.children_of(entry.node)[entry.child];
        break;
      }
    }
  }

  T last_end() const {
    return joined_lanes(end_, [](const auto& x, const auto& y) LG_INLINE_LAMBDA { return maximum(x, y); });
  }

  template <class Take>
  LG_INLINE void for_triangles(const BvhView<T>& bvh, int32_t leaf, Take&& take) const {
    const T* corners = bvh.corners_of(leaf);
    const int32_t* tri = bvh.tri_of(leaf);
    for (int32_t k = 0; k < leaf_size; ++k) {
      if (tri[k] < 0 || tri[k] >= bvh.triangles) continue;
      const Meeting<V> met = meet<V>(
          rays_, [&](int vertex, int a) LG_INLINE_LAMBDA { return V(corners[leaf_size * (3 * vertex + a) + k]); });
      if (any(met.hit)) take(met, tri[k], k);
    }
  }

  RayLanes<T> given_;
  PreparedRays<V, Axes> rays_;
  V end_;  // t of the best hit, or t_max, in units of the scaled direction
  Range enter_origin_[3], leave_origin_[3], inverse_[3];
  T first_t_;
};

}  // namespace lg::ray
