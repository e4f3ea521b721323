// Distances to the zero level of a grid by fast sweeping: the distances of voxels next to the surface, and the update
// of a voxel from its neighbours (Zhao 2005, "A Fast Sweeping Method for Eikonal Equations").
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::implicit {

// ---- Beside the surface --------------------------------------------------------------------------------------

// The position of the surface between `low` and `high`, which lie on either side of it, as a fraction of the way.
template <class T>
LG_HD T cut_between(T low, T high) {
  const T part = low / (low - high);
  return is_finite(part) && is_finite(low) && is_finite(high) ? part : T(0.5);
}

// An item: one voxel. Infinite if no neighbour is on the other side. `size`: of a voxel, along x, y and z.
template <class T>
struct StartOfDistances {
  const T *values, *size;
  int64_t counts[3];  // along x, y and z
  T* start;

  LG_HD void operator()(int64_t item) const {
    const int64_t row = item / counts[0];
    const int64_t index[3] = {item - row * counts[0], row % counts[1], row / counts[1]};
    const int64_t stride[3] = {1, counts[0], counts[0] * counts[1]};
    T inverse = 0, steep = 0;
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      const bool has_low = index[a] > 0, has_high = index[a] + 1 < counts[a];
      const T* at = values + item;
      const T low = at[has_low ? -stride[a] : 0], high = at[has_high ? stride[a] : 0];
      const T cut = nearest_cut(low, at[0], high) * size[a];
      inverse += 1 / (cut * cut);
      const T slope = (high - low) / (has_low && has_high ? 2 * size[a] : size[a]);
      if (has_low || has_high) steep += slope * slope;
    }
    const T own = values[item], by_cuts = 1 / root(inverse), by_slope = std::abs(own) / root(steep);
    const bool both = is_finite(steep) && is_finite(by_slope) && is_finite(by_cuts) && is_finite(own);
    start[item] = both ? minimum(by_slope, by_cuts) : by_cuts;
  }

 private:
  // As fractions of a voxel. A voxel at the border is its own neighbour, on its own side.
  static LG_HD T nearest_cut(T low, T own, T high) {
    T nearest = std::numeric_limits<T>::infinity();
    if ((own <= 0) != (high <= 0)) nearest = cut_between(own, high);
    if ((own <= 0) != (low <= 0)) nearest = minimum(nearest, 1 - cut_between(low, own));
    return nearest;
  }
};

// ---- Sweeping ------------------------------------------------------------------------------------------------

// The smaller neighbour along an axis, the size of a voxel along it, and that to the power of -2.
template <class V>
struct Neighbour {
  V distance, step, weight;
};

// Puts the nearer one first. equal_steps: whether all axes have the same step.
template <bool equal_steps, class V>
LG_HD void sort(Neighbour<V>& a, Neighbour<V>& b) {
  const Neighbour<V> first = a, second = b;
  if constexpr (!equal_steps) {
    const auto swapped = second.distance < first.distance;
    a.step = select(swapped, second.step, first.step), b.step = select(swapped, first.step, second.step);
    a.weight = select(swapped, second.weight, first.weight), b.weight = select(swapped, first.weight, second.weight);
  }
  a.distance = minimum(first.distance, second.distance), b.distance = maximum(first.distance, second.distance);
}

// The u for which the sum of max((u - distance) / step, 0)^2 over the axes is 1.
template <bool equal_steps, class V>
LG_HD V upwind(Neighbour<V> a, Neighbour<V> b, Neighbour<V> c) {
  sort<equal_steps>(a, b);
  sort<equal_steps>(b, c);
  sort<equal_steps>(a, b);
  V found = a.distance + a.step;
  // For the nearest two, then for all: weight u^2 - 2 sum u + squares = 1, with u relative to the nearest distance.
  V weight = a.weight, sum = V(0), squares = V(0);
  const auto count_in = [&](const Neighbour<V>& next) LG_INLINE_LAMBDA {
    const V rest = next.distance - a.distance, weighted = next.weight * rest;
    weight = weight + next.weight, sum = sum + weighted, squares = squares + weighted * rest;
    const V square = sum * sum - weight * (squares - V(1));
    const V u = a.distance + (sum + root(maximum(square, V(0)))) * (V(1) / weight);
    found = select((next.distance < found) & (V(0) <= square), u, found);
  };
  count_in(b);
  count_in(c);
  return found;
}

}  // namespace lg::implicit
