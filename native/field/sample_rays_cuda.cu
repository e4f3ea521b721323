// Packed samples of rays on CUDA: one thread per ray.
//
// Compiled without fused multiply-add: rays go through the same cells as on the CPU.
#include "field/sample_rays.h"

#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/cuda/launch.h"

namespace lg::field {
namespace {

// With invalid offsets, some samples have no ray.
template <class T>
struct WriteAll {
  WriteSamples<T> body;
  int64_t rays;

  void plan(Workspace&) {}
  void run(Queue& queue) {
    const int64_t bytes = body.samples * static_cast<int64_t>(sizeof(T));
    queue.fill_bytes(body.t_start, 0, bytes);
    queue.fill_bytes(body.t_end, 0, bytes);
    for_each(queue, rays, body);
  }
};

}  // namespace
}  // namespace lg::field

int32_t lg_sample_rays_count(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* box,
                             const void* limits, const void* shifts, const int64_t* occupancy, int64_t rays,
                             int64_t levels, int64_t occupied_slices, int64_t occupied_rows, int64_t occupied_columns,
                             double step, int64_t* counts) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::field::CountSamples<T> body = {
        lg::field::make_ray_sampler<T>(origins, directions, box, limits, shifts, occupancy, levels, occupied_slices,
                                       occupied_rows, occupied_columns, step),
        counts};
    return lg::run_for_each(call, rays, body);
  });
}

int32_t lg_sample_rays(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* box,
                       const void* limits, const void* shifts, const int64_t* occupancy, const int64_t* offsets,
                       int64_t rays, int64_t samples, int64_t levels, int64_t occupied_slices, int64_t occupied_rows,
                       int64_t occupied_columns, double step, void* t_start, void* t_end) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::field::WriteSamples<T> body = {
        lg::field::make_ray_sampler<T>(origins, directions, box, limits, shifts, occupancy, levels, occupied_slices,
                                       occupied_rows, occupied_columns, step),
        offsets, samples, static_cast<T*>(t_start), static_cast<T*>(t_end)};
    return lg::run_op(call, lg::field::WriteAll<T>{body, rays});
  });
}
