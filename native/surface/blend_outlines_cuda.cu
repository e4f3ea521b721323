// blend_outlines on CUDA: one thread adds up the pieces of a pixel, which are consecutive.
#include "surface/blend_outlines.h"

#include "parallel/for_each.h"

namespace lg::surface {
namespace {

template <class T>
struct Blend {
  OutlineColors<T> s;
  const T* color;
  T* out;

  void plan(Workspace&) {}
  void run(Queue& queue) {
    queue.copy(out, color, s.image.pixels() * s.channels * static_cast<int64_t>(sizeof(T)));
    for_each(queue, s.image.views * s.samples, BlendPixel<T>{s, color, out});
  }
};

template <class T>
struct PullColors {
  OutlineColors<T> s;
  const T* grad_out;
  T *grad_color, *grad_side_color;

  void plan(Workspace&) {}
  void run(Queue& queue) {
    const int64_t samples = s.image.views * s.samples;
    if (grad_color) {
      queue.copy(grad_color, grad_out, s.image.pixels() * s.channels * static_cast<int64_t>(sizeof(T)));
      for_each(queue, samples, PullPixelColor<T>{s, grad_out, grad_color});
    }
    if (grad_side_color) for_each(queue, samples, PullSideColors<T>{s, grad_out, grad_side_color});
  }
};

}  // namespace
}  // namespace lg::surface

int32_t lg_blend_outlines_forward(lg_call* call, int32_t dtype, const void* color, const void* side_color,
                                  const int32_t* pixel, const void* weight, int64_t views, int64_t height,
                                  int64_t width, int64_t channels, int64_t samples, void* out) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto s =
        lg::surface::make_outline_colors<T>(side_color, pixel, weight, views, height, width, channels, samples);
    return lg::run_op(call, lg::surface::Blend<T>{s, static_cast<const T*>(color), static_cast<T*>(out)});
  });
}

int32_t lg_blend_outlines_backward(lg_call* call, int32_t dtype, const void* side_color, const void* pos,
                                   const int32_t* pixel, const int32_t* line, const void* place, const void* weight,
                                   const void* length, const int32_t* tri, int32_t shared_positions, int64_t views,
                                   int64_t vertices, int64_t triangles, int64_t height, int64_t width, int64_t channels,
                                   int64_t samples, const void* grad_out, void* grad_color, void* grad_side_color,
                                   void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto s =
        lg::surface::make_outline_colors<T>(side_color, pixel, weight, views, height, width, channels, samples);
    const auto* grad = static_cast<const T*>(grad_out);
    const lg::MeshIndex mesh = {tri, vertices, triangles, shared_positions != 0};
    if (grad_pos) {
      const lg::surface::PullOutlines<T> body = {
          s, static_cast<const T*>(pos), grad, static_cast<const T*>(place), static_cast<const T*>(length), line, mesh};
      const int32_t status =
          lg::sum_corner_gradients<T>(call, mesh, {views, 1, samples}, 2, body, static_cast<T*>(grad_pos));
      if (status != LG_OK) return status;
    }
    return lg::run_op(
        call, lg::surface::PullColors<T>{s, grad, static_cast<T*>(grad_color), static_cast<T*>(grad_side_color)});
  });
}
