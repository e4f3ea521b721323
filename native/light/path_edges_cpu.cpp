// Gradients of what paths see of one another, on the CPU.
#include <cstdint>

#include "light/path_edges.h"
#include "light/pull_cpu.h"
#include "light/shared_cpu.h"
#include "lumigrad.h"
#include "runtime/status.h"

int32_t lg_path_edges_backward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                               const void* directions, int64_t height, int64_t width, int32_t samples,
                               int32_t max_depth, int64_t seed, const int32_t* edge_ends, const void* edge_shapes,
                               const void* edge_sums, int64_t edge_count, int32_t candidates, const void* grad_out,
                               void* grad_positions, void* grad_corner_normals, void* grad_origins,
                               void* grad_directions) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto paths =
        lg::light::make_pull_path_edges<T>(*scene, origins, directions, width, samples, max_depth, seed, edge_ends,
                                           edge_shapes, edge_sums, edge_count, candidates, grad_out);
    lg::light::GradientBuffers to = {};
    to.positions = grad_positions;
    to.corner_normals = grad_corner_normals;
    const lg::light::GatherRays<T> rays = {nullptr, static_cast<T*>(grad_origins), static_cast<T*>(grad_directions),
                                           height, width};
    lg::light::pull_paths_and_rays(call->threads, paths, lg::light::make_path_gradients<T>(*scene, to), rays);
  });
}
