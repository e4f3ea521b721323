// Compositing of packed samples on CUDA: one thread per ray.
#include "field/composite.h"

#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/cuda/launch.h"

namespace lg::field {
namespace {

// Samples of no ray have neither weight nor gradient.
template <class T>
struct Forward {
  CompositeForward<T> body;
  int64_t rays;

  void plan(Workspace&) {}
  void run(Queue& queue) {
    queue.fill_bytes(body.weights, 0, body.samples.samples * static_cast<int64_t>(sizeof(T)));
    for_each(queue, rays, body);
  }
};

template <class T>
struct Backward {
  CompositeBackward<T> body;
  int64_t rays;

  void plan(Workspace& workspace) {
    if (!body.grad_density) scratch_ = workspace.take<T>(body.samples.samples), scratch_wanted_ = true;
  }
  void run(Queue& queue) {
    CompositeBackward<T> filled = body;
    if (scratch_wanted_) filled.grad_density = scratch_;
    const int64_t bytes = body.samples.samples * static_cast<int64_t>(sizeof(T));
    queue.fill_bytes(filled.grad_density, 0, bytes);
    if (body.grad_features) queue.fill_bytes(body.grad_features, 0, bytes * body.samples.channels);
    if (body.grad_t_start) queue.fill_bytes(body.grad_t_start, 0, bytes);
    if (body.grad_t_end) queue.fill_bytes(body.grad_t_end, 0, bytes);
    for_each(queue, rays, filled);
  }

  T* scratch_ = nullptr;
  bool scratch_wanted_ = false;
};

}  // namespace
}  // namespace lg::field

int32_t lg_composite_forward(lg_call* call, int32_t dtype, const void* density, const void* features,
                             const void* t_start, const void* t_end, const void* norms, const int64_t* offsets,
                             int64_t rays, int64_t samples, int64_t channels, int32_t opacity, void* features_out,
                             void* alpha, void* depth, void* weights) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::field::CompositeForward<T> body = {
        lg::field::make_packed_samples<T>(density, features, t_start, t_end, norms, offsets, samples, channels,
                                          opacity),
        static_cast<T*>(features_out), static_cast<T*>(alpha), static_cast<T*>(depth), static_cast<T*>(weights)};
    return lg::run_op(call, lg::field::Forward<T>{body, rays});
  });
}

int32_t lg_composite_backward(lg_call* call, int32_t dtype, const void* density, const void* features,
                              const void* t_start, const void* t_end, const void* norms, const int64_t* offsets,
                              int64_t rays, int64_t samples, int64_t channels, int32_t opacity,
                              const void* grad_features_out, const void* grad_alpha, const void* grad_depth,
                              const void* grad_weights, void* grad_density, void* grad_features, void* grad_t_start,
                              void* grad_t_end, void* grad_norms) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto packed = lg::field::make_packed_samples<T>(density, features, t_start, t_end, norms, offsets, samples,
                                                          channels, opacity);
    const auto given = [](const void* grad) { return static_cast<const T*>(grad); };
    const auto wanted = [](void* grad) { return static_cast<T*>(grad); };
    const lg::field::CompositeBackward<T> body = {packed,
                                                  given(grad_features_out),
                                                  given(grad_alpha),
                                                  given(grad_depth),
                                                  given(grad_weights),
                                                  wanted(grad_density),
                                                  wanted(grad_features),
                                                  wanted(grad_t_start),
                                                  wanted(grad_t_end),
                                                  wanted(grad_norms)};
    return lg::run_op(call, lg::field::Backward<T>{body, rays});
  });
}
