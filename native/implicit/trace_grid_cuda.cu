// trace_grid on CUDA: one thread per ray.
#include "implicit/trace_grid.h"

#include "parallel/for_each.h"
#include "runtime/cuda/launch.h"

int32_t lg_trace_grid(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                      int64_t depth, int64_t height, int64_t width, int64_t rays, double t_min, double t_max,
                      double band, void* hit, void* near, void* behind) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::implicit::TraceGrid<T> body = {
        static_cast<const T*>(grid), static_cast<const T*>(origins), static_cast<const T*>(directions),
        {width, height, depth},      static_cast<T>(t_min),          static_cast<T>(t_max),
        static_cast<T>(band),        static_cast<T*>(hit),           static_cast<T*>(near),
        static_cast<T*>(behind)};
    return lg::run_for_each(call, rays, body);
  });
}
