// Projection of Gaussians on the CPU.
#include "splat/project.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/parallel.h"
#include "common/status.h"
#include "lumigrad.h"

namespace lg {
namespace splat {
namespace {

constexpr int64_t per_task = 2048;

template <class T>
void project(int threads, const T* const* in, const double* settings, int64_t views, int64_t count, T* xy, T* conic,
             T* depth, T* compensation) {
  const int64_t tasks = divide_up(count, per_task);
  parallel_for(threads, views * tasks, [&](int64_t task, int) {
    const int64_t v = task / tasks, begin = task % tasks * per_task, end = std::min(count, begin + per_task);
    const Lens lens = lens_of(in[3], in[4], settings, v);
    for (int64_t p = begin; p < end; ++p) {
      ProjectedGaussian out{};
      out.depth = std::numeric_limits<double>::quiet_NaN();
      project_gaussian(lens, in[0] + 3 * p, in[1] + 4 * p, in[2] + 3 * p, &out);
      const int64_t i = v * count + p;
      for (int k = 0; k < 2; ++k) xy[2 * i + k] = T(out.xy[k]);
      for (int k = 0; k < 3; ++k) conic[3 * i + k] = T(out.conic[k]);
      depth[i] = T(out.depth);
      compensation[i] = T(out.compensation);
    }
  });
}

template <class T>
double value(const T* data, int64_t i) { return data ? double(data[i]) : 0.0; }

// grads_in: of xy, conic, depth, compensation, any null; out: of means, quats, scales, view, intrinsics.
template <class T>
void pull(int threads, const T* const* in, const double* settings, int64_t views, int64_t count,
          const T* const* grads_in, T* const* out) {
  const int64_t tasks = divide_up(count, per_task);
  std::vector<LensGradient> sums(static_cast<size_t>(tasks * views), LensGradient{});
  parallel_for(threads, tasks, [&](int64_t task, int) {
    const int64_t begin = task * per_task, end = std::min(count, begin + per_task);
    std::fill(out[0] + 3 * begin, out[0] + 3 * end, T(0));
    std::fill(out[1] + 4 * begin, out[1] + 4 * end, T(0));
    std::fill(out[2] + 3 * begin, out[2] + 3 * end, T(0));
    for (int64_t v = 0; v < views; ++v) {
      const Lens lens = lens_of(in[3], in[4], settings, v);
      for (int64_t p = begin; p < end; ++p) {
        const int64_t i = v * count + p;
        const ProjectedGaussian given = {
            {value(grads_in[0], 2 * i), value(grads_in[0], 2 * i + 1)},
            {value(grads_in[1], 3 * i), value(grads_in[1], 3 * i + 1), value(grads_in[1], 3 * i + 2)},
            value(grads_in[2], i), value(grads_in[3], i)};
        GaussianGradient g;
        if (!pull_gaussian(lens, in[0] + 3 * p, in[1] + 4 * p, in[2] + 3 * p, given, &g, &sums[task * views + v])) {
          continue;
        }
        for (int k = 0; k < 3; ++k) out[0][3 * p + k] += T(g.mean[k]);
        for (int k = 0; k < 4; ++k) out[1][4 * p + k] += T(g.quat[k]);
        for (int k = 0; k < 3; ++k) out[2][3 * p + k] += T(g.scale[k]);
      }
    }
  });
  for (int64_t v = 0; v < views; ++v) {
    double view[16] = {}, lens[4] = {};
    for (int64_t task = 0; task < tasks; ++task) {
      const LensGradient& sum = sums[task * views + v];
      for (int i = 0; i < 3; ++i) {
        const double sign = i == 0 ? 1 : -1;
        for (int k = 0; k < 3; ++k) view[4 * i + k] += sign * sum.turn[3 * i + k];
        view[4 * i + 3] += sign * sum.shift[i];
      }
      for (int k = 0; k < 4; ++k) lens[k] += sum.lens[k];
    }
    for (int k = 0; k < 16; ++k) out[3][16 * v + k] = T(view[k]);
    for (int k = 0; k < 4; ++k) out[4][4 * v + k] = T(lens[k]);
  }
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_project_gaussians_forward(int32_t threads, int32_t dtype, const void* const* inputs, const double* settings,
                                     int64_t views, int64_t count, void* xy, void* conic, void* depth,
                                     void* compensation) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::splat::project<T>(threads, reinterpret_cast<const T* const*>(inputs), settings, views, count,
                          static_cast<T*>(xy), static_cast<T*>(conic), static_cast<T*>(depth),
                          static_cast<T*>(compensation));
  });
}

int32_t lg_project_gaussians_backward(int32_t threads, int32_t dtype, const void* const* inputs,
                                      const double* settings, int64_t views, int64_t count,
                                      const void* const* grad_outputs, void* const* grads) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::splat::pull<T>(threads, reinterpret_cast<const T* const*>(inputs), settings, views, count,
                       reinterpret_cast<const T* const*>(grad_outputs), reinterpret_cast<T* const*>(grads));
  });
}
