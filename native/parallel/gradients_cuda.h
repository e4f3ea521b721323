// Adding gradients from many threads to one place.
//
// By default, this uses atomics, in whatever order threads arrive. The deterministic mode takes two rounds: the first
// finds the largest magnitude added to each place; the second adds integers, in units so much smaller than that
// magnitude that no sum can overflow. Sums of integers do not depend on their order. With at most n contributions, a
// place keeps 62 - log2(n) bits below its largest contribution. If no good bound is known beforehand, the first round
// counts the contributions.
#pragma once

#include <cmath>
#include <cstring>

#include "runtime/cuda/launch.h"

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

// Passed to kernels.
template <class T>
struct GradientSum {
  using Bits = typename MagnitudeBits<T>::Bits;

  SumRound round;
  int32_t bits;      // of a contribution as large as the largest one, if contributions are not counted
  Bits* largest;     // per slot: the bits of the largest magnitude
  uint64_t* sums;    // per slot
  uint32_t* counts;  // per slot: the number of contributions; null: not counted

  // Adds `value` to *place. slot: the number of this place among all places that are added to.
  LG_DEVICE void add(T* place, int64_t slot, T value) const {
    if (round == SumRound::direct) {
      if (value != 0) atomic_add(place, value);
    } else if (round == SumRound::measure) {
      const Bits mine = magnitude(value);
      if (mine > load_fresh(largest + slot)) atomic_max(largest + slot, mine);
      if (counts && mine != 0) atomic_add(counts + slot, 1u);
    } else if (value != 0) {
      const Bits top = largest[slot];
      if (is_number(top)) atomic_add(sums + slot, to_units(value, top, slot));
    }
  }

  // The sum of a slot.
  LG_DEVICE T total(int64_t slot) const {
    const Bits top = largest[slot];
    if (!is_number(top)) return value_of(top) - value_of(top);  // NaN
    const auto sum = static_cast<int64_t>(sums[slot]);
    return static_cast<T>(std::ldexp(static_cast<double>(sum), exponent(top) - bits_of(slot)));
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
  LG_DEVICE int bits_of(int64_t slot) const {
    if (!counts) return bits;
    int of_sum = 0;
    while (of_sum < 32 && (uint64_t{1} << of_sum) < counts[slot]) ++of_sum;
    return 62 - of_sum;
  }
  LG_DEVICE uint64_t to_units(T value, Bits top, int64_t slot) const {
    return static_cast<uint64_t>(std::llrint(std::ldexp(static_cast<double>(value), bits_of(slot) - exponent(top))));
  }
};

// Adds the gradients of x, y, z, w of three corners to their rows of grad_pos, which are the first slots.
template <class T>
LG_DEVICE void add_to_corners(const GradientSum<T>& sum, T* grad_pos, const int64_t (&row)[3], const T (&value)[12]) {
  for (int k = 0; k < 12; ++k) {
    const int64_t slot = 4 * row[k / 4] + k % 4;
    sum.add(grad_pos + slot, slot, value[k]);
  }
}

template <class T>
__global__ void write_totals(GradientSum<T> sum, int64_t first_slot, int64_t count, T* out) {
  for (int64_t i = first_item(); i < count; i += item_step()) out[i] = sum.total(first_slot + i);
}

// The buffers of one call. Places may lie in several tensors, whose slots are consecutive.
template <class T>
class GradientSums {
 public:
  // contributions: the largest number of them to any one place; 0: fewer than 2^32, to be counted.
  GradientSums(bool deterministic, int64_t slots, int64_t contributions)
      : slots_(deterministic ? slots : 0), counted_(contributions == 0), bits_(62) {
    sum_.round = deterministic ? SumRound::measure : SumRound::direct;
    while (bits_ > 1 && (int64_t{1} << (62 - bits_)) < contributions) --bits_;
    sum_.bits = bits_;
    sum_.largest = nullptr;
    sum_.sums = nullptr;
    sum_.counts = nullptr;
  }

  void plan(Workspace& workspace) {
    if (slots_ == 0) return;
    sum_.largest = workspace.take<typename MagnitudeBits<T>::Bits>(slots_);
    sum_.sums = workspace.take<uint64_t>(slots_);
    if (counted_) sum_.counts = workspace.take<uint32_t>(slots_);
  }

  // For kernels that also add to the places of another GradientSums and run in its run().
  void clear(Queue& queue) const {
    queue.fill_bytes(sum_.largest, 0, slots_ * static_cast<int64_t>(sizeof *sum_.largest));
    queue.fill_bytes(sum_.sums, 0, slots_ * static_cast<int64_t>(sizeof *sum_.sums));
    if (counted_) queue.fill_bytes(sum_.counts, 0, slots_ * static_cast<int64_t>(sizeof *sum_.counts));
  }
  GradientSum<T> in_round(SumRound round) const {
    GradientSum<T> sum = sum_;
    sum.round = round;
    return sum;
  }

  // pass(sum) launches the kernels that add. The places must be zero before, or are written by finish().
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

  // The same if all slots belong to one tensor, including everything that must be done before and after.
  template <class Pass>
  void run_whole(Queue& queue, int64_t count, T* out, Pass&& pass) {
    queue.fill_bytes(out, 0, count * static_cast<int64_t>(sizeof(T)));
    run(queue, pass);
    finish(queue, 0, count, out);
  }

  // Writes the sums of `count` slots to their tensor. Does nothing without determinism.
  void finish(Queue& queue, int64_t first_slot, int64_t count, T* out) const {
    if (slots_ > 0) queue.launch_items(write_totals<T>, count, sum_, first_slot, count, out);
  }

 private:
  int64_t slots_;
  bool counted_;
  int32_t bits_;
  GradientSum<T> sum_;
};

// An op whose only sums are the gradient of positions. add(queue, sum) launches the kernels.
template <class T, class Add>
struct PositionGradients {
  int64_t places;
  T* grad_pos;
  Add& add;
  GradientSums<T> sums;

  void plan(Workspace& workspace) { sums.plan(workspace); }
  void run(Queue& queue) {
    sums.run_whole(queue, places, grad_pos, [&](const GradientSum<T>& sum) { add(queue, sum); });
  }
};

// rows: of grad_pos [rows, 4]; contributions: see GradientSums.
template <class T, class Add>
int32_t run_position_gradients(lg_call* call, int64_t rows, int64_t contributions, T* grad_pos, Add&& add) {
  return run_op(
      call, PositionGradients<T, Add>{4 * rows, grad_pos, add, {call->deterministic != 0, 4 * rows, contributions}});
}

}  // namespace lg
