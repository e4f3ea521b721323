// Packed samples of rays on the CPU.
#include "field/sample_rays.h"

#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

namespace lg::field {
namespace {

constexpr int64_t rays_per_task = 128;

}  // namespace
}  // namespace lg::field

int32_t lg_sample_rays_count(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* box,
                             const void* limits, const void* shifts, const int64_t* occupancy, int64_t rays,
                             int64_t levels, int64_t occupied_slices, int64_t occupied_rows, int64_t occupied_columns,
                             double step, int64_t* counts) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::field::CountSamples<T> body = {
        lg::field::make_ray_sampler<T>(origins, directions, box, limits, shifts, occupancy, levels, occupied_slices,
                                       occupied_rows, occupied_columns, step),
        counts};
    lg::for_each(call->threads, rays, body, lg::field::rays_per_task);
  });
}

int32_t lg_sample_rays(lg_call* call, int32_t dtype, const void* origins, const void* directions, const void* box,
                       const void* limits, const void* shifts, const int64_t* occupancy, const int64_t* offsets,
                       int64_t rays, int64_t samples, int64_t levels, int64_t occupied_slices, int64_t occupied_rows,
                       int64_t occupied_columns, double step, void* t_start, void* t_end) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::field::WriteSamples<T> body = {
        lg::field::make_ray_sampler<T>(origins, directions, box, limits, shifts, occupancy, levels, occupied_slices,
                                       occupied_rows, occupied_columns, step),
        offsets, samples, static_cast<T*>(t_start), static_cast<T*>(t_end)};
    // With invalid offsets, some samples have no ray.
    std::fill_n(body.t_start, samples, T(0));
    std::fill_n(body.t_end, samples, T(0));
    lg::for_each(call->threads, rays, body, lg::field::rays_per_task);
  });
}
