// What a ray hits: one ray at a time, for kernels of any family, on the CPU and on CUDA.
//
//   BvhView<float> bvh = ...;                          // ray/bvh.h: pointers to the tensors of lumigrad.Bvh
//   const Ray<float> ray = {{ox, oy, oz}, {dx, dy, dz}, t_min, t_max};
//   const Hit<float> hit = closest_hit(bvh, ray);      // hit.tri, or -1; hit.u, hit.v, hit.t as in lumigrad.trace
//   const bool dark = any_hit(bvh, ray);               // whether something is hit; faster than the closest hit
//
// T is float or double, the type of the mesh and the ray. Of triangles that are hit at the same t, the one with the
// lowest number is hit. The result depends on the triangles alone, not on the tree. Rays that are not finite, or have
// no direction, or an empty range of t, hit nothing. t_max may be infinite.
//
// Rays that leave a surface begin where ray/offset.h says, or they may hit the triangle that they leave.
//
// `capacity` is that of the stack. The default holds for every tree; kernels on a device, where memory of threads is
// scarce, may choose usual_stack where the tree has few levels (stack_needed() in ray/bvh.h says what it takes).
#pragma once

#include <cstdint>
#include <limits>

#include "ray/bvh.h"
#include "ray/ray.h"
#include "ray/triangle.h"
#include "runtime/config.h"

#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)
#define LG_RAY_LANES 0
#else
#define LG_RAY_LANES 1
#include "math/lanes.h"
#endif

namespace lg::ray {

constexpr int largest_stack = stack_needed(max_levels), usual_stack = 64;

// The best hit so far.
template <class T>
struct Nearest {
  T t;          // in units of the scaled direction; t_max where nothing has been hit
  int32_t tri;  // larger than all others where nothing has been hit
  int32_t leaf, place;

  LG_HD bool found() const { return tri != std::numeric_limits<int32_t>::max(); }

  LG_HD void take(T t_new, int32_t tri_new, int32_t leaf_new, int32_t place_new) {
    if (!(t_new < t || (t_new == t && tri_new < tri))) return;
    *this = {t_new, tri_new, leaf_new, place_new};
  }
};

template <class T>
LG_HD Nearest<T> nothing_yet(const PreparedRay<T>& ray) {
  return {ray.t_max, std::numeric_limits<int32_t>::max(), -1, 0};
}

// Which children's boxes a ray meets before `end`, as bits, and where.
template <class T>
LG_HD uint32_t meet_children(const PreparedRay<T>& ray, const float* boxes, T end, T (&enter)[node_width]) {
  const auto first = [&](int a) { return boxes + node_width * (ray.axes.backwards[a] ? 3 + a : a); };
  const auto last = [&](int a) { return boxes + node_width * (ray.axes.backwards[a] ? a : 3 + a); };
#if LG_RAY_LANES
  using V = Lanes<T, node_width>;
  const auto span = span_of<V>(
      ray, [&](int a) LG_INLINE_LAMBDA { return V::load(first(a)); },
      [&](int a) LG_INLINE_LAMBDA { return V::load(last(a)); });
  const V from = maximum(span.enter, V(ray.t_min)), to = minimum(span.leave, V(end));
  from.store(enter);
  return bits_of(from <= to);
#else
  uint32_t bits = 0;
  LG_UNROLL
  for (int c = 0; c < node_width; ++c) {
    const auto span = span_of<T>(
        ray, [&](int a) { return static_cast<T>(first(a)[c]); }, [&](int a) { return static_cast<T>(last(a)[c]); });
    enter[c] = maximum(span.enter, ray.t_min);
    bits |= static_cast<uint32_t>(enter[c] <= minimum(span.leave, end)) << c;
  }
  return bits;
#endif
}

// Calls take(place, t) for the triangles of a leaf that a ray hits before `end`.
template <class T, class Rays, class Take>
LG_HD void meet_leaf(const Rays& ray, const T* corners, T end, Take&& take) {
#if LG_RAY_LANES
  using V = Lanes<T, leaf_size>;
  const Meeting<V> met =
      meet<V>(ray, [&](int k, int a) LG_INLINE_LAMBDA { return V::load(corners + leaf_size * (3 * k + a)); });
  if (LG_LIKELY(!any(met.hit))) return;
  for (uint32_t left = bits_of(met.hit & (V(ray.t_min) <= met.t) & (met.t <= V(end))); left; left &= left - 1) {
    const int place = __builtin_ctz(left);
    take(place, met.t[place]);
  }
#else
  for (int place = 0; place < leaf_size; ++place) {
    const Meeting<T> met = meet<T>(ray, [&](int k, int a) { return corners[leaf_size * (3 * k + a) + place]; });
    if (met.hit && ray.t_min <= met.t && met.t <= end) take(place, met.t);
  }
#endif
}

// Compares what a ray hits in a leaf with the best hit so far.
template <class T, class Rays>
LG_HD void find_nearer(const BvhView<T>& bvh, const Rays& ray, int32_t leaf, Nearest<T>* best) {
  const int32_t* tri = bvh.tri_of(leaf);
  meet_leaf(ray, bvh.corners_of(leaf), best->t, [&](int32_t place, T t) LG_INLINE_LAMBDA {
    if (tri[place] >= 0 && tri[place] < bvh.triangles) best->take(t, tri[place], leaf, place);
  });
}

// Whether a ray hits any triangle of a leaf.
template <class T, class Rays>
LG_HD bool hits_leaf(const BvhView<T>& bvh, const Rays& ray, int32_t leaf) {
  bool hit = false;
  meet_leaf(ray, bvh.corners_of(leaf), ray.t_max, [&](int32_t, T) LG_INLINE_LAMBDA { hit = true; });
  return hit;
}

// Nodes and leaves that are still to be visited, and where the ray enters them.
template <class T, int capacity>
class WalkStack {
 public:
  using Distance = T;

