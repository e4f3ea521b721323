// Rays through a tree on the CPU.
#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "math/divide_up.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "ray/packet_cpu.h"
#include "ray/trace.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg::ray {
namespace {

constexpr int64_t rays_per_task = 512, rays_per_chunk = 4096;

// Calls packet(first, packet) for sixteen rays that go together, one(i) for others.
template <class T, class OfPacket, class OfOne>
void for_rays(int threads, int64_t count, const RayBatch<T>& rays, const float* bounds, OfPacket&& of_packet,
              OfOne&& of_one) {
  parallel_for(threads, divide_up(count, rays_per_task), [&](int64_t task, int) {
    const int64_t end = std::min(count, (task + 1) * rays_per_task);
    Packet<T> packet;
    for (int64_t first = task * rays_per_task; first < end; first += packet_size) {
      const int64_t last = std::min(end, first + packet_size);
      if (last - first == packet_size && packet.load([&](int l) { return rays[first + l]; }, bounds)) {
        of_packet(first, packet);
      } else {
        for (int64_t i = first; i < last; ++i) of_one(i);
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
    const lg::ray::TraceRays<T, lg::ray::largest_stack> body = {
        lg::ray::make_view<T>(boxes, children, corners, leaf_tri, bounds, nodes, leaves, triangles),
        lg::ray::make_batch<T>(origins, directions, limits, t_min, t_max),
        {hit_tri, static_cast<T*>(bary), static_cast<T*>(t)}};
    lg::ray::for_rays(
        call->threads, rays, body.rays, bounds,
        [&](int64_t first, lg::ray::Packet<T>& packet) {
          packet.closest_hits(body.bvh, [&](int l, const lg::ray::Hit<T>& hit) { body.hits.write(first + l, hit); });
        },
        body);
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
    const lg::ray::FindOccluded<T, lg::ray::largest_stack> body = {
        lg::ray::make_view<T>(boxes, children, corners, leaf_tri, bounds, nodes, leaves, triangles),
        lg::ray::make_batch<T>(origins, directions, limits, t_min, t_max), hit};
    lg::ray::for_rays(
        call->threads, rays, body.rays, bounds,
        [&](int64_t first, lg::ray::Packet<T>& packet) {
          const uint32_t found = packet.any_hits(body.bvh);
          for (int l = 0; l < lg::ray::packet_size; ++l) hit[first + l] = found >> l & 1;
        },
        body);
  });
}
