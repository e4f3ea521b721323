// Rays through a tree on the CPU.
#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "math/divide_up.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "ray/group_cpu.h"
#include "ray/packet_cpu.h"
#include "ray/ray_lanes_cpu.h"
#include "ray/trace.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg::ray {
namespace {

constexpr int64_t rays_per_task = 512, rays_per_chunk = 4096;

// Calls trace(rays, first, how many) for sixteen rays that go together, a Packet, and for others, a RayGroup.
template <class T, class Trace>
void for_rays(int threads, int64_t count, const RayBatch<T>& rays, const float* bounds, Trace&& trace) {
  parallel_for(threads, divide_up(count, rays_per_task), [&](int64_t task, int) {
    const int64_t end = std::min(count, (task + 1) * rays_per_task);
    RayLanes<T> given;
    Packet<T> packet;
    RayGroup<T> group;
    for (int64_t first = task * rays_per_task; first < end; first += packet_size) {
      const int size = static_cast<int>(std::min<int64_t>(end - first, packet_size));
      given.gather([&](int l) { return rays[first + (l < size ? l : 0)]; });
      if (size == packet_size && packet.load(given, bounds)) {
        trace(packet, first, size);
      } else {
        group.load(given, size, bounds);
        trace(group, first, size);
      }
    }
  });
}

}  // namespace
}  // namespace lg::ray

int32_t lg_trace_forward(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* limits,
                         const float* boxes, const int32_t* children, const void* corners, const int32_t* leaf_tri,
                         const float* bounds, int64_t rays, int64_t nodes, int64_t leaves, int64_t triangles,
                         int64_t /*levels*/, double t_min, double t_max, int32_t* hit_tri, void* bary, void* t) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto bvh = lg::ray::make_view<T>(boxes, children, corners, leaf_tri, bounds, nodes, leaves, triangles);
    const auto given = lg::ray::make_batch<T>(origins, directions, limits, t_min, t_max);
    const lg::ray::HitArrays<T> hits = {hit_tri, static_cast<T*>(bary), static_cast<T*>(t)};
    lg::ray::for_rays(call->threads, rays, given, bounds, [&](auto& together, int64_t first, int size) {
      together.closest_hits(bvh, [&](int l, const lg::ray::Hit<T>& found) {
        if (l < size) hits.write(first + l, found);
      });
    });
  });
}

int32_t lg_trace_backward(lg_call* call, int32_t dtype, const void* directions, const void* vertices,
                          const int32_t* faces, const int32_t* hit_tri, const void* bary, const void* t, int64_t rays,
                          int64_t vertex_count, int64_t triangles, const void* grad_bary, const void* grad_t,
                          void* grad_origins, void* grad_directions, void* grad_vertices) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto body = lg::ray::make_pull_back<T>(directions, vertices, faces, hit_tri, bary, t, vertex_count, triangles,
                                                 grad_bary, grad_t, grad_origins, grad_directions);
    const lg::TileGrid chunks(1, 1, rays, lg::ray::rays_per_chunk);
    lg::TriangleGradients<T> records(call->threads, chunks.count(), 9);
    lg::parallel_for(call->threads, chunks.count(), [&](int64_t chunk, int worker) {
      records.begin_chunk(chunk, worker, 0);
      for (int64_t i = chunks[chunk].x0; i < chunks[chunk].x1; ++i) {
        T value[9];
        if (!body(i, value) || !grad_vertices) continue;
        T* sum = records.values(worker, records.find(worker, hit_tri[i]));
        for (int k = 0; k < 9; ++k) sum[k] += value[k];
      }
      records.end_chunk(chunk, worker);
    });
    if (grad_vertices) {
      records.scatter(call->threads, faces, vertex_count, 1, true, 3, static_cast<T*>(grad_vertices));
    }
  });
}

int32_t lg_occluded(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* limits,
                    const float* boxes, const int32_t* children, const void* corners, const int32_t* leaf_tri,
                    const float* bounds, int64_t rays, int64_t nodes, int64_t leaves, int64_t triangles,
                    int64_t /*levels*/, double t_min, double t_max, uint8_t* hit) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto bvh = lg::ray::make_view<T>(boxes, children, corners, leaf_tri, bounds, nodes, leaves, triangles);
    const auto given = lg::ray::make_batch<T>(origins, directions, limits, t_min, t_max);
    lg::ray::for_rays(call->threads, rays, given, bounds, [&](auto& together, int64_t first, int size) {
      const uint32_t found = together.any_hits(bvh);
      for (int l = 0; l < size; ++l) hit[first + l] = found >> l & 1;
    });
  });
}
