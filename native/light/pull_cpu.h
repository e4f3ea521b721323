// Gradients of many pixels, added up on the CPU.
//
// Any path may add to any value. Pixels are divided into parts, each of which adds to sums of its own in the order of
// its pixels; then the parts are added up. How many there are depends on sizes alone, so the result does not depend on
// threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "light/gradients.h"
#include "light/ray_grid.h"
#include "math/scalar.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"

namespace lg::light {

constexpr int64_t pixels_per_task = 32;
constexpr int64_t most_parts = 64, most_sums = int64_t{1} << 24;

template <class T>
struct PartSums {
  const PathGradients<T>& out;
  double* sums;
  int64_t first[gradients];

  void add(Gradient gradient, int64_t number, T value) const {
    if (out.values[gradient] && is_finite(value)) sums[first[gradient] + number] += static_cast<double>(value);
  }
};

// Calls pull(first, end, sink) of many pixels, or pull(pixel, sink) of one after the other: what a pixel's gradient
// gives is added.
template <class Paths, class Sink>
auto pull_pixels(const Paths& paths, int64_t first, int64_t end, const Sink& sink)
    -> decltype(paths.pull(first, end, sink)) {
  paths.pull(first, end, sink);
}
template <class Paths, class Sink>
auto pull_pixels(const Paths& paths, int64_t first, int64_t end, const Sink& sink)
    -> decltype(paths.pull(first, sink)) {
  for (int64_t pixel = first; pixel < end; ++pixel) paths.pull(pixel, sink);
}

// paths: see pull_pixels().
template <class T, class Paths>
void pull_paths(int32_t threads, const Paths& paths, int64_t pixels, const PathGradients<T>& out) {
  const int64_t slots = out.first(gradients), tasks = divide_up(pixels, pixels_per_task);
  const int64_t room = std::max<int64_t>(most_sums / std::max<int64_t>(slots, 1), 1);
  const int64_t parts = std::max<int64_t>(std::min({most_parts, room, tasks}), 1);
  Buffer<double> sums(static_cast<size_t>(parts * slots));
  parallel_for(threads, parts, [&](int64_t part, int) {
    PartSums<T> sink = {out, sums.data() + part * slots, {}};
    for (int k = 0; k < gradients; ++k) sink.first[k] = out.first(k);
    std::fill_n(sink.sums, slots, 0.0);
    for (int64_t task = part; task < tasks; task += parts) {
      const int64_t end = std::min(pixels, (task + 1) * pixels_per_task);
      pull_pixels(paths, task * pixels_per_task, end, sink);
    }
  });
  for (int k = 0; k < gradients; ++k) {
    if (!out.values[k]) continue;
    const double* from = sums.data() + out.first(k);
    constexpr int64_t values_per_task = 4096;
    parallel_for(threads, divide_up(out.counts[k], values_per_task), [&](int64_t task, int) {
      const int64_t end = std::min(out.counts[k], (task + 1) * values_per_task);
      for (int64_t i = task * values_per_task; i < end; ++i) {
        double sum = 0;
        for (int64_t part = 0; part < parts; ++part) sum += from[part * slots + i];
        out.values[k][i] = static_cast<T>(sum);
      }
    });
  }
}

// The same with gradients by the rays of pixels, which paths write to paths.of_rays.
template <class T, class Paths>
void pull_paths_and_rays(int32_t threads, Paths paths, const PathGradients<T>& out, GatherRays<T> rays) {
  Buffer<T> of_rays(static_cast<size_t>(rays.exist() ? pixel_values * rays.pixels() : 0));
  if (rays.exist()) rays.of_pixels = paths.of_rays = of_rays.data();
  pull_paths(threads, paths, rays.pixels(), out);
  if (rays.exist()) for_each(threads, rays.corners(), rays);
}

}  // namespace lg::light
