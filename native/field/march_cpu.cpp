// Marching through a grid on the CPU.
#include "field/march.h"

#include <algorithm>
#include <cstdint>

#include "field/grid_gradient_cpu.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

namespace lg::field {
namespace {

constexpr int64_t rays_per_task = 64;

}  // namespace
}  // namespace lg::field

int32_t lg_march_forward(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                         const void* box, const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices,
                         int64_t rows, int64_t columns, int64_t channels, int64_t occupied_slices,
                         int64_t occupied_rows, int64_t occupied_columns, double step, int32_t activation,
                         double min_transmittance, void* features, void* alpha, void* depth, void* median) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                                columns, channels, occupied_slices, occupied_rows, occupied_columns,
                                                step, activation, min_transmittance);
    const lg::field::MarchForward<T> body = {march, static_cast<T*>(features), static_cast<T*>(alpha),
                                             static_cast<T*>(depth), static_cast<T*>(median)};
    lg::for_each(call->threads, rays, body, lg::field::rays_per_task);
  });
}

int32_t lg_march_backward(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                          const void* box, const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices,
                          int64_t rows, int64_t columns, int64_t channels, int64_t occupied_slices,
                          int64_t occupied_rows, int64_t occupied_columns, double step, int32_t activation,
                          double min_transmittance, const void* grad_features, const void* grad_alpha,
                          const void* grad_depth, void* grad_grid, void* grad_origins, void* grad_directions,
                          void* grad_box, void* grad_limits) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                                columns, channels, occupied_slices, occupied_rows, occupied_columns,
                                                step, activation, min_transmittance);
    const lg::field::OutputGradients<T> given = {static_cast<const T*>(grad_features),
                                                 static_cast<const T*>(grad_alpha), static_cast<const T*>(grad_depth)};
    const lg::field::MarchGradients<T> out = {static_cast<T*>(grad_grid), static_cast<T*>(grad_origins),
                                              static_cast<T*>(grad_directions), static_cast<T*>(grad_box),
                                              static_cast<T*>(grad_limits)};
    lg::field::pull_rays(call->threads, march, given, out);
  });
}
