// Path tracing on CUDA: a thread for each pixel.
#include <cstdint>

#include "light/path.h"
#include "lumigrad.h"
#include "parallel/for_each.h"

int32_t lg_trace_paths_forward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                               const void* directions, int64_t height, int64_t width, int32_t samples,
                               int32_t max_depth, int64_t seed, void* radiance, void* alpha, void* depth, void* normal,
                               void* albedo, void* through) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::light::with_or_without_media(*scene, [&](auto with_media) {
      const auto body = lg::light::make_trace_paths<T, decltype(with_media)::value>(
          *scene, origins, directions, width, samples, max_depth, seed, radiance, alpha, depth, normal, albedo,
          through);
      return lg::run_for_each(call, height * width, body);
    });
  });
}
