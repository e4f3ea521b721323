// A walk of one ray through the tree, on the CPU: what traverse.h does, in fewer instructions.
//
// Which planes of a box come first is where to read them, not a branch: of rays that go in any directions, branches
// would be guessed wrong. What waits on the stack is one integer, the distance above the number of the node, and
// integers are what is compared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "math/lanes.h"
#include "math/unrolled.h"
#include "ray/bvh.h"
#include "ray/ray.h"
#include "ray/traverse.h"
#include "ray/triangle.h"
#include "runtime/config.h"

namespace lg::ray {

// bits_of(a <= b). From comparisons of AVX-512 GCC makes a vector first, and bits of that.
#if defined(__AVX512VL__)
template <class T, class Part>
LG_INLINE uint32_t part_bits_at_most(const Part& a, const Part& b) noexcept {
  constexpr bool words = sizeof(T) == 4;
  if constexpr (sizeof a == 64 && words) return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
  if constexpr (sizeof a == 64 && !words) return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
  if constexpr (sizeof a == 32 && words) return _mm256_cmp_ps_mask(a, b, _CMP_LE_OQ);
  if constexpr (sizeof a == 32 && !words) return _mm256_cmp_pd_mask(a, b, _CMP_LE_OQ);
}
#endif
template <class T, int N>
LG_INLINE uint32_t bits_at_most(const Lanes<T, N>& a, const Lanes<T, N>& b) {
#if defined(__AVX512VL__)
  uint32_t bits = 0;
  a.each([&](int i) LG_INLINE_LAMBDA { bits |= part_bits_at_most<T>(a.part[i], b.part[i]) << (i * a.per_part); });
  return bits;
#else
  return bits_of(a <= b);
#endif
}

// What tests of all children of a node need to know of a ray. The results are those of span_of() (triangle.h), bit for
// bit: both factors have the other sign.
template <class T>
class NodeTest {
 public:
  template <class Rays>
  LG_INLINE explicit NodeTest(const Rays& ray) : t_min_(ray.t_min) {
    unrolled<3>([&](int a) LG_INLINE_LAMBDA {
      const int32_t high = 3 * node_width, turned = ray.axes.backwards[a] & high;  // all bits are set, or none
      first_[a] = node_width * a + turned;
      last_[a] = node_width * a + (high - turned);
      enter_origin_[a] = V(ray.enter_origin[a]);
      leave_origin_[a] = V(ray.leave_origin[a]);
      inverse_[a] = V(-ray.inverse[a]);
    });
  }

  // Which children a ray meets before `end`, as bits, and where.
  LG_INLINE uint32_t meet(const float* boxes, T end, float (&enter)[node_width]) const {
    const V from = maximum(maximum(in(boxes, 0), in(boxes, 1)), maximum(in(boxes, 2), t_min_));
    const V to = minimum(minimum(out(boxes, 0), out(boxes, 1)), out(boxes, 2)) * V(leave_factor<T>);
    from.store(enter);
    return bits_at_most(from, minimum(to, V(end)));
  }

 private:
  using V = Lanes<T, node_width>;

  LG_INLINE V in(const float* boxes, int a) const {
    return (enter_origin_[a] - V::load(boxes + first_[a])) * inverse_[a];
  }
  LG_INLINE V out(const float* boxes, int a) const {
    return (leave_origin_[a] - V::load(boxes + last_[a])) * inverse_[a];
  }

