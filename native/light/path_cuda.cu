// Path tracing on CUDA: a thread for each pixel.
#include <cstdint>

#include "light/path.h"
#include "light/path_gradient.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"

namespace lg::light {
namespace {

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

template <class T>
__global__ void pull_pixels(const __grid_constant__ PullPaths<T> paths, const __grid_constant__ DeviceSums<T> sink,
                            int64_t pixels) {
  for (int64_t pixel = first_item(); pixel < pixels; pixel += item_step()) paths.pull(pixel, sink);
}

template <class T>
struct Backward {
  PullPaths<T> paths;
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
      queue.launch_items(pull_pixels<T>, pixels, paths, sink, pixels);
    });
    for (int k = 0; k < gradients; ++k) {
      if (out.values[k]) sums.finish(queue, out.first(k), out.counts[k], out.values[k]);
    }
  }
};

}  // namespace
}  // namespace lg::light

int32_t lg_trace_paths_forward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                               const void* directions, int64_t height, int64_t width, int32_t samples,
                               int32_t max_depth, int64_t seed, void* radiance, void* alpha, void* depth, void* normal,
                               void* albedo) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto body = lg::light::make_trace_paths<T>(*scene, origins, directions, width, samples, max_depth, seed,
                                                     radiance, alpha, depth, normal, albedo);
    return lg::run_for_each(call, height * width, body);
  });
}

int32_t lg_trace_paths_backward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                                const void* directions, int64_t height, int64_t width, int32_t samples,
                                int32_t max_depth, int64_t gradient_seed, const void* grad_radiance,
                                void* grad_corner_colors, void* grad_materials, void* grad_texels,
                                void* grad_lamp_intensities, void* grad_environment) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto paths = lg::light::make_pull_paths<T>(*scene, origins, directions, width, samples, max_depth,
                                                     gradient_seed, grad_radiance);
    const auto out = lg::light::make_path_gradients<T>(*scene, grad_corner_colors, grad_materials, grad_texels,
                                                       grad_lamp_intensities, grad_environment);
    const int64_t slots = out.first(lg::light::gradients);
    return lg::run_op(call, lg::light::Backward<T>{paths, height * width, out, {call->deterministic != 0, slots, 0}});
  });
}
