// The position gradient of edge_gradient on CUDA.
#include "surface/edge_gradient.h"

#include "lumigrad.h"
#include "runtime/cuda/launch.h"

int32_t lg_edge_gradient_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                                  const void* bary, const void* pos, const int32_t* tri, int32_t shared_positions,
                                  int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                                  int64_t channels, const void* grad_out, void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto image = lg::surface::make_surface_image<T>(color, grad_out, frag_tri, pos, tri, shared_positions, views,
                                                          vertices, triangles, height, width, channels);
    const lg::surface::EdgeGradient<T> body = {image, static_cast<const T*>(bary)};
    return lg::sum_corner_gradients(call, image.mesh, image.image, body.gives, body, static_cast<T*>(grad_pos));
  });
}
