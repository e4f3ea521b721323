// Direct light on the CPU.
#include <cstdint>

#include "light/direct.h"
#include "light/pull_cpu.h"
#include "light/shared_cpu.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

int32_t lg_direct_light_forward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const int32_t* hit_tri,
                                const void* bary, const void* directions, int64_t points, int32_t samples, double reach,
                                int64_t seed, void* radiance, void* normal, void* albedo) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto direct = lg::light::make_direct_call<T>(*scene, hit_tri, bary, directions, samples, reach, seed);
    const lg::light::DirectLight<T> body = {direct, static_cast<T*>(radiance), static_cast<T*>(normal),
                                            static_cast<T*>(albedo)};
    lg::for_each(call->threads, points, body, lg::light::pixels_per_task);
  });
}

int32_t lg_direct_light_backward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const int32_t* hit_tri,
                                 const void* bary, const void* directions, int64_t points, int32_t samples,
                                 double reach, int64_t gradient_seed, const void* grad_radiance,
                                 void* grad_corner_colors, void* grad_materials, void* grad_texels,
                                 void* grad_lamp_intensities, void* grad_environment) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::light::GradientBuffers to = {};
    to.corner_colors = grad_corner_colors;
    to.materials = grad_materials;
    to.texels = grad_texels;
    to.lamp_intensities = grad_lamp_intensities;
    to.environment = grad_environment;
    const lg::light::PullDirect<T> pull = {
        lg::light::make_direct_call<T>(*scene, hit_tri, bary, directions, samples, reach, gradient_seed),
        static_cast<const T*>(grad_radiance)};
    lg::light::pull_paths(call->threads, pull, points, lg::light::make_path_gradients<T>(*scene, to));
  });
}
