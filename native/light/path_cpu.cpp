// Path tracing on the CPU.
#include <algorithm>
#include <cstdint>

#include "light/path.h"
#include "light/path_gradient.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace lg::light {
namespace {

constexpr int64_t pixels_per_task = 32;

// ---- Gradients -----------------------------------------------------------------------------------------------
//
// Any path may add to any value. Pixels are divided into parts, each of which adds to sums of its own in the order of
// its pixels; then the parts are added up. How many there are depends on sizes alone, so the result does not depend on
// threads.

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

template <class T>
void pull_paths(int32_t threads, const PullPaths<T>& paths, int64_t pixels, const PathGradients<T>& out) {
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
      for (int64_t pixel = task * pixels_per_task; pixel < end; ++pixel) paths.pull(pixel, sink);
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

}  // namespace
}  // namespace lg::light

int32_t lg_trace_paths_forward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                               const void* directions, int64_t height, int64_t width, int32_t samples,
                               int32_t max_depth, int64_t seed, void* radiance, void* alpha, void* depth, void* normal,
                               void* albedo) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto body = lg::light::make_trace_paths<T>(*scene, origins, directions, width, samples, max_depth, seed,
                                                     radiance, alpha, depth, normal, albedo);
    lg::for_each(call->threads, height * width, body, lg::light::pixels_per_task);
  });
}

int32_t lg_trace_paths_backward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                                const void* directions, int64_t height, int64_t width, int32_t samples,
                                int32_t max_depth, int64_t gradient_seed, const void* grad_radiance,
                                void* grad_corner_colors, void* grad_materials, void* grad_texels,
                                void* grad_lamp_intensities, void* grad_environment) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto paths = lg::light::make_pull_paths<T>(*scene, origins, directions, width, samples, max_depth,
                                                     gradient_seed, grad_radiance);
    lg::light::pull_paths(call->threads, paths, height * width,
                          lg::light::make_path_gradients<T>(*scene, grad_corner_colors, grad_materials, grad_texels,
                                                            grad_lamp_intensities, grad_environment));
  });
}
