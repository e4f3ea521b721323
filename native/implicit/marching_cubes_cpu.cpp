// marching_cubes on the CPU: words are marked, counted, and, with their places known, written; all in parallel.
#include "implicit/marching_cubes.h"

#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

namespace lg::implicit {
namespace {

// Replaces counts by the sums of those before them, and returns the sum of all.
int64_t add_up(int32_t* counts, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t own = counts[i];
    counts[i] = static_cast<int32_t>(sum);
    sum += own;
  }
  counts[count] = static_cast<int32_t>(sum);
  return sum;
}

template <class T>
Lattice<T> make_lattice(const void* values, double level, int64_t depth, int64_t height, int64_t width, int64_t words) {
  return {static_cast<const T*>(values), static_cast<T>(level), depth, height, width, words};
}

}  // namespace
}  // namespace lg::implicit

int32_t lg_marching_cubes_count(lg_call* call, int32_t dtype, const void* values, double level, int64_t depth,
                                int64_t height, int64_t width, int64_t words, int64_t* bits, int32_t* vertex_base,
                                int32_t* cell_base, int64_t* totals) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::implicit::make_lattice<T>(values, level, depth, height, width, words);
    const int64_t items = grid.word_count();
    int32_t* centre_base = cell_base + items + 1;
    lg::for_each(call->threads, items, lg::implicit::MarkInside<T>{grid, bits});
    lg::for_each(call->threads, items,
                 lg::implicit::CountWord<T, int32_t>{grid, &lg::implicit::CubeCasesBuilder::cases(), bits, vertex_base,
                                                     cell_base, centre_base});
    totals[0] = lg::implicit::add_up(vertex_base, 3 * items);
    totals[1] = lg::implicit::add_up(cell_base, items);
    totals[2] = lg::implicit::add_up(centre_base, items);
  });
}

int32_t lg_marching_cubes_forward(lg_call* call, int32_t dtype, const void* values, const int64_t* bits,
                                  const int32_t* vertex_base, const int32_t* cell_base, double level, int64_t depth,
                                  int64_t height, int64_t width, int64_t words, int64_t vertices, int64_t triangles,
                                  int64_t centres, void* verts, int32_t* faces, int32_t* loops) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::implicit::make_lattice<T>(values, level, depth, height, width, words);
    const int64_t items = grid.word_count();
    lg::for_each(call->threads, items,
                 lg::implicit::EmitWord<T>{grid, &lg::implicit::CubeCasesBuilder::cases(), bits, vertex_base, cell_base,
                                           cell_base + items + 1, vertices, triangles, centres, static_cast<T*>(verts),
                                           faces, loops});
  });
}

int32_t lg_marching_cubes_backward(lg_call* call, int32_t dtype, const void* values, const int64_t* bits,
                                   const int32_t* vertex_base, double level, int64_t depth, int64_t height,
                                   int64_t width, int64_t words, int64_t vertices, const void* grad_verts,
                                   void* grad_values) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::implicit::make_lattice<T>(values, level, depth, height, width, words);
    lg::for_each(call->threads, grid.word_count(),
                 lg::implicit::PullBackWord<T>{grid, bits, vertex_base, vertices, static_cast<const T*>(grad_verts),
                                               static_cast<T*>(grad_values)});
  });
}