  V enter_origin_[3], leave_origin_[3], inverse_[3], t_min_;
  int32_t first_[3], last_[3];  // where the planes lie that a ray comes to first and last
};

// A child and where the ray enters it, as one number; none is negative, so that they are in the order of the distances.
class Waiting {
 public:
  Waiting() = default;
  LG_INLINE Waiting(float enter, int32_t node) {
    uint32_t bits;
    std::memcpy(&bits, &enter, sizeof bits);
    value_ = uint64_t{bits} << 32 | static_cast<uint32_t>(node);
  }
  LG_INLINE int32_t node() const { return static_cast<int32_t>(static_cast<uint32_t>(value_)); }
  LG_INLINE bool is_before(const Waiting& other) const { return value_ < other.value_; }
  // Without a branch: which of two is the nearer cannot be guessed.
  LG_INLINE Waiting nearer(const Waiting& other) const { return Waiting(std::min(value_, other.value_)); }
  LG_INLINE Waiting other_of(const Waiting& second, const Waiting& taken) const {
    return Waiting(value_ ^ second.value_ ^ taken.value_);
  }
  // Both have been rounded to float32 in the same way; what is behind is never before.
  LG_INLINE bool is_behind(float end) const {
    uint32_t bits;
    std::memcpy(&bits, &end, sizeof bits);
    return static_cast<uint32_t>(value_ >> 32) > bits;
  }

 private:
  explicit LG_INLINE Waiting(uint64_t value) : value_(value) {}

  uint64_t value_;
};

// Nodes and leaves that are still to be visited, in no order: for rays that may hit anything.
class UnorderedStack {
 public:
  using Distance = float;

  // Keeps the children in `hit`, of which there is one at least, but for the first, which it returns.
  LG_INLINE int32_t push(const int32_t* children, uint32_t hit, const float (&)[node_width]) {
    const int32_t first = children[__builtin_ctz(hit)];
    if (LG_UNLIKELY(size_ > largest_stack - node_width)) return first;
    while (hit &= hit - 1) entries_[size_++] = children[__builtin_ctz(hit)];
    return first;
  }
  LG_INLINE bool pop(float, int32_t* node) {
    if (size_ == 0) return false;
    *node = entries_[--size_];
    return true;
  }

 private:
  int32_t entries_[largest_stack];
  int size_ = 0;
};

// Nodes and leaves that are still to be visited; of those that were kept together, the nearest on top.
class WaitingStack {
 public:
  using Distance = float;

  // Keeps the children in `hit`, of which there is one at least, but for the nearest, which it returns.
  LG_INLINE int32_t push(const int32_t* children, uint32_t hit, const float (&enter)[node_width]) {
    if ((hit & (hit - 1)) == 0) return children[__builtin_ctz(hit)];
    const auto take_lowest = [&]() LG_INLINE_LAMBDA {
      const int child = __builtin_ctz(hit);
      hit &= hit - 1;
      return Waiting(enter[child], children[child]);
    };
    const Waiting first = take_lowest(), second = take_lowest();
    Waiting nearest = first.nearer(second);
    if (LG_UNLIKELY(size_ > largest_stack - node_width)) return nearest.node();
    const int bottom = size_;
    entries_[size_++] = first.other_of(second, nearest);
    while (LG_UNLIKELY(hit)) {
      Waiting next = take_lowest();
      if (next.is_before(nearest)) {
        const Waiting other = nearest;
        nearest = next;
        next = other;
      }
      int at = size_++;
      for (; at > bottom && entries_[at - 1].is_before(next); --at) entries_[at] = entries_[at - 1];
      entries_[at] = next;
    }
    return nearest.node();
  }

  // The next one that begins before `end`.
  LG_INLINE bool pop(float end, int32_t* node) {
    do {
      if (size_ == 0) return false;
      --size_;
    } while (entries_[size_].is_behind(end));
    *node = entries_[size_].node();
    return true;
  }

 private:
  Waiting entries_[largest_stack];
  int size_ = 0;
};

// walk_tree() for a valid ray that ends at *end.
template <class T, class Rays, class Stack, class Visit>
LG_INLINE void walk_alone(const BvhView<T>& bvh, const Rays& ray, const T* end, Stack& stack, Visit&& visit) {
  const NodeTest<T> test(ray);
  const auto meet = [&](const float* boxes, T before, float (&enter)[node_width])
                        LG_INLINE_LAMBDA { return test.meet(boxes, before, enter); };
  walk_tree(bvh, stack, meet, [&]() LG_INLINE_LAMBDA { return *end; }, visit);
}

}  // namespace lg::ray
