// Compositing of packed samples on the CPU.
#include "field/composite.h"

#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace lg::field {
namespace {

constexpr int64_t rays_per_task = 256;

// Samples of no ray have no gradient.
template <class T>
void clear(const CompositeBackward<T>& body) {
  const int64_t samples = body.samples.samples;
  std::fill_n(body.grad_density, samples, T(0));
  if (body.grad_features) std::fill_n(body.grad_features, samples * body.samples.channels, T(0));
  if (body.grad_t_start) std::fill_n(body.grad_t_start, samples, T(0));
  if (body.grad_t_end) std::fill_n(body.grad_t_end, samples, T(0));
}

}  // namespace
}  // namespace lg::field

int32_t lg_composite_forward(lg_call* call, int32_t dtype, const void* density, const void* features,
                             const void* t_start, const void* t_end, const void* norms, const int64_t* offsets,
                             int64_t rays, int64_t samples, int64_t channels, int32_t opacity, void* features_out,
                             void* alpha, void* depth, void* weights) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::field::CompositeForward<T> body = {
        lg::field::make_packed_samples<T>(density, features, t_start, t_end, norms, offsets, samples, channels,
                                          opacity),
        static_cast<T*>(features_out), static_cast<T*>(alpha), static_cast<T*>(depth), static_cast<T*>(weights)};
    // Samples of no ray have no weight.
    std::fill_n(body.weights, samples, T(0));
    lg::for_each(call->threads, rays, body, lg::field::rays_per_task);
  });
}

int32_t lg_composite_backward(lg_call* call, int32_t dtype, const void* density, const void* features,
                              const void* t_start, const void* t_end, const void* norms, const int64_t* offsets,
                              int64_t rays, int64_t samples, int64_t channels, int32_t opacity,
                              const void* grad_features_out, const void* grad_alpha, const void* grad_depth,
                              const void* grad_weights, void* grad_density, void* grad_features, void* grad_t_start,
                              void* grad_t_end, void* grad_norms) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto packed = lg::field::make_packed_samples<T>(density, features, t_start, t_end, norms, offsets, samples,
                                                          channels, opacity);
    const auto given = [](const void* grad) { return static_cast<const T*>(grad); };
    const auto wanted = [](void* grad) { return static_cast<T*>(grad); };
    lg::field::CompositeBackward<T> body = {packed,
                                            given(grad_features_out),
                                            given(grad_alpha),
                                            given(grad_depth),
                                            given(grad_weights),
                                            wanted(grad_density),
                                            wanted(grad_features),
                                            wanted(grad_t_start),
                                            wanted(grad_t_end),
                                            wanted(grad_norms)};
    lg::Buffer<T> scratch(grad_density ? 0 : static_cast<size_t>(samples));
    if (!grad_density) body.grad_density = scratch.data();
    lg::field::clear(body);
    lg::for_each(call->threads, rays, body, lg::field::rays_per_task);
  });
}
