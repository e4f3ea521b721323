// Soft images without fragments on the CPU.
#include "lumigrad.h"
#include "runtime/status.h"
#include "soft/blend.h"
#include "soft/blend_backward_cpu.h"
#include "soft/blend_forward_cpu.h"
#include "soft/scene.h"

int32_t lg_soft_blend_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, double blur_radius, int32_t flags, int32_t falloff,
                              double sigma, double gamma, double eps, double min_behind, double near, double far,
                              const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices,
                              int64_t channels, void* transmittance, void* color, void* behind, void* nearest,
                              void* total) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, ranges, shared_positions != 0, views, vertices, triangles,
                                               height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const auto images = lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total);
    if (falloff == lg::soft::falloff_exponential) {
      lg::soft::BlendForward<T, lg::soft::falloff_exponential>(scene, request, images).run(call->threads);
    } else {
      lg::soft::BlendForward<T, lg::soft::falloff_sigmoid>(scene, request, images).run(call->threads);
    }
  });
}

int32_t lg_soft_blend_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                               int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                               int64_t height, int64_t width, double blur_radius, int32_t flags, int32_t falloff,
                               double sigma, double gamma, double eps, double min_behind, double near, double far,
                               const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices,
                               int64_t channels, const void* transmittance, const void* color, const void* behind,
                               const void* nearest, const void* total, const void* grad_transmittance,
                               const void* grad_color, const void* grad_behind, void* grad_pos, void* grad_attr) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_scene<T>(pos, tri, ranges, shared_positions != 0, views, vertices, triangles,
                                               height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const auto images = lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total);
    const auto grads =
        lg::soft::make_blend_gradients<T>(grad_transmittance, grad_color, grad_behind, grad_pos, grad_attr);
    if (falloff == lg::soft::falloff_exponential) {
      lg::soft::BlendBackward<T, lg::soft::falloff_exponential>(scene, request, images).run(call->threads, grads);
    } else {
      lg::soft::BlendBackward<T, lg::soft::falloff_sigmoid>(scene, request, images).run(call->threads, grads);
    }
  });
}
