// marching_cubes on CUDA: one thread per word of 64 points.
#include "implicit/marching_cubes.h"

#include <cstdint>

#include "parallel/for_each.h"
#include "runtime/cuda/algorithms.h"
#include "runtime/cuda/launch.h"

namespace lg::implicit {
namespace {

// The table of cases on the device.
class DeviceCases {
 public:
  void plan(Workspace& workspace) { table_ = workspace.take<CubeCases>(1); }
  const CubeCases* upload(Queue& queue) const {
    queue.upload(&CubeCasesBuilder::cases(), sizeof(CubeCases) / 4, reinterpret_cast<uint32_t*>(table_));
    return table_;
  }

 private:
  CubeCases* table_ = nullptr;
};

struct Narrow {
  const uint64_t* from;
  int32_t* to;

  LG_HD void operator()(int64_t i) const { to[i] = static_cast<int32_t>(from[i]); }
};

// Running sums of counts, followed by the total.
struct Sums {
  int64_t count;
  RunningSum sum;

  explicit Sums(int64_t items) : count(items + 1), sum(items + 1) {}

  void run(Queue& queue, int32_t* base, int64_t* total) {
    sum.run(queue);
    for_each(queue, count, Narrow{sum.numbers(), base});
    queue.copy(total, sum.numbers() + count - 1, 8);
  }
};

template <class T>
struct Count {
  Lattice<T> grid;
  int64_t* bits;
  int32_t *vertex_base, *cell_base;
  int64_t* totals;
  Sums vertices, triangles, centres;
  DeviceCases cases;

  void plan(Workspace& workspace) {
    for (Sums* each : {&vertices, &triangles, &centres}) each->sum.plan(workspace);
    cases.plan(workspace);
  }

  void run(Queue& queue) {
    const int64_t items = grid.word_count();
    const CubeCases* table = cases.upload(queue);
    for (Sums* each : {&vertices, &triangles, &centres}) queue.fill_bytes(each->sum.numbers(), 0, 8 * each->count);
    for_each(queue, items, MarkInside<T>{grid, bits});
    for_each(queue, items,
             CountWord<T, uint64_t>{grid, table, bits, vertices.sum.numbers(), triangles.sum.numbers(),
                                    centres.sum.numbers()});
    vertices.run(queue, vertex_base, totals);
    triangles.run(queue, cell_base, totals + 1);
    centres.run(queue, cell_base + items + 1, totals + 2);
  }
};

template <class T>
struct Emit {
  EmitWord<T> body;
  DeviceCases cases;

  void plan(Workspace& workspace) { cases.plan(workspace); }
  void run(Queue& queue) {
    body.cases = cases.upload(queue);
    for_each(queue, body.grid.word_count(), body);
  }
};

template <class T>
Lattice<T> make_lattice(const void* values, double level, int64_t depth, int64_t height, int64_t width, int64_t words) {
  return {static_cast<const T*>(values), static_cast<T>(level), depth, height, width, words};
}

}  // namespace
}  // namespace lg::implicit

int32_t lg_marching_cubes_count(lg_call* call, int32_t dtype, const void* values, double level, int64_t depth,
                                int64_t height, int64_t width, int64_t words, int64_t* bits, int32_t* vertex_base,
                                int32_t* cell_base, int64_t* totals) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::implicit::make_lattice<T>(values, level, depth, height, width, words);
    const int64_t items = grid.word_count();
    using lg::implicit::Sums;
    return lg::run_op(call,
                      lg::implicit::Count<T>{
                          grid, bits, vertex_base, cell_base, totals, Sums(3 * items), Sums(items), Sums(items), {}});
  });
}

int32_t lg_marching_cubes_forward(lg_call* call, int32_t dtype, const void* values, const int64_t* bits,
                                  const int32_t* vertex_base, const int32_t* cell_base, double level, int64_t depth,
                                  int64_t height, int64_t width, int64_t words, int64_t vertices, int64_t triangles,
                                  int64_t centres, void* verts, int32_t* faces, int32_t* loops) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::implicit::make_lattice<T>(values, level, depth, height, width, words);
    const int32_t* centre_base = cell_base + grid.word_count() + 1;
    return lg::run_op(call, lg::implicit::Emit<T>{{grid, nullptr, bits, vertex_base, cell_base, centre_base, vertices,
                                                   triangles, centres, static_cast<T*>(verts), faces, loops},
                                                  {}});
  });
}

int32_t lg_marching_cubes_backward(lg_call* call, int32_t dtype, const void* values, const int64_t* bits,
                                   const int32_t* vertex_base, double level, int64_t depth, int64_t height,
                                   int64_t width, int64_t words, int64_t vertices, const void* grad_verts,
                                   void* grad_values) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::implicit::make_lattice<T>(values, level, depth, height, width, words);
    return lg::run_for_each(
        call, grid.word_count(),
        lg::implicit::PullBackWord<T>{grid, bits, vertex_base, vertices, static_cast<const T*>(grad_verts),
                                      static_cast<T*>(grad_values)});
  });
}
