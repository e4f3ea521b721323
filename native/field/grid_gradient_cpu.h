// The gradient of a grid from many rays, the same bit for bit for any number of threads: every value adds up what the
// rays give it in the order of the rays.
//
// One thread adds as it marches. More of them take turns with chunks of rays: first each marches some of the rays and
// notes what they give, sorted by the tile of the grid that it goes to; then each adds up some of the tiles. A tile has
// all columns of some rows and slices. What lies across a border is noted for either tile.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/march.h"
#include "math/divide_up.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::field {

// What a sample gives the eight values around it.
template <class T>
struct Gift {
  int64_t first;
  T fraction[3];
  T density, weight;
  int32_t ray;  // in its task
  int32_t row, slice;
};

constexpr int64_t gradient_rays_per_task = 64;

template <class T>
struct NoGridGradient {
  void add(const Place<T>&, const T*, T, T, int64_t) {}
};

// Adds at once. features: the gradients of the rays' features, or null.
template <class T>
struct AddToGrid {
  const Volume<T>& volume;
  T* grid;
  const T* features;

  // rows: bits of the value pairs that are added to, by corner number / 2
  LG_INLINE void add_pairs(int64_t first, const T* weight, T density, T scale, const T* of_ray, unsigned pairs) const {
    const int64_t channels = volume.channels;
    for (int k = 0; k < 8; ++k) {
      if (!(pairs >> (k / 2) & 1)) continue;
      T* to = grid + first + corner(volume, k);
      to[0] += weight[k] * density;
      if (!of_ray || scale == 0) continue;
      const T scaled = weight[k] * scale;
      LG_VECTORIZE
      for (int64_t c = 1; c < channels; ++c) to[c] += scaled * of_ray[c - 1];
    }
  }
  void add(const Place<T>& place, const T* weight, T density, T scale, int64_t ray) const {
    const T* of_ray = features ? features + ray * (volume.channels - 1) : nullptr;
    add_pairs(place.first, weight, density, scale, of_ray, 15);
  }
};

template <class T, class Sink>
void pull_one(const March<T>& march, const OutputGradients<T>& given, const MarchGradients<T>& out, int64_t item,
              Sink& sink, T* box) {
  RayGradient<T> ray;
  PullRay<T, Sink>(march, given, item, out.moves(), sink).run(&ray);
  out.write(item, ray);
  for (int k = 0; k < 6; ++k) box[k] += finite(ray.box[k]);
}

template <class T>
void pull_rays(int32_t threads, const March<T>& march, const OutputGradients<T>& given, const MarchGradients<T>& out) {
  const int64_t tasks = divide_up(march.rays, gradient_rays_per_task);
  Buffer<T> boxes(static_cast<size_t>(6 * std::max<int64_t>(tasks, 1)));
  std::fill_n(boxes.data(), 6 * tasks, T(0));
  if (out.grid) std::fill_n(out.grid, march.volume.value_count(), T(0));
  const bool together = !out.grid;
  parallel_for(together ? threads : 1, tasks, [&](int64_t task, int) {
    NoGridGradient<T> none;
    AddToGrid<T> all = {march.volume, out.grid, given.features};
    const int64_t end = std::min(march.rays, (task + 1) * gradient_rays_per_task);
    for (int64_t item = task * gradient_rays_per_task; item < end; ++item) {
      T* box = boxes.data() + 6 * task;
      out.grid ? pull_one(march, given, out, item, all, box) : pull_one(march, given, out, item, none, box);
    }
  });
  for (int k = 0; out.box && k < 6; ++k) {
    T sum = 0;
    for (int64_t task = 0; task < tasks; ++task) sum += boxes[static_cast<size_t>(6 * task + k)];
    out.box[k] = sum;
  }
}

}  // namespace lg::field
