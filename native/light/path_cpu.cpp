// Path tracing on the CPU.
#include <cstdint>
#include <type_traits>

#include "light/path.h"
#include "light/path_lanes_cpu.h"
#include "light/pull_cpu.h"
#include "light/shared_cpu.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

int32_t lg_trace_paths_forward(lg_call* call, int32_t dtype, const lg_lit_scene* scene, const void* origins,
                               const void* directions, int64_t height, int64_t width, int32_t samples,
                               int32_t max_depth, int64_t seed, void* radiance, void* alpha, void* depth, void* normal,
                               void* albedo, void* through) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::light::with_or_without_media(*scene, [&](auto with_media) {
      const auto body = lg::light::make_trace_paths<T, decltype(with_media)::value>(
          *scene, origins, directions, width, samples, max_depth, seed, radiance, alpha, depth, normal, albedo,
          through);
      if constexpr (decltype(with_media)::value) {
        lg::for_each(call->threads, height * width, body, lg::light::pixels_per_task);
      } else {
        lg::light::trace_image(call->threads, height * width, body);
      }
    });
  });
}
