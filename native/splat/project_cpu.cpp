// Projection of Gaussians and surfels on the CPU.
#include "splat/project_kinds.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "lumigrad.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg {
namespace splat {
namespace {

constexpr int64_t per_task = 2048;

template <class Kind, class T>
void project(int threads, const T* const* in, const double* settings, int64_t views, int64_t count, T* const* to) {
  const int64_t tasks = divide_up(count, per_task);
  parallel_for(threads, views * tasks, [&](int64_t task, int) {
    const int64_t v = task / tasks, begin = task % tasks * per_task, end = std::min(count, begin + per_task);
    const View view = view_of(in[3], in[4], settings, v);
    for (int64_t p = begin; p < end; ++p) {
      typename Kind::Projected out{};
      out.depth = std::numeric_limits<double>::quiet_NaN();
      Kind::project(view, in[0] + 3 * p, in[1] + 4 * p, in[2] + Kind::scales * p, &out);
      double values[sizeof out / sizeof(double)];
      std::memcpy(values, &out, sizeof out);
      for_outputs<Kind>(v * count + p, [&](int k, int64_t place, int from, int size) {
        for (int c = 0; c < size; ++c) to[k][place + c] = T(values[from + c]);
      });
    }
  });
}

// grads: of the outputs, each possibly null.
template <class Kind, class T>
typename Kind::Projected gradient_of(const T* const* grads, int64_t i) {
  double values[sizeof(typename Kind::Projected) / sizeof(double)] = {};
  for_outputs<Kind>(i, [&](int k, int64_t place, int from, int size) {
    for (int c = 0; grads[k] && c < size; ++c) values[from + c] = double(grads[k][place + c]);
  });
  typename Kind::Projected out;
  std::memcpy(&out, values, sizeof out);
  return out;
}

// The gradients of a view's matrix and intrinsics, summed over tasks whose sums are `step` apart.
template <class T>
void write_view(const ViewGradient* sums, int64_t tasks, int64_t step, T* grad_matrix, T* grad_intrinsics) {
  double matrix[16] = {}, intrinsics[4] = {};
  for (int64_t task = 0; task < tasks; ++task) {
    const ViewGradient& sum = sums[task * step];
    for (int i = 0; i < 3; ++i) {
      const double sign = i == 0 ? 1 : -1;
      for (int k = 0; k < 3; ++k) matrix[4 * i + k] += sign * sum.rotation[3 * i + k];
      matrix[4 * i + 3] += sign * sum.translation[i];
    }
    for (int k = 0; k < 4; ++k) intrinsics[k] += sum.intrinsics[k];
  }
  for (int k = 0; grad_matrix && k < 16; ++k) grad_matrix[k] = T(matrix[k]);
  for (int k = 0; grad_intrinsics && k < 4; ++k) grad_intrinsics[k] = T(intrinsics[k]);
}

// out: of means, quats, scales, matrix, intrinsics, each possibly null.
template <class Kind, class T>
void pull(int threads, const T* const* in, const double* settings, int64_t views, int64_t count, const T* const* grads,
          T* const* out) {
  constexpr int scales = Kind::scales;
  const int64_t tasks = divide_up(count, per_task);
  std::vector<ViewGradient> sums(static_cast<size_t>(tasks * views), ViewGradient{});
  parallel_for(threads, tasks, [&](int64_t task, int) {
    const int64_t begin = task * per_task, end = std::min(count, begin + per_task);
    if (out[0]) std::fill(out[0] + 3 * begin, out[0] + 3 * end, T(0));
    if (out[1]) std::fill(out[1] + 4 * begin, out[1] + 4 * end, T(0));
    if (out[2]) std::fill(out[2] + scales * begin, out[2] + scales * end, T(0));
    for (int64_t v = 0; v < views; ++v) {
      const View view = view_of(in[3], in[4], settings, v);
      for (int64_t p = begin; p < end; ++p) {
        typename Kind::Gradient g;
        if (!Kind::pull(view, in[0] + 3 * p, in[1] + 4 * p, in[2] + scales * p, gradient_of<Kind>(grads, v * count + p),
                        &g, &sums[task * views + v])) {
          continue;
        }
        for (int k = 0; out[0] && k < 3; ++k) out[0][3 * p + k] += T(g.mean[k]);
        for (int k = 0; out[1] && k < 4; ++k) out[1][4 * p + k] += T(g.quat[k]);
        for (int k = 0; out[2] && k < scales; ++k) out[2][scales * p + k] += T(g.scale[k]);
      }
    }
  });
  for (int64_t v = 0; v < views; ++v) {
    write_view(sums.data() + v, tasks, views, out[3] ? out[3] + 16 * v : nullptr, out[4] ? out[4] + 4 * v : nullptr);
  }
}

template <class Kind>
int32_t project_all(int32_t threads, int32_t dtype, const void* const* inputs, const double* settings, int64_t views,
                    int64_t count, void* const* outputs) {
  return dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    project<Kind>(threads, reinterpret_cast<const T* const*>(inputs), settings, views, count,
                  reinterpret_cast<T* const*>(outputs));
  });
}

