// Gradients of many pixels, added up on the CPU.
//
// Any path may add to any value. Pixels are divided into parts, each of which adds to sums of its own in the order of
// its pixels; then the parts are added up. How many there are depends on sizes alone, so the result does not depend on
// threads. Gradients with too many values for this are added up by logs (pull_log_cpu.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "light/gradients.h"
#include "light/pull_log_cpu.h"
#include "light/ray_grid.h"
#include "math/scalar.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"

namespace lg::light {

constexpr int64_t pixels_per_task = 32;
constexpr int64_t most_parts = 64, most_sums = int64_t{1} << 24;
// With more values than this, parts would be too few for many threads, or their sums too large.
constexpr int64_t most_values_of_parts = int64_t{1} << 20;
constexpr int64_t most_logs = 32;

// What paths tell what they add: to sums, or where there are none, to a log. One type for both, and called, not
// inlined: copies of all that paths do would take the compiler as long as everything else here.
template <class T>
class PullSink {
 public:
  PullSink(const PathGradients<T>& out, double* sums, PullLog<T>* log = nullptr, int shift = 0)
      : out_(out), sums_(sums), log_(log), shift_(shift) {
    for (int k = 0; k < gradients; ++k) first_[k] = out.first(k);
  }

  LG_NOINLINE void add(Gradient gradient, int64_t number, T value) const {
    if (!out_.values[gradient] || !is_finite(value)) return;
    const int64_t slot = first_[gradient] + number;
    if (sums_) {
      sums_[slot] += static_cast<double>(value);
    } else if (value != 0) {
      log_->add(slot, shift_, value);
    }
  }

 private:
  const PathGradients<T>& out_;
  double* sums_;
  PullLog<T>* log_;
  int shift_;
  int64_t first_[gradients];
};

// Calls pull(first, end, sink) of many pixels, or pull(pixel, sink) of one after the other: what a pixel's gradient
// gives is added.
template <class Paths, class Sink>
auto pull_pixels(const Paths& paths, int64_t first, int64_t end, const Sink& sink)
    -> decltype(paths.pull(first, end, sink)) {
  paths.pull(first, end, sink);
}
template <class Paths, class Sink>
auto pull_pixels(const Paths& paths, int64_t first, int64_t end, const Sink& sink)
    -> decltype(paths.pull(first, sink)) {
  for (int64_t pixel = first; pixel < end; ++pixel) paths.pull(pixel, sink);
}

// How many pixels it takes at once at least.
template <class Paths, class Sink>
auto pixels_at_once(const Paths& paths, const Sink& sink) -> decltype(paths.pull(0, 0, sink), int64_t{}) {
  return pixels_per_task;
}
template <class Paths, class Sink>
auto pixels_at_once(const Paths& paths, const Sink& sink) -> decltype(paths.pull(0, sink), int64_t{}) {
  return 1;
}

// The totals of sums[parts, slots].
template <class T>
void store_sums(int32_t threads, const double* sums, int64_t parts, int64_t slots, const PathGradients<T>& out) {
  for (int k = 0; k < gradients; ++k) {
    if (!out.values[k]) continue;
    const double* from = sums + out.first(k);
    constexpr int64_t values_per_task = 4096;
    parallel_for(threads, divide_up(out.counts[k], values_per_task), [&](int64_t task, int) {
      const int64_t end = std::min(out.counts[k], (task + 1) * values_per_task);
      for (int64_t i = task * values_per_task; i < end; ++i) {
        double sum = 0;
        for (int64_t part = 0; part < parts; ++part) sum += from[part * slots + i];
        out.values[k][i] = static_cast<T>(sum);
      }
    });
  }
}

// By logs, in rounds: each part goes on until its log is full, then all logs are added to sums[slots]. Parts take turns
// with runs of pixels.
template <class T, class Paths>
void pull_by_logs(int32_t threads, const Paths& paths, int64_t pixels, const PathGradients<T>& out, int64_t slots) {
  constexpr int64_t run = pixels_per_task, values_per_task = 1 << 16;
  const int64_t parts = std::clamp<int64_t>(divide_up(pixels, run), 1, most_logs);
  int shift = 0;
  while ((slots - 1) >> shift >= log_ranges) ++shift;
  Buffer<double> sums(static_cast<size_t>(slots));
  parallel_for(threads, divide_up(slots, values_per_task), [&](int64_t task, int) {
    std::fill(sums.data() + task * values_per_task, sums.data() + std::min(slots, (task + 1) * values_per_task), 0.0);
  });
  std::vector<PullLog<T>> logs(static_cast<size_t>(parts));
  const auto log_of = [&](int64_t part) -> PullLog<T>& { return logs[static_cast<size_t>(part)]; };
  const auto next_of = [&](int64_t part) {
    const int64_t number = log_of(part).next;
    return (part + number / run * parts) * run + number % run;
  };
  for (bool goes_on = true; goes_on;) {
    parallel_for(threads, parts, [&](int64_t part, int) {
      PullLog<T>& log = log_of(part);
      const PullSink<T> sink(out, nullptr, &log, shift);
      log.clear();
      const int64_t step = pixels_at_once(paths, sink);
      for (int64_t at; (at = next_of(part)) < pixels && !log.is_full(); log.next += step) {
        pull_pixels(paths, at, std::min(pixels, at + step), sink);
      }
    });
    parallel_for(threads, log_ranges, [&](int64_t range, int) {
      for (const PullLog<T>& log : logs) log.add_range_to(range, sums.data());
    });
    goes_on = false;
    for (int64_t part = 0; part < parts; ++part) goes_on = goes_on || next_of(part) < pixels;
  }
  store_sums(threads, sums.data(), 1, slots, out);
}

// paths: see pull_pixels().
template <class T, class Paths>
void pull_paths(int32_t threads, const Paths& paths, int64_t pixels, const PathGradients<T>& out) {
  const int64_t slots = out.first(gradients), tasks = divide_up(pixels, pixels_per_task);
  if (slots > most_values_of_parts && slots <= most_logged_slots) {
    pull_by_logs(threads, paths, pixels, out, slots);
    return;
  }
  const int64_t room = std::max<int64_t>(most_sums / std::max<int64_t>(slots, 1), 1);
  const int64_t parts = std::max<int64_t>(std::min({most_parts, room, tasks}), 1);
  Buffer<double> sums(static_cast<size_t>(parts * slots));
  parallel_for(threads, parts, [&](int64_t part, int) {
    double* const of_part = sums.data() + part * slots;
    std::fill_n(of_part, slots, 0.0);
    const PullSink<T> sink(out, of_part);
    for (int64_t task = part; task < tasks; task += parts) {
      const int64_t end = std::min(pixels, (task + 1) * pixels_per_task);
      pull_pixels(paths, task * pixels_per_task, end, sink);
    }
  });
  store_sums(threads, sums.data(), parts, slots, out);
}

// The same with gradients by the rays of pixels, which paths write to paths.of_rays.
template <class T, class Paths>
void pull_paths_and_rays(int32_t threads, Paths paths, const PathGradients<T>& out, GatherRays<T> rays) {
  Buffer<T> of_rays(static_cast<size_t>(rays.exist() ? pixel_values * rays.pixels() : 0));
  if (rays.exist()) rays.of_pixels = paths.of_rays = of_rays.data();
  pull_paths(threads, paths, rays.pixels(), out);
  if (rays.exist()) for_each(threads, rays.corners(), rays);
}

}  // namespace lg::light
