// Rays through a tree on CUDA: a thread for each ray.
#include <cstdint>

#include "parallel/for_each.h"
#include "parallel/gradients_cuda.h"
#include "ray/trace.h"
#include "runtime/cuda/launch.h"

namespace lg::ray {
namespace {

// Calls run(capacity) with the size of a stack that is large enough, as a constant.
template <class Run>
int32_t with_stack(int64_t levels, Run&& run) {
  if (levels <= max_levels && stack_needed(static_cast<int>(levels)) <= usual_stack) {
    return run(std::integral_constant<int, usual_stack>());
  }
  return run(std::integral_constant<int, largest_stack>());
}

// Lanes that hit the same triangle add up what they give to its corners.
template <class T>
__global__ void pull_back_hits(const __grid_constant__ PullBackHits<T> body, int64_t rays,
                               const __grid_constant__ GradientSum<T> sum, T* grad_vertices) {
  const int64_t whole_warps = (rays + warp_size - 1) / warp_size * warp_size;
  for (int64_t i = first_item(); i < whole_warps; i += item_step()) {
    T value[9] = {};
    const bool given = i < rays && body(i, value);
    if (!grad_vertices) continue;
    const int32_t triangle = given ? body.hit_tri[i] : -1;
    if (!warp_any(given)) continue;
    const uint32_t peers = warp_match(triangle);
    add_up_peers(peers, value);
    int64_t row[3];
    if (!is_lowest(peers) || !body.mesh.rows(0, triangle, row)) continue;
    for (int k = 0; k < 9; ++k) {
      const int64_t slot = 3 * row[k / 3] + k % 3;
      sum.add(grad_vertices + slot, slot, value[k]);
    }
  }
}

template <class T>
struct PullBack {
  PullBackHits<T> body;
  int64_t rays, slots;
  T* grad_vertices;
  GradientSums<T> sums;

  void plan(Workspace& workspace) {
    if (grad_vertices) sums.plan(workspace);
  }
  void run(Queue& queue) {
    const auto pass = [&](const GradientSum<T>& sum) {
      queue.launch_items(pull_back_hits<T>, rays, body, rays, sum, grad_vertices);
    };
    if (grad_vertices) {
      sums.run_whole(queue, slots, grad_vertices, pass);
    } else {
      pass(GradientSum<T>{});
    }
  }
};

}  // namespace
}  // namespace lg::ray

int32_t lg_trace_forward(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* limits,
                         const float* boxes, const int32_t* children, const void* corners, const int32_t* leaf_tri,
                         const float* bounds, int64_t rays, int64_t nodes, int64_t leaves, int64_t triangles,
                         int64_t levels, double t_min, double t_max, int32_t* hit_tri, void* bary, void* t) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::ray::with_stack(levels, [&](auto capacity) {
      const lg::ray::TraceRays<T, capacity> body = {
          lg::ray::make_view<T>(boxes, children, corners, leaf_tri, bounds, nodes, leaves, triangles),
          lg::ray::make_batch<T>(origins, directions, limits, t_min, t_max),
          {hit_tri, static_cast<T*>(bary), static_cast<T*>(t)}};
      return lg::run_for_each(call, rays, body);
    });
  });
}

int32_t lg_trace_backward(lg_call* call, int32_t dtype, const void* directions, const void* vertices,
                          const int32_t* faces, const int32_t* hit_tri, const void* bary, const void* t, int64_t rays,
                          int64_t vertex_count, int64_t triangles, const void* grad_bary, const void* grad_t,
                          void* grad_origins, void* grad_directions, void* grad_vertices) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto body = lg::ray::make_pull_back<T>(directions, vertices, faces, hit_tri, bary, t, vertex_count, triangles,
                                                 grad_bary, grad_t, grad_origins, grad_directions);
    const int64_t slots = 3 * vertex_count;
    return lg::run_op(call, lg::ray::PullBack<T>{body, rays, slots, static_cast<T*>(grad_vertices),
                                                 lg::GradientSums<T>(call->deterministic != 0, slots, 3 * rays)});
  });
}

int32_t lg_occluded(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* limits,
                    const float* boxes, const int32_t* children, const void* corners, const int32_t* leaf_tri,
                    const float* bounds, int64_t rays, int64_t nodes, int64_t leaves, int64_t triangles, int64_t levels,
                    double t_min, double t_max, uint8_t* hit) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::ray::with_stack(levels, [&](auto capacity) {
      const lg::ray::FindOccluded<T, capacity> body = {
          lg::ray::make_view<T>(boxes, children, corners, leaf_tri, bounds, nodes, leaves, triangles),
          lg::ray::make_batch<T>(origins, directions, limits, t_min, t_max), hit};
      return lg::run_for_each(call, rays, body);
    });
  });
}
