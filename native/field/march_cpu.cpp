// Marching through a grid on the CPU.
#include "field/march.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/grid_gradient_cpu.h"
#include "field/march_blocks_cpu.h"
#include "field/occupied_box_cpu.h"
#include "field/pull_blocks_cpu.h"
#include "lumigrad.h"
#include "math/bits.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace lg::field {
namespace {

constexpr int64_t rays_per_task = 64;
static_assert(rays_per_task % block_rays == 0, "whole groups");

template <class T>
void march_rays(int32_t threads, const MarchForward<T>& one) {
  const int64_t rays = one.march.rays;
  if (fits_blocks(one.march)) {
    with_layout(one.march.volume, [&](auto layout) {
      parallel_for(threads, divide_up(rays, rays_per_task), [&](int64_t task, int) {
        const int64_t end = std::min(rays, (task + 1) * rays_per_task);
        for (int64_t first = task * rays_per_task; first < end; first += block_rays) {
          march_group<decltype(layout)>(one, first, std::min(end, first + block_rays));
        }
      });
    });
  } else {
    for_each(threads, rays, one, rays_per_task);
  }
}

// Receives the contributions of rays to a grid whose gradient is not wanted.
template <class T>
class NoGridGradient final : public GiftSink<T> {
 public:
  void add(const int32_t*, const T*, T, T, int64_t) override {}
};

// Immediately adds the contributions of rays to a grid that is too large for blocks.
template <class T>
class AddToLargeGrid final : public GiftSink<T> {
 public:
  AddToLargeGrid(const Volume<T>& volume, T* grid, const T* features)
      : volume_(volume), grid_(grid), features_(features) {}

  void add(const int32_t* cell, const T* fraction, T density, T weight, int64_t ray) override {
    T weights[8];
    weights_of(fraction, weights);
    const int64_t count = volume_.channels - 1;
    for (int k = 0; k < 8; ++k) {
      T* to = grid_ + first_value(volume_, cell) + corner(volume_, k);
      to[0] += weights[k] * density;
      for (int64_t c = 0; features_ && weight != 0 && c < count; ++c) {
        to[c + 1] += weights[k] * (weight * features_[ray * count + c]);
      }
    }
  }

 private:
  const Volume<T>& volume_;
  T* grid_;
  const T* features_;
};

// The gradients of tasks of rays. Those of the box are summed by task.
template <class T>
class PullRays {
 public:
  PullRays(int32_t threads, const March<T>& march, const OutputGradients<T>& given, const MarchGradients<T>& out)
      : threads_(threads),
        march_(march),
        given_(given),
        out_(out),
        tasks_(divide_up(march.rays, rays_per_task)),
        back_(static_cast<size_t>(std::max(1, threads))),
        courses_(back_.size()),
        boxes_(static_cast<size_t>(6 * tasks_)) {}

  void run() {
    if (!out_.grid) {
      move_rays();
    } else if (fits_blocks(march_)) {
      with_layout(march_.volume, [&](auto layout) {
        using Layout = decltype(layout);
        sum_grid_gradient<Layout>(
            threads_, march_.volume, given_.features, out_.grid, tasks_, [&](int64_t task) { return samples_of(task); },
            [&](int64_t task, int worker, Trail<T>& trail, auto&& taken) {
              pull_task<Layout>(task, worker, trail, taken);
            });
      });
    } else {
      AddToLargeGrid<T> large(march_.volume, out_.grid, given_.features);
      std::fill_n(out_.grid, march_.volume.value_count(), T(0));
      for (int64_t task = 0; task < tasks_; ++task) {
        pull_one_by_one(task, [&](int64_t item) { return pull_ray(item, large); });
      }
    }
    for (int k = 0; out_.box && k < 6; ++k) {
      out_.box[k] = 0;
      for (int64_t task = 0; task < tasks_; ++task) out_.box[k] += boxes_[static_cast<size_t>(6 * task + k)];
    }
  }

 private:
  int64_t end_of(int64_t task) const { return std::min(march_.rays, (task + 1) * rays_per_task); }

  // Groups do not record which planes bound occupied cells.
  bool moves_in_groups() const { return fits_blocks(march_) && (march_.step != 0 || !march_.occupancy.words); }

  // All gradients except the grid's.
  void move_rays() {
    if (moves_in_groups()) {
      std::vector<Trail<T>> trails(back_.size());
      with_layout(march_.volume, [&](auto layout) {
        parallel_for(threads_, tasks_, [&](int64_t task, int worker) {
          Trail<T>& trail = trails[static_cast<size_t>(worker)];
          pull_task<decltype(layout)>(task, worker, trail, [&] { trail.clear(); });
        });
      });
    } else {
      NoGridGradient<T> none;
      parallel_for(threads_, tasks_, [&](int64_t task, int) {
        pull_one_by_one(task, [&](int64_t item) { return pull_ray(item, none); });
      });
    }
  }

