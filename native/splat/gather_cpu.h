// Converts the gradients of primitives, tile by tile, to those of the inputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/threads.h"
#include "splat/backward_cpu.h"

namespace lg {
namespace splat {

// Destinations of gradients, each possibly null. The layout is that of the inputs.
template <class T>
struct Outputs {
  T *positions, *shapes, *depths, *opacities, *features, *background, *matrix, *intrinsics, *gamma;
};

// The gradient of one kind of value, summed from the records of the primitives to which the value belongs.
template <class T>
void pass_on(const PerPrimitive<T>& input, T* grad, int64_t view, int64_t p, const T* values) {
  if (!grad) return;
  T* target = grad + ((input.views > 1 ? view * input.primitives : 0) + p) * input.channels;
  const bool first = view == 0 || input.views > 1;
  for (int64_t c = 0; c < input.channels; ++c) target[c] = first ? values[c] : target[c] + values[c];
}

// Converts the gradient of a point in camera space to that of the point in the world, and adds to the view matrix's.
template <class T>
void to_world(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, T* grad, double* grad_view) {
  const double g[3] = {double(grad[0]), double(grad[1]), double(grad[2])};
  const T* x = scene.positions.at(v, p);
  for (int k = 0; k < 3; ++k) {
    const double sign = k == 2 ? -1 : 1;
    for (int j = 0; j < 3; ++j) grad_view[4 * k + j] += sign * g[k] * double(x[j]);
    grad_view[4 * k + 3] += sign * g[k];
  }
  for (int j = 0; j < 3; ++j) {
    grad[j] = T(g[0] * camera.rotation[j] + g[1] * camera.rotation[3 + j] + g[2] * camera.rotation[6 + j]);
  }
}

// Without a view, what all views share has no gradient.
template <class T>
void clear(const Scene<T>& scene, const Outputs<T>& out) {
  const std::pair<const PerPrimitive<T>*, T*> values[] = {{&scene.positions, out.positions},
                                                          {&scene.shapes, out.shapes},
                                                          {&scene.depths, out.depths},
                                                          {&scene.opacities, out.opacities},
                                                          {&scene.features, out.features}};
  for (const auto& [input, grad] : values) {
    if (grad) std::fill_n(grad, input->views * input->primitives * input->channels, T(0));
  }
  if (out.background) std::fill_n(out.background, scene.background_views * scene.channels, T(0));
}

template <class T, class Footprint>
void gather(int threads, const Scene<T>& scene, const Bins& bins, const T* records, const Outputs<T>& out) {
  constexpr int64_t per_task = 2048;
  using R = Record<Footprint>;
  const int64_t size = R::size(scene.channels), count = scene.primitives, views = scene.tiles.views;
  if (views == 0) clear(scene, out);
  const int64_t tasks = divide_up(count, per_task);
  std::vector<double> grad_view(static_cast<size_t>(tasks * views * 12), 0.0);
  parallel_for(threads, tasks, [&](int64_t task, int) {
    std::vector<T> total(static_cast<size_t>(size));
    const int64_t end = std::min(count, (task + 1) * per_task);
    for (int64_t v = 0; v < views; ++v) {
      const Camera camera = scene.camera(v);
      double* of_view = grad_view.data() + (task * views + v) * 12;
      for (int64_t p = task * per_task; p < end; ++p) {
        const int64_t i = v * count + p;
        std::fill(total.begin(), total.end(), T(0));
        const int64_t* slot = bins.slot.data() + (bins.count[i] ? bins.first[i] : 0);
        for (int32_t k = 0; k < bins.count[i]; ++k) {
          const T* record = records + slot[k] * size;
          for (int64_t c = 0; c < size; ++c) total[c] += record[c];
        }
        if (Footprint::position == 3 && bins.count[i]) to_world(scene, camera, v, p, total.data(), of_view);
        pass_on(scene.positions, out.positions, v, p, total.data());
        pass_on(scene.shapes, out.shapes, v, p, total.data() + R::shape);
        pass_on(scene.opacities, out.opacities, v, p, total.data() + R::opacity);
        pass_on(scene.features, out.features, v, p, total.data() + R::features);
        if (scene.depths.data) pass_on(scene.depths, out.depths, v, p, total.data() + R::depth(scene.channels));
      }
    }
  });
  for (int64_t v = 0; out.matrix && v < views; ++v) {
    double sum[16] = {};
    for (int64_t task = 0; task < tasks; ++task) {
      for (int k = 0; k < 12; ++k) sum[k] += grad_view[(task * views + v) * 12 + k];
    }
    for (int k = 0; k < 16; ++k) out.matrix[16 * v + k] = T(sum[k]);
  }
}

template <class T>
void gather_tiles(const Scene<T>& scene, const T* tile_records, const Outputs<T>& out) {
  const int64_t size = tile_record_size(scene.channels), channels = scene.channels;
  double gamma = 0;
  std::vector<double> sum(static_cast<size_t>(size), 0.0);
  for (int64_t v = 0; v < scene.tiles.views; ++v) {
    const bool shared = scene.background_views == 1;
    if (!shared || v == 0) std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(sum.begin() + channels, sum.end(), 0.0);
    for (int64_t tile = v * scene.tiles.per_view(); tile < (v + 1) * scene.tiles.per_view(); ++tile) {
      for (int64_t c = 0; c < size; ++c) sum[c] += double(tile_records[tile * size + c]);
    }
    for (int64_t c = 0; out.background && c < channels; ++c)
      out.background[(shared ? 0 : v * channels) + c] = T(sum[c]);
    for (int64_t k = 0; out.intrinsics && k < 4; ++k) out.intrinsics[4 * v + k] = T(sum[channels + k]);
    gamma += sum[channels + 4];
  }
  if (out.gamma) *out.gamma = T(gamma);
}

}  // namespace splat
}  // namespace lg
