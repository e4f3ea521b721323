// rasterize on the CPU: visibility first, then attributes once per visible pixel; and the backward pass.
#include "lumigrad.h"
#include "runtime/status.h"
#include "surface/attribute_sink_cpu.h"
#include "surface/geometry.h"
#include "surface/rasterize_backward_cpu.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {
template void backward(int32_t, const Geometry<float>&, const FragmentGradients<float>&, float*);
template void backward(int32_t, const Geometry<double>&, const FragmentGradients<double>&, double*);
}  // namespace lg::surface

int32_t lg_rasterize_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                             int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                             int32_t subpixel_bits, const int32_t* after_tri, const float* after_zbuffer,
                             int32_t drop_coincident, int32_t* frag_tri, void* bary, void* depth, void* bary_d,
                             float* zbuffer, void* rast) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::surface::check_resolution(height, width);
    const auto request =
        lg::surface::make_visibility_request(dtype, pos, tri, ranges, views, vertices, triangles, height, width,
                                             subpixel_bits, after_tri, after_zbuffer, drop_coincident);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, ranges != nullptr, views, vertices, triangles, height, width);
    const bool stream = lg::worth_streaming(static_cast<int64_t>(sizeof(T)) * views * height * width);
    lg::surface::AttributeSink<T> sink(geometry, call->threads,
                                       {frag_tri, static_cast<T*>(bary), static_cast<T*>(depth),
                                        static_cast<T*>(bary_d), zbuffer, static_cast<T*>(rast), nullptr, stream});
    lg::surface::resolve_visibility(call->threads, request, sink);
  });
}

int32_t lg_rasterize_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int32_t straight_through, const int32_t* frag_tri,
                              const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
                              const void* grad_rast, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, shared_positions != 0, views, vertices, triangles, height, width);
    const auto in = lg::surface::make_fragment_gradients<T>(frag_tri, grad_bary, grad_depth, grad_bary_d, grad_rast,
                                                            straight_through);
    lg::surface::backward(call->threads, geometry, in, static_cast<T*>(grad_pos));
  });
}
