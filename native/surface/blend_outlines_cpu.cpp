// blend_outlines on the CPU.
#include "surface/blend_outlines.h"

#include "lumigrad.h"
#include "parallel/copy_values.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

int32_t lg_blend_outlines_forward(lg_call* call, int32_t dtype, const void* color, const void* side_color,
                                  const int32_t* pixel, const void* weight, int64_t views, int64_t height,
                                  int64_t width, int64_t channels, int64_t samples, void* out) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto s =
        lg::surface::make_outline_colors<T>(side_color, pixel, weight, views, height, width, channels, samples);
    lg::copy_values(call->threads, s.image.pixels() * channels, static_cast<const T*>(color), static_cast<T*>(out));
    lg::for_each(call->threads, views * samples,
                 lg::surface::BlendPixel<T>{s, static_cast<const T*>(color), static_cast<T*>(out)});
  });
}

int32_t lg_blend_outlines_backward(lg_call* call, int32_t dtype, const void* side_color, const void* pos,
                                   const int32_t* pixel, const int32_t* line, const void* place, const void* weight,
                                   const void* length, const int32_t* tri, int32_t shared_positions, int64_t views,
                                   int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                                   int64_t samples, const void* grad_out, void* grad_color, void* grad_side_color,
                                   void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto s =
        lg::surface::make_outline_colors<T>(side_color, pixel, weight, views, height, width, channels, samples);
    const auto* grad = static_cast<const T*>(grad_out);
    if (grad_color) {
      lg::copy_values(call->threads, s.image.pixels() * channels, grad, static_cast<T*>(grad_color));
      lg::for_each(call->threads, views * samples,
                   lg::surface::PullPixelColor<T>{s, grad, static_cast<T*>(grad_color)});
    }
    if (grad_side_color) {
      lg::for_each(call->threads, views * samples,
                   lg::surface::PullSideColors<T>{s, grad, static_cast<T*>(grad_side_color)});
    }
    if (!grad_pos) return;
    const lg::MeshIndex mesh = {tri, vertices, triangles, shared_positions != 0};
    const lg::surface::PullOutlines<T> body = {
        s, static_cast<const T*>(pos), grad, static_cast<const T*>(place), static_cast<const T*>(length), line, mesh};
    lg::sum_corner_gradients<T>(call->threads, mesh, {views, 1, samples}, body, static_cast<T*>(grad_pos));
  });
}
