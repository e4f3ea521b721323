// Path tracing on the CPU.
#include <cstdint>

#include "light/path.h"
#include "light/path_gradient.h"
#include "light/pull_cpu.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

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
