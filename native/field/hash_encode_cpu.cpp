// Hash encoding on the CPU.
//
// A task has many points, so that a level's table is read into the caches once for many of them. The gradient of the
// tables is summed by level and, if there are more threads than levels, by ranges of rows. Each row sums contributions
// in the order of the points, whatever the number of threads.
#include "field/hash_encode.h"

#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "math/divide_up.h"
#include "parallel/with_constant.h"
#include "runtime/status.h"
#include "runtime/threads.h"

namespace lg::field {
namespace {

constexpr int64_t most_points_per_task = 1 << 15, fewest_points_per_task = 256;

// Tables with fewer bytes stay in the inner caches.
constexpr int64_t small_table = 1 << 18;
constexpr int64_t blocks_ahead = 4;

// Calls body(block, first, count, ahead) for some points, one block at a time. The rows of `table` that a block needs
// are prefetched one block ahead. ahead(i) prefetches the rows for point i of the next block; the body calls it before
// each of its own points, so that prefetches, of which only few can be in flight, overlap with computation. The values
// in `points`, as many per point as the stride says, are prefetched some blocks ahead.
template <class T, int Axes, class Body>
void for_blocks(const HashGrid<T>& grid, int32_t level, const T* table, const T* points, int64_t begin, int64_t end,
                Body&& body) {
  HashBlock<T, Axes> blocks[2];
  const int64_t channels = grid.channels;
  const bool far = grid.level[level].entries * channels * int64_t{sizeof(T)} > small_table;
  const auto count_at = [&](int64_t first) { return static_cast<int>(std::min<int64_t>(hash_block, end - first)); };
  // Both calls are compiled only once, because each expands to thousands of instructions.
  int now = 0;
  for (int64_t first = begin - hash_block; first < end; first += hash_block, now ^= 1) {
    const int64_t next = first + hash_block;
    HashBlock<T, Axes>& block = blocks[now ^ 1];
    const int count = next < end ? count_at(next) : 0;
    if (count > 0) {
      block.locate(grid.level[level], grid.x + next * Axes, count);
      for (int i = 0; points && i < count; ++i) {
        LG_PREFETCH(points + grid.feature(std::min(next + blocks_ahead * hash_block + i, end - 1), level));
      }
    }
    if (first < begin) continue;
    const bool asks = far && count > 0;
    body(blocks[now], first, count_at(first), [&](int i) LG_INLINE_LAMBDA {
      if (!asks) return;
      for (int k = 0; k < block.corners; ++k) LG_PREFETCH(table + int64_t{block.row[k][i]} * channels);
    });
  }
}

// Calls body(begin, end) for ranges of points, in parallel.
template <class Body>
void for_points(int32_t threads, int64_t points, Body&& body) {
  const int64_t share = divide_up(points, 4 * int64_t{std::max(threads, 1)});
  const int64_t size =
      divide_up(std::clamp(share, fewest_points_per_task, most_points_per_task), hash_block) * hash_block;
  parallel_for(threads, divide_up(points, size),
               [&](int64_t task, int) { body(task * size, std::min(points, (task + 1) * size)); });
}

template <class T, int Axes, int Channels>
void encode(int32_t threads, const HashForward<T, Axes, Channels>& forward) {
  for_points(threads, forward.grid.points, [&](int64_t begin, int64_t end) {
    for (int32_t level = 0; level < forward.grid.levels; ++level) {
      for_blocks<T, Axes>(forward.grid, level, forward.grid.table(level), static_cast<const T*>(nullptr), begin, end,
                          [&](const HashBlock<T, Axes>& block, int64_t first, int count, const auto& ahead) {
                            forward.encode(block, level, first, count, ahead);
                          });
    }
  });
}

template <class T, int Axes, int Channels>
void pull_points(int32_t threads, const HashPullPoints<T, Axes, Channels>& pull) {
  for_points(threads, pull.grid.points, [&](int64_t begin, int64_t end) {
    pull.clear(begin, end - begin);
    for (int32_t level = 0; level < pull.grid.levels; ++level) {
      for_blocks<T, Axes>(pull.grid, level, pull.grid.table(level), pull.grad_out, begin, end,
                          [&](const HashBlock<T, Axes>& block, int64_t first, int count, const auto& ahead) {
                            pull.pull(block, level, first, count, ahead);
                          });
    }
  });
}

// Adds to the rows [begin, end) of one level.
template <class T, int Axes, int Channels>
void pull_rows(const HashGrid<T>& grid, const T* grad_out, int32_t level, uint32_t begin, uint32_t end, T* grad) {
  const int64_t channels = Channels > 0 ? Channels : grid.channels;
  T* table = grad + grid.level[level].first * channels;
  std::fill(table + begin * channels, table + end * channels, T(0));
  const uint32_t rows = end - begin;
  const auto add = [&](uint32_t row, T weight, const T* given, int64_t) LG_INLINE_LAMBDA {
    if (row - begin >= rows) return;
    T* to = table + row * channels;
    for (int64_t c = 0; c < channels; ++c) to[c] += weight * given[c];
  };
  for_blocks<T, Axes>(grid, level, table, grad_out, 0, grid.points,
                      [&](const HashBlock<T, Axes>& block, int64_t first, int count, const auto& ahead) {
                        pull_table<T, Axes, Channels>(grid, block, grad_out, level, first, count, add, ahead);
                      });
}

template <class T, int Axes, int Channels>
void pull_tables(int32_t threads, const HashGrid<T>& grid, const T* grad_out, T* grad) {
  const int64_t levels = grid.levels;
  const int64_t parts = threads > 1 ? divide_up(int64_t{threads}, std::max<int64_t>(levels, 1)) : 1;
  parallel_for(threads, levels * parts, [&](int64_t task, int) {
    const auto level = static_cast<int32_t>(task / parts);
    const int64_t part = task % parts, rows = grid.level[level].entries;
    pull_rows<T, Axes, Channels>(grid, grad_out, level, static_cast<uint32_t>(rows * part / parts),
                                 static_cast<uint32_t>(rows * (part + 1) / parts), grad);
  });
}

// Calls body(axes, channels) with constants.
template <class Body>
void with_sizes(int64_t axes, int64_t channels, Body&& body) {
  with_constant_for_speed<2, 4, 8>(channels, [&](auto fixed) {
    if (axes == 2) {
      body(Constant<2>(), fixed);
    } else {
      body(Constant<3>(), fixed);
    }
  });
}

}  // namespace
}  // namespace lg::field

