// Building and refitting trees on the CPU.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "lumigrad.h"
#include "math/divide_up.h"
#include "parallel/for_each.h"
#include "ray/build_cpu.h"
#include "ray/refit.h"
#include "runtime/check_indices.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg::ray {
namespace {

constexpr int64_t triangles_per_task = 4096;

// The triangles that can be hit, in order; returns how many they are.
template <class T>
int64_t make_primitives(int threads, const T* vertices, const int32_t* tri, int64_t vertex_count, int64_t triangles,
                        Primitive* primitives) {
  const int64_t tasks = divide_up(triangles, triangles_per_task);
  std::vector<int64_t> counts(static_cast<size_t>(tasks));
  parallel_for(threads, tasks, [&](int64_t task, int) {
    const int64_t first = task * triangles_per_task, end = std::min(triangles, first + triangles_per_task);
    check_indices(tri, first, end, vertex_count, "vertices");
    Primitive* out = primitives + first;
    for (int64_t i = first; i < end; ++i) {
      T corner[3][3];
      if (!corners_of(vertices, vertex_count, tri + 3 * i, corner)) continue;
      FloatBox box = FloatBox::none();
      for (const auto& point : corner) box.add(point);
      *out++ = {
          {box.low[0], box.low[1], box.low[2]}, {box.high[0], box.high[1], box.high[2]}, 0.0f, static_cast<int32_t>(i)};
    }
    counts[static_cast<size_t>(task)] = out - (primitives + first);
  });
  int64_t count = 0;
  for (int64_t task = 0; task < tasks; ++task) {
    Primitive* from = primitives + task * triangles_per_task;
    if (count != task * triangles_per_task) std::copy_n(from, counts[static_cast<size_t>(task)], primitives + count);
    count += counts[static_cast<size_t>(task)];
  }
  return count;
}

void check_all_indices(int threads, const int32_t* tri, int64_t vertex_count, int64_t triangles) {
  parallel_for(threads, divide_up(triangles, triangles_per_task), [&](int64_t task, int) {
    const int64_t first = task * triangles_per_task;
    check_indices(tri, first, std::min(triangles, first + triangles_per_task), vertex_count, "vertices");
  });
}

}  // namespace
}  // namespace lg::ray

int32_t lg_bvh_topology(lg_call* call, int32_t dtype, const void* vertices, const int32_t* faces, int64_t vertex_count,
                        int64_t triangles, int32_t* children, int32_t* leaf_tri, int64_t* level_starts,
                        int64_t* totals) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::Buffer<lg::ray::Primitive> primitives(static_cast<size_t>(triangles));
    const int64_t count = lg::ray::make_primitives(call->threads, static_cast<const T*>(vertices), faces, vertex_count,
                                                   triangles, primitives.data());
    const std::vector<lg::ray::BinaryNode> binary =
        lg::ray::BinaryBuilder(call->threads, primitives.data(), count).build();
    std::fill_n(level_starts, lg::ray::max_levels + 1, int64_t{0});
    const lg::ray::TreeSizes sizes = lg::ray::widen(binary, primitives.data(), children, leaf_tri, level_starts);
    std::fill(children + sizes.nodes * lg::ray::node_width, children + (triangles + 1) * lg::ray::node_width,
              lg::ray::no_child);
    std::fill(leaf_tri + sizes.leaves * lg::ray::leaf_size, leaf_tri + triangles * lg::ray::leaf_size, -1);
    totals[0] = sizes.nodes;
    totals[1] = sizes.leaves;
    totals[2] = sizes.levels;
  });
}

int32_t lg_bvh_refit(lg_call* call, int32_t dtype, const void* vertices, const int32_t* faces, const int32_t* children,
                     const int32_t* leaf_tri, const int64_t* level_starts, int64_t vertex_count, int64_t triangles,
                     int64_t nodes, int64_t leaves, int64_t levels, float* boxes, void* corners, float* bounds,
                     double* cost) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::ray::check_all_indices(call->threads, faces, vertex_count, triangles);
    lg::for_each(call->threads, leaves,
                 lg::ray::FillLeaves<T>{static_cast<const T*>(vertices), faces, leaf_tri, vertex_count, triangles,
                                        static_cast<T*>(corners)},
                 256);
    const int64_t sums_count = lg::divide_up(nodes, lg::ray::costs_per_sum);
    lg::Buffer<double> costs(static_cast<size_t>(nodes)), sums(static_cast<size_t>(sums_count));
    for (int64_t level = levels - 1; level >= 0; --level) {
      const lg::ray::LevelRange range = lg::ray::level_range(level_starts, level, nodes);
      lg::for_each(call->threads, range.end - range.first,
                   lg::ray::FillNodes<T>{children, static_cast<const T*>(corners), nodes, leaves, range.first, boxes,
                                         costs.data()},
                   64);
    }
    lg::for_each(call->threads, sums_count, lg::ray::AddCosts{costs.data(), nodes, sums.data()}, 64);
    lg::ray::FinishTree{boxes, sums.data(), sums_count, bounds, cost}(0);
  });
}
