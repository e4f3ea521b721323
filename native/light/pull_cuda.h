// Gradients of many pixels, added up on CUDA: a thread for each pixel.
#pragma once

#include <cstdint>

#include "light/gradients.h"
#include "light/ray_grid.h"
#include "math/scalar.h"
#include "parallel/for_each.h"
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"

namespace lg::light {

template <class T>
struct DeviceSums {
  PathGradients<T> out;
  GradientSum<T> sum;
  int64_t first[gradients];

  LG_HD void add(Gradient gradient, int64_t number, T value) const {
#if defined(__CUDA_ARCH__) || defined(LG_CUDA_EMULATED)
    if (!out.values[gradient] || !is_finite(value)) return;
    sum.add(out.values[gradient] + number, first[gradient] + number, value);
#endif
  }
};

template <class T, class Paths>
__global__ void pull_pixels(const __grid_constant__ Paths paths, const __grid_constant__ DeviceSums<T> sink,
                            int64_t pixels) {
  for (int64_t pixel = first_item(); pixel < pixels; pixel += item_step()) paths.pull(pixel, sink);
}

template <class T, class Paths>
struct PullAll {
  Paths paths;
  int64_t pixels;
  PathGradients<T> out;
  GradientSums<T> sums;

  void plan(Workspace& workspace) { sums.plan(workspace); }
  void run(Queue& queue) {
    for (int k = 0; k < gradients; ++k) {
      if (out.values[k]) queue.fill_bytes(out.values[k], 0, out.counts[k] * static_cast<int64_t>(sizeof(T)));
    }
    sums.run(queue, [&](const GradientSum<T>& sum) {
      DeviceSums<T> sink = {out, sum, {}};
      for (int k = 0; k < gradients; ++k) sink.first[k] = out.first(k);
      queue.launch_items(pull_pixels<T, Paths>, pixels, paths, sink, pixels);
    });
    for (int k = 0; k < gradients; ++k) {
      if (out.values[k]) sums.finish(queue, out.first(k), out.counts[k], out.values[k]);
    }
  }
};

// paths.pull(pixel, sink): adds what a pixel's gradient gives.
template <class T, class Paths>
int32_t pull_paths(lg_call* call, const Paths& paths, int64_t pixels, const PathGradients<T>& out) {
  return run_op(call, PullAll<T, Paths>{paths, pixels, out, {call->deterministic != 0, out.first(gradients), 0}});
}

// The same with gradients by the rays of pixels, which paths write to paths.of_rays.
template <class T, class Paths>
struct PullAllAndRays {
  PullAll<T, Paths> all;
  GatherRays<T> rays;

  void plan(Workspace& workspace) {
    all.plan(workspace);
    if (rays.exist()) rays.of_pixels = all.paths.of_rays = workspace.take<T>(pixel_values * rays.pixels());
  }
  void run(Queue& queue) {
    all.run(queue);
    if (rays.exist()) for_each(queue, rays.corners(), rays);
  }
};

template <class T, class Paths>
int32_t pull_paths_and_rays(lg_call* call, const Paths& paths, const PathGradients<T>& out, const GatherRays<T>& rays) {
  const PullAll<T, Paths> all = {paths, rays.pixels(), out, {call->deterministic != 0, out.first(gradients), 0}};
  return run_op(call, PullAllAndRays<T, Paths>{all, rays});
}

}  // namespace lg::light
