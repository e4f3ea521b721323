// Adding gradients from many threads to one place.
//
// By default with atomics, in whatever order threads come. Deterministically in two rounds: the first notes the
// largest magnitude that each place is given; the second adds integers, in units so much smaller than that that no
// sum can overflow. Sums of integers do not depend on their order. With n contributions at most, a place keeps
// 62 - log2(n) bits below its largest one.
#pragma once

#include <cmath>
#include <cstring>

#include "common/cuda_launch.h"

namespace lg {

template <class T>
struct MagnitudeBits;
template <>
struct MagnitudeBits<float> {
  using Bits = uint32_t;
};
template <>
struct MagnitudeBits<double> {
  using Bits = uint64_t;
};

enum class SumRound : int32_t { direct, measure, exact };

// Handed to kernels.
template <class T>
struct GradientSum {
  using Bits = typename MagnitudeBits<T>::Bits;

  SumRound round;
  int32_t bits;    // of a contribution as large as the largest one
  Bits* largest;   // per slot: the bits of the largest magnitude
  uint64_t* sums;  // per slot

  // Adds `value` to *place. slot: the number of the place among all that are added to.
  LG_DEVICE void add(T* place, int64_t slot, T value) const {
    if (round == SumRound::direct) {
      if (value != 0) atomic_add(place, value);
    } else if (round == SumRound::measure) {
      const Bits mine = magnitude(value);
      if (mine > load_fresh(largest + slot)) atomic_max(largest + slot, mine);
    } else if (value != 0) {
      const Bits top = largest[slot];
      if (is_number(top)) atomic_add(sums + slot, to_units(value, top));
    }
  }

  // What the sum of a slot comes to.
  LG_DEVICE T total(int64_t slot) const {
    const Bits top = largest[slot];
    if (!is_number(top)) return value_of(top) - value_of(top);  // NaN
    const auto sum = static_cast<int64_t>(sums[slot]);
    return static_cast<T>(std::ldexp(static_cast<double>(sum), exponent(top) - bits));
  }

 private:
  static LG_DEVICE Bits magnitude(T value) {
    Bits bits_of;
    std::memcpy(&bits_of, &value, sizeof bits_of);
    return bits_of & (~Bits(0) >> 1);
  }
  static LG_DEVICE T value_of(Bits bits_of) {
    T value;
    std::memcpy(&value, &bits_of, sizeof value);
    return value;
  }
  static LG_DEVICE bool is_number(Bits top) { return value_of(top) - value_of(top) == 0; }
  static LG_DEVICE int exponent(Bits top) {
    int e = 0;
    std::frexp(static_cast<double>(value_of(top)), &e);
    return e;
  }
  LG_DEVICE uint64_t to_units(T value, Bits top) const {
    return static_cast<uint64_t>(std::llrint(std::ldexp(static_cast<double>(value), bits - exponent(top))));
  }
};

template <class T>
__global__ void write_totals(GradientSum<T> sum, int64_t first_slot, int64_t count, T* out) {
  for (int64_t i = first_item(); i < count; i += item_step()) out[i] = sum.total(first_slot + i);
}

// The buffers of one call. Places may lie in several tensors; their slots follow one another.
template <class T>
class GradientSums {
 public:
  // contributions: at most so many are added to any one place.
  GradientSums(bool deterministic, int64_t slots, int64_t contributions)
      : slots_(deterministic ? slots : 0), bits_(62) {
    sum_.round = deterministic ? SumRound::measure : SumRound::direct;
    while (bits_ > 1 && (int64_t{1} << (62 - bits_)) < contributions) --bits_;
    sum_.bits = bits_;
    sum_.largest = nullptr;
    sum_.sums = nullptr;
  }

  void plan(Workspace& workspace) {
    if (slots_ == 0) return;
    sum_.largest = workspace.take<typename MagnitudeBits<T>::Bits>(slots_);
    sum_.sums = workspace.take<uint64_t>(slots_);
  }

  // For kernels that add to the places of another GradientSums as well, whose run() they go through.
  void clear(Queue& queue) const {
    queue.fill_bytes(sum_.largest, 0, slots_ * static_cast<int64_t>(sizeof *sum_.largest));
    queue.fill_bytes(sum_.sums, 0, slots_ * static_cast<int64_t>(sizeof *sum_.sums));
  }
  GradientSum<T> in_round(SumRound round) const {
    GradientSum<T> sum = sum_;
    sum.round = round;
    return sum;
  }

  // pass(sum) launches the kernels that add. The places have to be zero before, or are written by finish().
  template <class Pass>
  void run(Queue& queue, Pass&& pass) {
    if (slots_ == 0) {
      pass(in_round(SumRound::direct));
      return;
    }
    clear(queue);
    pass(in_round(SumRound::measure));
    pass(in_round(SumRound::exact));
  }

  // Brings the sums of `count` slots to their tensor; nothing to do without determinism.
  void finish(Queue& queue, int64_t first_slot, int64_t count, T* out) const {
    if (slots_ > 0) queue.launch_items(write_totals<T>, count, sum_, first_slot, count, out);
  }

 private:
  int64_t slots_;
  int32_t bits_;
  GradientSum<T> sum_;
};

}  // namespace lg
