// outline_fragments on the CPU.
#include "surface/outline_fragments.h"

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

int32_t lg_outline_fragments_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                     const int32_t* frag_tri, const int32_t* pixel, const void* place,
                                     int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                                     int64_t rows, int64_t samples, int64_t height, int64_t width, void* bary,
                                     void* depth, void* bary_d) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto s = lg::surface::make_samples<T>(pos, tri, frag_tri, pixel, place, shared_positions, views, vertices,
                                                triangles, rows, samples, height, width);
    lg::for_each(
        call->threads, s.samples.pixels(),
        lg::surface::FindFragments<T>{s, static_cast<T*>(bary), static_cast<T*>(depth), static_cast<T*>(bary_d)});
  });
}

int32_t lg_outline_fragments_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                                      const int32_t* frag_tri, const int32_t* pixel, const void* place,
                                      int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                                      int64_t rows, int64_t samples, int64_t height, int64_t width,
                                      const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
                                      void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto s = lg::surface::make_samples<T>(pos, tri, frag_tri, pixel, place, shared_positions, views, vertices,
                                                triangles, rows, samples, height, width);
    const lg::surface::PullFragments<T> body = {s, static_cast<const T*>(grad_bary), static_cast<const T*>(grad_depth),
                                                static_cast<const T*>(grad_bary_d)};
    lg::sum_corner_gradients<T>(call->threads, s.mesh, s.samples, body, static_cast<T*>(grad_pos));
  });
}
