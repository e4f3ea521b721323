// Marching through a grid on CUDA: one thread per ray.
//
// Compiled without fused multiply-add: rays take the same number of steps as on the CPU.
#include "field/march.h"

#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"

namespace lg::field {
namespace {

template <class T>
struct AddToGrid {
  const Volume<T>& volume;
  T* grid;
  const T* features;
  const GradientSum<T>& sum;

  LG_DEVICE void add(const int32_t* cell, const T* fraction, T density, T scale, int64_t ray) const {
    if (!grid) return;
    T weight[8];
    weights_of(fraction, weight);
    const int64_t first = first_value(volume, cell);
    for (int k = 0; k < 8; ++k) {
      const int64_t slot = first + corner(volume, k);
      sum.add(grid + slot, slot, weight[k] * density);
      for (int64_t c = 1; c < volume.channels && features && scale != 0; ++c) {
        sum.add(grid + slot + c, slot + c, weight[k] * scale * features[ray * (volume.channels - 1) + c - 1]);
      }
    }
  }
};

template <class T>
struct Pull {
  March<T> march;
  OutputGradients<T> given;
  MarchGradients<T> out;
  GradientSum<T> grid, box;

  LG_DEVICE void operator()(int64_t item) const {
    AddToGrid<T> sink = {march.volume, out.grid, given.features, grid};
    RayGradient<T> ray;
    PullRay<T, AddToGrid<T>>(march, given, item, out.moves(), sink).run(&ray);
    out.write(item, ray);
    for (int k = 0; out.box && k < 6; ++k) box.add(out.box + k, k, finite(ray.box[k]));
  }
};

template <class T>
__global__ void __launch_bounds__(items_per_block) pull_rays(const __grid_constant__ Pull<T> pull, int64_t rays) {
  for (int64_t item = first_item(); item < rays; item += item_step()) pull(item);
}

template <class T>
struct Backward {
  March<T> march;
  OutputGradients<T> given;
  MarchGradients<T> out;
  int64_t grid_values;
  GradientSums<T> grid, box;

  void plan(Workspace& workspace) {
    grid.plan(workspace);
    box.plan(workspace);
  }
  void run(Queue& queue) {
    const int64_t box_values = out.box ? 6 : 0;
    queue.fill_bytes(out.grid, 0, grid_values * static_cast<int64_t>(sizeof(T)));
    queue.fill_bytes(out.box, 0, box_values * static_cast<int64_t>(sizeof(T)));
    grid.clear(queue);
    box.clear(queue);
    // Both are accumulated in the same rounds.
    (grid_values > 0 ? grid : box).run(queue, [&](const GradientSum<T>& sum) {
      const Pull<T> pull = {march, given, out, grid.in_round(sum.round), box.in_round(sum.round)};
      queue.launch_items(pull_rays<T>, march.rays, pull, march.rays);
    });
    grid.finish(queue, 0, grid_values, out.grid);
    box.finish(queue, 0, box_values, out.box);
  }
};

}  // namespace
}  // namespace lg::field

int32_t lg_march_forward(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                         const void* box, const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices,
                         int64_t rows, int64_t columns, int64_t channels, int64_t occupied_slices,
                         int64_t occupied_rows, int64_t occupied_columns, double step, int32_t activation,
                         double min_transmittance, void* features, void* alpha, void* depth, void* median) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                                columns, channels, occupied_slices, occupied_rows, occupied_columns,
                                                step, activation, min_transmittance);
    const lg::field::MarchForward<T> body = {march, static_cast<T*>(features), static_cast<T*>(alpha),
                                             static_cast<T*>(depth), static_cast<T*>(median)};
    return lg::run_for_each(call, rays, body);
  });
}

int32_t lg_march_backward(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                          const void* box, const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices,
                          int64_t rows, int64_t columns, int64_t channels, int64_t occupied_slices,
                          int64_t occupied_rows, int64_t occupied_columns, double step, int32_t activation,
                          double min_transmittance, const void* grad_features, const void* grad_alpha,
                          const void* grad_depth, void* grad_grid, void* grad_origins, void* grad_directions,
                          void* grad_box, void* grad_limits) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                                columns, channels, occupied_slices, occupied_rows, occupied_columns,
                                                step, activation, min_transmittance);
    const lg::field::OutputGradients<T> given = {static_cast<const T*>(grad_features),
                                                 static_cast<const T*>(grad_alpha), static_cast<const T*>(grad_depth)};
    const lg::field::MarchGradients<T> out = {static_cast<T*>(grad_grid), static_cast<T*>(grad_origins),
                                              static_cast<T*>(grad_directions), static_cast<T*>(grad_box),
                                              static_cast<T*>(grad_limits)};
    // Every contribution is counted, because the number of samples in a cell is not known beforehand.
    const int64_t values = grad_grid ? slices * rows * columns * channels : 0;
    const bool exact = call->deterministic != 0;
    return lg::run_op(
        call, lg::field::Backward<T>{march, given, out, values, {exact, values, 0}, {exact, grad_box ? 6 : 0, 0}});
  });
}
