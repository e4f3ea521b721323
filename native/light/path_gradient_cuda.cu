// Gradients of path tracing on CUDA. A file of its own: ptxas takes minutes for it.
#include <cstdint>

#include "light/path_gradient.h"
#include "light/pull_cuda.h"
#include "lumigrad.h"

int32_t lg_trace_paths_backward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                                const void* directions, int64_t height, int64_t width, int32_t samples,
                                int32_t max_depth, int64_t gradient_seed, const void* grad_radiance,
                                const void* grad_through, void* grad_positions, void* grad_corner_normals,
                                void* grad_corner_uvs, void* grad_corner_second_uvs, void* grad_corner_colors,
                                void* grad_materials, void* grad_texels, void* grad_lamps, void* grad_lamp_intensities,
                                void* grad_environment, void* grad_environment_rotation, void* grad_media,
                                void* grad_medium_values, void* grad_origins, void* grad_directions) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto out = lg::light::make_path_gradients<T>(
        *scene, {grad_positions, grad_corner_normals, grad_corner_uvs, grad_corner_second_uvs, grad_corner_colors,
                 grad_materials, grad_texels, grad_lamps, grad_lamp_intensities, grad_environment,
                 grad_environment_rotation, grad_media, grad_medium_values});
    const lg::light::GatherRays<T> rays = {nullptr, static_cast<T*>(grad_origins), static_cast<T*>(grad_directions),
                                           height, width};
    const auto pull = [&](auto moves, auto with_media) {
      const auto paths = lg::light::make_pull_paths<T, decltype(moves)::value, decltype(with_media)::value>(
          *scene, origins, directions, width, samples, max_depth, gradient_seed, grad_radiance, grad_through);
      return lg::light::pull_paths_and_rays(call, paths, out, rays);
    };
    return lg::light::with_kind_of_paths(*scene, out.move(*scene) || rays.exist(), pull);
  });
}
