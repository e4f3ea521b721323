// Refitting trees on CUDA: a thread for each leaf, then for each node, level by level.
#include <cstdint>

#include "math/divide_up.h"
#include "parallel/for_each.h"
#include "ray/refit.h"
#include "runtime/cuda/launch.h"

namespace lg::ray {
namespace {

template <class T>
struct Refit {
  FillLeaves<T> fill_leaves;
  FillNodes<T> fill_nodes;
  const int64_t* level_starts;
  int64_t levels;
  float* bounds;
  double* cost;
  double* sums = nullptr;

  void plan(Workspace& workspace) {
    fill_nodes.costs = workspace.take<double>(fill_nodes.nodes);
    sums = workspace.take<double>(sum_count());
  }

  void run(Queue& queue) {
    for_each(queue, fill_nodes.leaves, fill_leaves);
    for (int64_t level = levels - 1; level >= 0; --level) {
      const LevelRange range = level_range(level_starts, level, fill_nodes.nodes);
      fill_nodes.first = range.first;
      for_each(queue, range.end - range.first, fill_nodes);
    }
    for_each(queue, sum_count(), AddCosts{fill_nodes.costs, fill_nodes.nodes, sums});
    for_each(queue, 1, FinishTree{fill_nodes.boxes, sums, sum_count(), bounds, cost});
  }

 private:
  int64_t sum_count() const { return divide_up(fill_nodes.nodes, costs_per_sum); }
};

}  // namespace
}  // namespace lg::ray

int32_t lg_bvh_refit(lg_call* call, int32_t dtype, const void* vertices, const int32_t* faces, const int32_t* children,
                     const int32_t* leaf_tri, const int64_t* level_starts, int64_t vertex_count, int64_t triangles,
                     int64_t nodes, int64_t leaves, int64_t levels, float* boxes, void* corners, float* bounds,
                     double* cost) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    T* own_corners = static_cast<T*>(corners);
    return lg::run_op(call, lg::ray::Refit<T>{{static_cast<const T*>(vertices), faces, leaf_tri, vertex_count,
                                               triangles, own_corners},
                                              {children, own_corners, nodes, leaves, 0, boxes, nullptr},
                                              level_starts,
                                              levels,
                                              bounds,
                                              cost});
  });
}
