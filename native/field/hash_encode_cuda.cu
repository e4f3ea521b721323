// Hash encoding on CUDA: one thread per point and level; for the gradient of points, one thread per point.
#include "field/hash_encode.h"

#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "parallel/gradients_cuda.h"
#include "parallel/with_constant.h"
#include "runtime/cuda/launch.h"

namespace lg::field {
namespace {

template <class T, int Axes, int Channels>
struct PullTables {
  HashGrid<T> grid;
  const T* grad_out;
  T* grad;
  GradientSum<T> sum;

  struct Add {
    const GradientSum<T>& sum;
    T* grad;
    int64_t first;

    LG_DEVICE void operator()(uint32_t row, T weight, const T* given, int64_t channels) const {
      const int64_t slot = (first + row) * channels;
      for (int64_t c = 0; c < channels; ++c) sum.add(grad + slot + c, slot + c, weight * given[c]);
    }
  };

  LG_DEVICE void operator()(int64_t item) const {
    const auto level = static_cast<int32_t>(item / grid.points);
    const int64_t point = item % grid.points;
    HashBlock<T, Axes> block;
    block.locate(grid.level[level], grid.x + point * Axes, 1);
    pull_table<T, Axes, Channels>(grid, block, grad_out, level, point, 1, Add{sum, grad, grid.level[level].first});
  }
};

template <class T, int Axes, int Channels>
__global__ void __launch_bounds__(items_per_block)
    pull_tables(const __grid_constant__ PullTables<T, Axes, Channels> pull, int64_t items) {
  for (int64_t item = first_item(); item < items; item += item_step()) pull(item);
}

template <class T, int Axes, int Channels>
struct Backward {
  HashGrid<T> grid;
  const T* grad_out;
  T *grad_x, *grad_tables;
  int64_t values;  // rows of all tables, or 0
  GradientSums<T> sums;

  void plan(Workspace& workspace) { sums.plan(workspace); }
  void run(Queue& queue) {
    if (grad_x) for_each(queue, grid.points, HashPullPoints<T, Axes, Channels>{grid, grad_out, grad_x});
    if (!grad_tables) return;
    sums.run_whole(queue, values, grad_tables, [&](const GradientSum<T>& sum) {
      const int64_t items = grid.points * grid.levels;
      const PullTables<T, Axes, Channels> pull = {grid, grad_out, grad_tables, sum};
      queue.launch_items(pull_tables<T, Axes, Channels>, items, pull, items);
    });
  }
};

// Calls body(axes, channels) with constants.
template <class Body>
int32_t with_sizes(int64_t axes, int64_t channels, Body&& body) {
  int32_t status = 0;
  with_constant<2, 4>(
      channels, [&](auto fixed) { status = axes == 2 ? body(Constant<2>(), fixed) : body(Constant<3>(), fixed); });
  return status;
}

}  // namespace
}  // namespace lg::field

int32_t lg_hash_encode_forward(lg_call* call, int32_t dtype, const void* x, const void* tables, const int64_t* entries,
                               const int64_t* resolutions, int64_t points, int64_t axes, int64_t levels,
                               int64_t channels, void* out) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::field::make_hash_grid<T>(x, tables, entries, resolutions, points, axes, levels, channels);
    return lg::field::with_sizes(axes, channels, [&](auto a, auto c) {
      constexpr int constant_axes = decltype(a)::value, constant_channels = decltype(c)::value;
      const lg::field::HashForward<T, constant_axes, constant_channels> body = {grid, static_cast<T*>(out)};
      return lg::run_for_each(call, points * grid.levels, body);
    });
  });
}

int32_t lg_hash_encode_backward(lg_call* call, int32_t dtype, const void* x, const void* tables, const int64_t* entries,
                                const int64_t* resolutions, int64_t points, int64_t axes, int64_t levels,
                                int64_t channels, const void* grad_out, void* grad_x, void* grad_tables) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::field::make_hash_grid<T>(x, tables, entries, resolutions, points, axes, levels, channels);
    int64_t values = 0;
    for (int32_t l = 0; l < grid.levels && grad_tables; ++l) values += entries[l] * channels;
    const lg::GradientSums<T> sums(call->deterministic != 0, values, points << axes);
    return lg::field::with_sizes(axes, channels, [&](auto a, auto c) {
      constexpr int constant_axes = decltype(a)::value, constant_channels = decltype(c)::value;
      return lg::run_op(call, lg::field::Backward<T, constant_axes, constant_channels>{
                                  grid, static_cast<const T*>(grad_out), static_cast<T*>(grad_x),
                                  static_cast<T*>(grad_tables), values, sums});
    });
  });
}