  // An upper bound.
  int64_t samples_of(int64_t task) const {
    int64_t count = 0;
    for (int64_t item = task * rays_per_task; item < end_of(task); ++item) {
      const Ray<T> ray = march_.ray(item);
      count += Walk<T>(march_.volume, march_.occupancy, ray, march_.step).count();
    }
    return march_.step == 0 ? 3 * count : count;
  }

  template <class Layout, class Taken>
  void pull_task(int64_t task, int worker, Trail<T>& trail, Taken&& taken) {
    const auto pull_into_trail = [&](int64_t item) {
      CollectGifts<T> gifts(march_.volume, trail, item);
      const RayGradient<T> ray = pull_ray(item, gifts);
      gifts.finish();
      taken();
      return ray;
    };
    if (out_.moves() && !moves_in_groups()) return pull_one_by_one(task, pull_into_trail);
    T* box = boxes_.data() + 6 * task;
    std::fill_n(box, 6, T(0));
    const int64_t end = end_of(task);
    for (int64_t first = task * rays_per_task; first < end; first += block_rays) {
      const auto count = static_cast<int>(std::min<int64_t>(block_rays, end - first));
      RayGradient<T> rays[block_rays];
      const uint32_t wrong = pull_group<Layout>(first, count, worker, trail, rays);
      taken();
      for (uint32_t left = wrong; left; left &= left - 1) {
        const int r = lowest_bit(left);
        rays[r] = pull_into_trail(first + r);
      }
      for (int r = 0; out_.moves() && r < count; ++r) take(first + r, rays[r], box);
    }
  }

  // Returns the rays, as bits, that remain to be pulled one by one.
  template <class Layout>
  uint32_t pull_group(int64_t first, int count, int worker, Trail<T>& trail, RayGradient<T>* rays) {
    const auto w = static_cast<size_t>(worker);
    PullGroup<Layout, T> group(march_, given_, first, count, trail, back_[w], out_.moves() ? &courses_[w] : nullptr);
    const uint32_t wrong = group.run();
    if (!out_.moves()) return wrong;
    const MoveGroup<Layout, T> motion = group.motion(!(out_.origins || out_.directions || out_.box));
    for (int r = 0; r < count; ++r) {
      if (wrong >> r & 1 || motion.arrive(r, rays[r])) continue;
      NoGridGradient<T> none;
      rays[r] = pull_ray(first + r, none);
    }
    return wrong;
  }

  template <class Pull>
  void pull_one_by_one(int64_t task, Pull&& pull) {
    T* box = boxes_.data() + 6 * task;
    std::fill_n(box, 6, T(0));
    for (int64_t item = task * rays_per_task; item < end_of(task); ++item) take(item, pull(item), box);
  }

  void take(int64_t item, const RayGradient<T>& ray, T* box) const {
    out_.write(item, ray);
    for (int k = 0; k < 6; ++k) box[k] += finite(ray.box[k]);
  }

  RayGradient<T> pull_ray(int64_t item, GiftSink<T>& sink) const {
    RayGradient<T> ray;
    PullRay<T, GiftSink<T>>(march_, given_, item, out_.moves(), sink).run(&ray);
    return ray;
  }

  const int32_t threads_;
  const March<T>& march_;
  const OutputGradients<T>& given_;
  const MarchGradients<T>& out_;
  const int64_t tasks_;
  std::vector<Array<WayBack<T>>> back_;
  std::vector<Array<Course<T>>> courses_;
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
    auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                          columns, channels, occupied_slices, occupied_rows, occupied_columns, step,
                                          activation, min_transmittance);
    lg::field::find_occupied_box(march.occupancy, rays);
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
    auto march = lg::field::make_march<T>(grid, origins, directions, box, limits, occupancy, rays, slices, rows,
                                          columns, channels, occupied_slices, occupied_rows, occupied_columns, step,
                                          activation, min_transmittance);
    lg::field::find_occupied_box(march.occupancy, rays);
    const lg::field::OutputGradients<T> given = {static_cast<const T*>(grad_features),
                                                 static_cast<const T*>(grad_alpha), static_cast<const T*>(grad_depth)};
    const lg::field::MarchGradients<T> out = {static_cast<T*>(grad_grid), static_cast<T*>(grad_origins),
                                              static_cast<T*>(grad_directions), static_cast<T*>(grad_box),
                                              static_cast<T*>(grad_limits)};
    lg::field::PullRays<T>(call->threads, march, given, out).run();
  });
}