  // Keeps the children in `hit`, of which there is one at least, but for the nearest, which it returns.
  LG_HD int32_t push(const int32_t* children, uint32_t hit, const T (&enter)[node_width]) {
    int nearest = lowest_set(hit);
    hit &= hit - 1;
    if (LG_LIKELY(hit == 0)) return children[nearest];
    const int bottom = size_;
    for (; hit && size_ < capacity; hit &= hit - 1) {
      int child = lowest_set(hit);
      if (enter[child] < enter[nearest]) {
        const int other = child;
        child = nearest;
        nearest = other;
      }
      int at = size_++;
      for (; at > bottom && enter_[at - 1] < enter[child]; --at) {
        enter_[at] = enter_[at - 1];
        node_[at] = node_[at - 1];
      }
      enter_[at] = enter[child];
      node_[at] = children[child];
    }
    return children[nearest];
  }

  // The next one that begins before `end`.
  LG_HD bool pop(T end, int32_t* node) {
    while (size_ > 0) {
      --size_;
      if (!(enter_[size_] <= end)) continue;
      *node = node_[size_];
      return true;
    }
    return false;
  }

  static LG_HD int lowest_set(uint32_t bits) {
#if defined(__CUDA_ARCH__)
    return __ffs(static_cast<int>(bits)) - 1;
#else
    return __builtin_ctz(bits);
#endif
  }

 private:
  T enter_[capacity];
  int32_t node_[capacity];
  int size_ = 0;
};

// Calls visit(leaf) for the leaves that a ray meets before end(), in the order of the stack, until visit() returns
// true. meet(boxes, end, enter): which children the ray meets, as bits, and where. The tree has a node.
template <class T, class Stack, class Meet, class End, class Visit>
LG_HD void walk_tree(const BvhView<T>& bvh, Stack& stack, Meet&& meet, End&& end, Visit&& visit) {
  using Distance = typename Stack::Distance;
  alignas(32) Distance enter[node_width];
  int32_t node = 0;
  // A tree has fewer; what is no tree comes to an end, too.
  for (int64_t visits = bvh.nodes + bvh.leaves; visits > 0; --visits) {
    if (node >= 0) {
      const uint32_t hit = LG_LIKELY(node < bvh.nodes) ? meet(bvh.boxes_of(node), end(), enter) : 0;
      if (hit) {
        node = stack.push(bvh.children_of(node), hit, enter);
        continue;
      }
    } else {
      const int32_t leaf = -1 - node;
      if (leaf < bvh.leaves && visit(leaf)) return;
    }
    if (!stack.pop(static_cast<Distance>(end()), &node)) return;
  }
}

// The same for one ray, about from the nearest leaf on.
template <int capacity, class T, class End, class Visit>
LG_HD void walk(const BvhView<T>& bvh, const PreparedRay<T>& ray, End&& end, Visit&& visit) {
  if (!ray.valid || bvh.nodes == 0) return;
  WalkStack<T, capacity> stack;
  const auto meet = [&](const float* boxes, T before, T(&enter)[node_width])
                        LG_INLINE_LAMBDA { return meet_children(ray, boxes, before, enter); };
  walk_tree(bvh, stack, meet, end, visit);
}

template <int capacity = largest_stack, class T>
LG_HD Hit<T> closest_hit(const BvhView<T>& bvh, const Ray<T>& ray) {
  const PreparedRay<T> prepared = prepare(ray, bvh.bounds);
  Nearest<T> best = nothing_yet(prepared);
  walk<capacity>(
      bvh, prepared, [&] { return best.t; },
      [&](int32_t leaf) {
        find_nearer(bvh, prepared, leaf, &best);
        return false;
      });
  if (!best.found()) return {-1, T(0), T(0), infinity<T>};
  const T* corners = bvh.corners_of(best.leaf) + best.place;
  const double origin[3] = {ray.origin[0], ray.origin[1], ray.origin[2]};
  const double direction[3] = {ray.direction[0], ray.direction[1], ray.direction[2]};
  const Place<double> place =
      exact_place<double>(origin, direction, best.t * prepared.unit, ray.t_min, ray.t_max,
                          [&](int k, int a) -> double { return corners[leaf_size * (3 * k + a)]; });
  return {best.tri, static_cast<T>(place.u), static_cast<T>(place.v), static_cast<T>(place.t)};
}

template <int capacity = largest_stack, class T>
LG_HD bool any_hit(const BvhView<T>& bvh, const Ray<T>& ray) {
  const PreparedRay<T> prepared = prepare(ray, bvh.bounds);
  bool hit = false;
  walk<capacity>(
      bvh, prepared, [&] { return prepared.t_max; },
      [&](int32_t leaf) { return hit = hits_leaf(bvh, prepared, leaf); });
  return hit;
}

}  // namespace lg::ray
