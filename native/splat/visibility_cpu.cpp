// The visibility gradient of splats on the CPU.
#include "splat/visibility.h"

#include <algorithm>
#include <cstdint>

#include "common/parallel.h"
#include "common/status.h"
#include "lumigrad.h"

int32_t lg_splat_visibility(int32_t threads, int32_t dtype, int64_t views, int64_t count, int64_t height,
                            int64_t width, const void* xy, const void* radius, const void* grad_alpha,
                            void* grad_xy) {
  constexpr int64_t per_task = 256;
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const int64_t tasks = lg::divide_up(count, per_task);
    lg::parallel_for(threads, views * tasks, [&](int64_t task, int) {
      const int64_t view = task / tasks, begin = view * count + task % tasks * per_task;
      const int64_t end = std::min(begin + per_task, (view + 1) * count);
      const T* gradient = static_cast<const T*>(grad_alpha) + view * height * width;
      for (int64_t i = begin; i < end; ++i) {
        lg::splat::pull_visibility(static_cast<const T*>(xy) + 2 * i, static_cast<const T*>(radius)[i], gradient,
                                   height, width, static_cast<T*>(grad_xy) + 2 * i);
      }
    });
  });
}
