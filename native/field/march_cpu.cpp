// Marching through a grid on the CPU.
#include "field/march.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/grid_gradient_cpu.h"
#include "field/march_blocks_cpu.h"
#include "field/pull_blocks_cpu.h"
#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace lg::field {
namespace {

constexpr int64_t rays_per_task = 64;

template <class T>
void march_rays(int32_t threads, const MarchForward<T>& one) {
  const int64_t rays = one.march.rays;
  if (fits_blocks(one.march)) {
    with_layout(one.march.volume, [&](auto layout) {
      parallel_for(threads, divide_up(rays, bundle_size), [&](int64_t bundle, int) {
        march_bundle<decltype(layout)>(one, bundle * bundle_size, std::min(rays, (bundle + 1) * bundle_size));
      });
    });
  } else {
    for_each(threads, rays, one, rays_per_task);
  }
}

// The gradients of tasks of rays. Those of the box are added up by task.
template <class T>
class PullRays {
 public:
  PullRays(int32_t threads, const March<T>& march, const OutputGradients<T>& given, const MarchGradients<T>& out)
      : threads_(threads),
        march_(march),
        given_(given),
        out_(out),
        tasks_(divide_up(march.rays, rays_per_task)),
        blocks_(fits_blocks(march) && !out.moves()),
        trails_(static_cast<size_t>(std::max(1, threads))),
        boxes_(static_cast<size_t>(6 * tasks_)) {}

  void run() {
    if (out_.grid) {
      with_layout(march_.volume, [&](auto layout) {
        using Layout = decltype(layout);
        sum_grid_gradient<Layout>(
            threads_, march_.volume, given_.features, out_.grid, tasks_, [&](int64_t task) { return samples_of(task); },
            [&](int64_t task, int worker, const GiftSink<T>& sink) { pull_task<Layout>(task, worker, sink); });
      });
    } else {
      const NoGridGradient<T> none;
      parallel_for(threads_, tasks_, [&](int64_t task, int) { pull_one_by_one(task, none); });
    }
    for (int k = 0; out_.box && k < 6; ++k) {
      out_.box[k] = 0;
      for (int64_t task = 0; task < tasks_; ++task) out_.box[k] += boxes_[static_cast<size_t>(6 * task + k)];
    }
  }

 private:
  int64_t end_of(int64_t task) const { return std::min(march_.rays, (task + 1) * rays_per_task); }

  // At most so many.
  int64_t samples_of(int64_t task) const {
    int64_t count = 0;
    for (int64_t item = task * rays_per_task; item < end_of(task); ++item) {
      const Ray<T> ray = march_.ray(item);
      count += Walk<T>(march_.volume, march_.occupancy, ray, march_.step).count();
    }
    return march_.step == 0 ? 3 * count : count;
  }

  template <class Layout>
  void pull_task(int64_t task, int worker, const GiftSink<T>& sink) {
    if (!blocks_) return pull_one_by_one(task, sink);
    const int64_t end = end_of(task);
    for (int64_t item = task * rays_per_task; item < end; item += trail_bundle_size) {
      pull_bundle<Layout>(march_, given_, item, std::min(end, item + trail_bundle_size),
                          trails_[static_cast<size_t>(worker)], sink, [&](int64_t one) { pull_ray(one, sink); });
    }
  }

  void pull_one_by_one(int64_t task, const GiftSink<T>& sink) {
    T* box = boxes_.data() + 6 * task;
    std::fill_n(box, 6, T(0));
    for (int64_t item = task * rays_per_task; item < end_of(task); ++item) {
      const RayGradient<T> ray = pull_ray(item, sink);
      out_.write(item, ray);
      for (int k = 0; k < 6; ++k) box[k] += finite(ray.box[k]);
    }
  }

  RayGradient<T> pull_ray(int64_t item, const GiftSink<T>& sink) const {
    CollectGifts<T> gifts(march_.volume, sink);
    RayGradient<T> ray;
    PullRay<T, CollectGifts<T>>(march_, given_, item, out_.moves(), gifts).run(&ray);
    gifts.finish();
    return ray;
  }

  const int32_t threads_;
  const March<T>& march_;
  const OutputGradients<T>& given_;
  const MarchGradients<T>& out_;
  const int64_t tasks_;
  const bool blocks_;
  std::vector<std::vector<Trail<T>>> trails_;
  Buffer<T> boxes_;
};

}  // namespace
}  // namespace lg::field

int32_t lg_march_forward(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                         const void* box, const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices,
                         int64_t rows, int64_t columns, int64_t channels, int64_t occupied_slices,
                         int64_t occupied_rows, int64_t occupied_columns, double step, int32_t activation,
                         double min_transmittance, void* features, void* alpha, void* depth, void* median) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                                columns, channels, occupied_slices, occupied_rows, occupied_columns,
                                                step, activation, min_transmittance);
    const lg::field::MarchForward<T> body = {march, static_cast<T*>(features), static_cast<T*>(alpha),
                                             static_cast<T*>(depth), static_cast<T*>(median)};
    lg::field::march_rays(call->threads, body);
  });
}

int32_t lg_march_backward(lg_call* call, int32_t dtype, const void* grid, const void* origins, const void* directions,
                          const void* box, const void* limits, const int64_t* occupancy, int64_t rays, int64_t slices,
                          int64_t rows, int64_t columns, int64_t channels, int64_t occupied_slices,
                          int64_t occupied_rows, int64_t occupied_columns, double step, int32_t activation,
                          double min_transmittance, const void* grad_features, const void* grad_alpha,
                          const void* grad_depth, void* grad_grid, void* grad_origins, void* grad_directions,
                          void* grad_box, void* grad_limits) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                                columns, channels, occupied_slices, occupied_rows, occupied_columns,
                                                step, activation, min_transmittance);
    const lg::field::OutputGradients<T> given = {static_cast<const T*>(grad_features),
                                                 static_cast<const T*>(grad_alpha), static_cast<const T*>(grad_depth)};
    const lg::field::MarchGradients<T> out = {static_cast<T*>(grad_grid), static_cast<T*>(grad_origins),
                                              static_cast<T*>(grad_directions), static_cast<T*>(grad_box),
                                              static_cast<T*>(grad_limits)};
    lg::field::PullRays<T>(call->threads, march, given, out).run();
  });
}