template <class Kind>
int32_t pull_all(int32_t threads, int32_t dtype, const void* const* inputs, const double* settings, int64_t views,
                 int64_t count, const void* const* grad_outputs, void* const* grads) {
  return dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    pull<Kind>(threads, reinterpret_cast<const T* const*>(inputs), settings, views, count,
               reinterpret_cast<const T* const*>(grad_outputs), reinterpret_cast<T* const*>(grads));
  });
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_project_gaussians_forward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                     const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                     int64_t count, int64_t height, int64_t width, double blur, double near, double far,
                                     int32_t orthographic, void* xy, void* conics, void* depths, void* compensations) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {double(height), double(width), blur, near, far, double(orthographic)};
  void* const outputs[4] = {xy, conics, depths, compensations};
  return lg::splat::project_all<lg::splat::GaussianKind>(call->threads, dtype, inputs, settings, views, count, outputs);
}

int32_t lg_project_gaussians_backward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                      const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                      int64_t count, int64_t height, int64_t width, double blur, double near,
                                      double far, int32_t orthographic, const void* grad_xy, const void* grad_conics,
                                      const void* grad_depths, const void* grad_compensations, void* grad_means,
                                      void* grad_quats, void* grad_scales, void* grad_matrix, void* grad_intrinsics) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {double(height), double(width), blur, near, far, double(orthographic)};
  const void* const given[4] = {grad_xy, grad_conics, grad_depths, grad_compensations};
  void* const grads[5] = {grad_means, grad_quats, grad_scales, grad_matrix, grad_intrinsics};
  return lg::splat::pull_all<lg::splat::GaussianKind>(call->threads, dtype, inputs, settings, views, count, given,
                                                      grads);
}

int32_t lg_project_surfels_forward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                   const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                   int64_t count, double near, double far, int32_t orthographic, void* xy, void* shapes,
                                   void* depths, void* normals) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {0, 0, 0, near, far, double(orthographic)};
  void* const outputs[4] = {xy, shapes, depths, normals};
  return lg::splat::project_all<lg::splat::SurfelKind>(call->threads, dtype, inputs, settings, views, count, outputs);
}

int32_t lg_project_surfels_backward(lg_call* call, int32_t dtype, const void* means, const void* quats,
                                    const void* scales, const void* matrix, const void* intrinsics, int64_t views,
                                    int64_t count, double near, double far, int32_t orthographic, const void* grad_xy,
                                    const void* grad_shapes, const void* grad_depths, const void* grad_normals,
                                    void* grad_means, void* grad_quats, void* grad_scales, void* grad_matrix,
                                    void* grad_intrinsics) {
  const void* const inputs[5] = {means, quats, scales, matrix, intrinsics};
  const double settings[6] = {0, 0, 0, near, far, double(orthographic)};
  const void* const given[4] = {grad_xy, grad_shapes, grad_depths, grad_normals};
  void* const grads[5] = {grad_means, grad_quats, grad_scales, grad_matrix, grad_intrinsics};
  return lg::splat::pull_all<lg::splat::SurfelKind>(call->threads, dtype, inputs, settings, views, count, given, grads);
}