int32_t lg_hash_encode_forward(lg_call* call, int32_t dtype, const void* x, const void* tables, const int64_t* entries,
                               const int64_t* resolutions, int64_t points, int64_t axes, int64_t levels,
                               int64_t channels, void* out) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::field::make_hash_grid<T>(x, tables, entries, resolutions, points, axes, levels, channels);
    lg::field::with_sizes(axes, channels, [&](auto a, auto c) {
      lg::field::encode(call->threads, lg::field::HashForward<T, a(), c()>{grid, static_cast<T*>(out)});
    });
  });
}

int32_t lg_hash_encode_backward(lg_call* call, int32_t dtype, const void* x, const void* tables, const int64_t* entries,
                                const int64_t* resolutions, int64_t points, int64_t axes, int64_t levels,
                                int64_t channels, const void* grad_out, void* grad_x, void* grad_tables) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto grid = lg::field::make_hash_grid<T>(x, tables, entries, resolutions, points, axes, levels, channels);
    const T* given = static_cast<const T*>(grad_out);
    lg::field::with_sizes(axes, channels, [&](auto a, auto c) {
      if (grad_x) {
        lg::field::pull_points(call->threads,
                               lg::field::HashPullPoints<T, a(), c()>{grid, given, static_cast<T*>(grad_x)});
      }
      if (grad_tables) {
        lg::field::pull_tables<T, a(), c()>(call->threads, grid, given, static_cast<T*>(grad_tables));
      }
    });
  });
}
