// marching_cubes on the CPU: words are marked, then counted and, once their places are known, written; all in parallel.
#include "implicit/marching_cubes.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/status.h"

namespace lg::implicit {
namespace {

// Replaces counts by exclusive running sums and returns the total. Sums of parts come first, so that all parts can be
// written in parallel.
int64_t add_up(int32_t threads, int32_t* counts, int64_t count) {
  constexpr int64_t part = 1 << 14;
  const int64_t parts = divide_up(count, part);
  std::vector<int64_t> before(static_cast<size_t>(parts) + 1, 0);
  const auto in_parts = [&](auto&& body) {
    parallel_for(threads, parts, [&](int64_t p, int) { body(p, p * part, std::min(count, (p + 1) * part)); });
  };
  in_parts([&](int64_t p, int64_t begin, int64_t end) {
    before[static_cast<size_t>(p) + 1] = std::accumulate(counts + begin, counts + end, int64_t{0});
  });
  std::partial_sum(before.begin(), before.end(), before.begin());
  in_parts([&](int64_t p, int64_t begin, int64_t end) {
    int64_t sum = before[static_cast<size_t>(p)];
    for (int64_t i = begin; i < end; ++i) sum += std::exchange(counts[i], static_cast<int32_t>(sum));
  });
  counts[count] = static_cast<int32_t>(before.back());
  return before.back();
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
    totals[0] = lg::implicit::add_up(call->threads, vertex_base, 3 * items);
    totals[1] = lg::implicit::add_up(call->threads, cell_base, items);
    totals[2] = lg::implicit::add_up(call->threads, centre_base, items);
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
