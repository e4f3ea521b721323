// The visibility gradient of splats on the CPU.
#include "splat/visibility.h"

#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "math/lane_offsets.h"
#include "math/lanes.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg {
namespace splat {
namespace {

// grad_alpha [height, width]
template <class T>
void pull_visibility(const T* xy, T radius, const T* grad_alpha, int64_t height, int64_t width, T* out) {
  const Reach reach = {double(xy[0]), double(xy[1]), double(radius)};
  const Span rows = reach.any() ? reach.rows(height) : Span{0, 0};
  double sum_x = 0, sum_y = 0;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const double dy = double(row) + 0.5 - reach.y;
    const Span columns = reach.columns(dy, width);
    const T* g = grad_alpha + row * width;
    const T floor = T(dy * dy + min_distance2);
    Lanes<T> along(T(0)), whole(T(0));
    int64_t column = columns.begin;
    for (; column + 16 <= columns.end; column += 16) {
      const Lanes<T> dx = T(double(column) + 0.5 - reach.x) + load(LaneOffsets<T>::ahead);
      const Lanes<T> weight = load(g + column) / (dx * dx + floor);
      along += weight * dx;
      whole += weight;
    }
    double rest_along = 0, rest_whole = 0;
    for (; column < columns.end; ++column) {
      const T dx = T(double(column) + 0.5 - reach.x), weight = g[column] / (dx * dx + floor);
      rest_along += double(weight * dx);
      rest_whole += double(weight);
    }
    sum_x += double(sum(along)) + rest_along;
    sum_y += (double(sum(whole)) + rest_whole) * dy;
  }
  out[0] = T(sum_x), out[1] = T(sum_y);
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_visibility_backward(lg_call* call, int32_t dtype, int64_t views, int64_t count, int64_t height,
                                     int64_t width, const void* xy, const void* radii, const void* grad_out,
                                     void* grad_xy) {
  constexpr int64_t per_task = 256;
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const int64_t tasks = lg::divide_up(count, per_task);
    lg::parallel_for(call->threads, views * tasks, [&](int64_t task, int) {
      const int64_t view = task / tasks, begin = view * count + task % tasks * per_task;
      const int64_t end = std::min(begin + per_task, (view + 1) * count);
      const T* gradient = static_cast<const T*>(grad_out) + view * height * width;
      for (int64_t i = begin; i < end; ++i) {
        lg::splat::pull_visibility(static_cast<const T*>(xy) + 2 * i, static_cast<const T*>(radii)[i], gradient, height,
                                   width, static_cast<T*>(grad_xy) + 2 * i);
      }
    });
  });
}
