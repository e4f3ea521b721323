// The visibility gradient of splats on CUDA: one warp per splat and view, so that the order of sums is the same in
// every run.
//
// Compiled without fused multiply-add: the pixels within reach are those of the CPU.
#include "splat/visibility.h"

#include "runtime/cuda/launch.h"

namespace lg {
namespace splat {
namespace {

template <class T>
struct Visibility {
  const T *xy, *radius, *grad_alpha;
  T* grad_xy;
  int64_t views, count, height, width;

  int64_t items() const { return views * count; }
  void plan(Workspace&) {}
  void run(Queue& queue);
};

// The lanes of a warp process blocks of 8 columns and 4 rows.
template <class T>
__global__ void __launch_bounds__(items_per_block)
    pull_visibility(const __grid_constant__ Visibility<T> op, int64_t items) {
  const auto lane = static_cast<int64_t>(lane_id());
  for (int64_t i = first_item() / 32; i < items; i += item_step() / 32) {
    const Reach reach = {double(op.xy[2 * i]), double(op.xy[2 * i + 1]), double(op.radius[i])};
    const Span rows = reach.any() ? reach.rows(op.height) : Span{0, 0};
    const T* image = op.grad_alpha + i / op.count * op.height * op.width;
    double sums[2] = {0, 0};
    for (int64_t row = rows.begin + lane / 8; row < rows.end; row += 4) {
      const double dy = double(row) + 0.5 - reach.y;
      const Span columns = reach.columns(dy, op.width);
      const T floor = T(dy * dy + min_distance2);
      T along = 0, whole = 0;
      for (int64_t column = columns.begin + lane % 8; column < columns.end; column += 8) {
        const T dx = T(double(column) + 0.5 - reach.x), weight = image[row * op.width + column] / (dx * dx + floor);
        along += weight * dx;
        whole += weight;
      }
      sums[0] += double(along);
      sums[1] += double(whole) * dy;
    }
    add_up_warp(sums);
    if (lane < 2) op.grad_xy[2 * i + lane] = T(lane == 0 ? sums[0] : sums[1]);
  }
}

template <class T>
void Visibility<T>::run(Queue& queue) {
  queue.launch_items(pull_visibility<T>, 32 * items(), *this, items());
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_visibility_backward(lg_call* call, int32_t dtype, int64_t views, int64_t count, int64_t height,
                                     int64_t width, const void* xy, const void* radii, const void* grad_out,
                                     void* grad_xy) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::run_op(call, lg::splat::Visibility<T>{static_cast<const T*>(xy), static_cast<const T*>(radii),
                                                     static_cast<const T*>(grad_out), static_cast<T*>(grad_xy), views,
                                                     count, height, width});
  });
}
