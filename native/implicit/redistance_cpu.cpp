// redistance on the CPU: rounds of sweeps over a grid with a border of infinite distances.
//
// A sweep goes plane by plane. The rows of a plane are distributed among threads. A thread writes to a copy first,
// because others may still read the old values. Rows run along x; for the sweeps along x, whose planes have no such
// rows, they run along y in a transposed grid.
#include "implicit/redistance.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "lumigrad.h"
#include "math/lanes.h"
#include "parallel/for_each.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace lg::implicit {
namespace {

constexpr int64_t lanes = 16;
// The smallest number of voxels of a plane worth handing to a thread.
constexpr int64_t voxels_per_task = 2048;

// A grid with a border of one voxel, with whole numbers of lanes per row.
template <class T>
class Bordered {
 public:
  Bordered(int64_t planes, int64_t rows, int64_t columns)
      : columns_(divide_up(columns, lanes) * lanes),
        row_stride_(columns_ + lanes),
        plane_stride_((rows + 2) * row_stride_) {
    // An odd number of lanes, so that rows at the same place in different planes do not compete for a place in the
    // caches.
    if (plane_stride_ / lanes % 2 == 0) plane_stride_ += lanes;
    values_ = Buffer<T>(static_cast<size_t>((planes + 2) * plane_stride_ + lanes));
  }

  void fill(int32_t threads, T value) {
    constexpr int64_t part = 1 << 16;
    const auto count = static_cast<int64_t>(values_.size());
    parallel_for(threads, divide_up(count, part), [&](int64_t task, int) {
      std::fill(values_.data() + task * part, values_.data() + std::min(count, (task + 1) * part), value);
    });
  }

  T* row(int64_t plane, int64_t row) {
    return values_.data() + (plane + 1) * plane_stride_ + (row + 1) * row_stride_ + lanes;
  }
  int64_t row_stride() const { return row_stride_; }
  int64_t plane_stride() const { return plane_stride_; }
  int64_t columns() const { return columns_; }  // including those of the border

 private:
  int64_t columns_, row_stride_, plane_stride_;
  Buffer<T> values_;
};

// Distances, and those that stay fixed: at voxels next to the surface, and in the right border, which is treated like
// them.
template <class T>
struct Distances {
  Bordered<T> now, fixed;

  Distances(int32_t threads, int64_t planes, int64_t rows, int64_t columns)
      : now(planes, rows, columns), fixed(planes, rows, columns) {
    now.fill(threads, std::numeric_limits<T>::infinity());
    fixed.fill(threads, T(0));
  }
};

// The planes of a sweep.
template <class T>
struct Planes {
  T* now;
  const T* fixed;
  int64_t count, rows, columns, plane_stride, row_stride;
  T steps[3];  // from plane to plane, row to row, column to column

  T* row(int64_t plane, int64_t row) const { return now + plane * plane_stride + row * row_stride; }
  const T* fixed_row(int64_t plane, int64_t row) const { return fixed + plane * plane_stride + row * row_stride; }
};

template <class T, bool equal_steps>
class Sweep {
 public:
  Sweep(int32_t threads, const Planes<T>& planes)
      : threads_(threads),
        planes_(planes),
        tasks_(std::clamp<int64_t>(planes.rows * planes.columns / voxels_per_task, 1, std::max(threads, 1))),
        pitch_(planes.columns + 2 * lanes),
        copies_(static_cast<size_t>(2 * planes.rows * planes.columns)),
        scratch_(static_cast<size_t>(3 * tasks_ * pitch_)) {
    std::fill_n(scratch_.data(), scratch_.size(), infinity);
  }

  void run(bool backwards) {
    std::fill_n(copy(-1, 0), planes_.rows * planes_.columns, infinity);
    for (int64_t turn = 0; turn <= planes_.count; ++turn) {
      parallel_for(threads_, tasks_, [&](int64_t task, int) {
        const int64_t first = planes_.rows * task / tasks_, end = planes_.rows * (task + 1) / tasks_;
        const auto plane = [&](int64_t t) { return backwards ? planes_.count - 1 - t : t; };
        if (turn < planes_.count) solve_rows(turn, plane(turn), plane(turn + 1), first, end, task);
        if (turn > 0) put_back(turn - 1, plane(turn - 1), first, end);
      });
    }
  }

 private:
  using V = Lanes<T, lanes>;
  static constexpr T infinity = std::numeric_limits<T>::infinity();

  // A row of the plane that was solved in a turn.
  T* copy(int64_t turn, int64_t row) { return copies_.data() + ((turn & 1) * planes_.rows + row) * planes_.columns; }

  // Solves each row twice, so that distances also spread along a plane.
  void solve_rows(int64_t turn, int64_t plane, int64_t next, int64_t first, int64_t end, int64_t task) {
    const auto once = [&](int64_t row) { return scratch_.data() + (3 * task + (row + 3) % 3) * pitch_ + lanes; };
    const auto along = [&](int64_t row) {
      return Along{copy(turn - 1, row), planes_.row(next, row), planes_.fixed_row(plane, row)};
    };
    for (int64_t row = first - 1; row <= end; ++row) {
      if (row >= 0 && row < planes_.rows) {
        const T* here = planes_.row(plane, row);
        solve(along(row), here - planes_.row_stride, here, here + planes_.row_stride, once(row));
      } else {
        std::fill_n(once(row), planes_.columns, infinity);
      }
      if (row > first) solve(along(row - 1), once(row - 2), once(row - 1), once(row), copy(turn, row - 1));
    }
  }

  struct Along {
    const T *before, *behind, *fixed;
  };

  void solve(const Along& along, const T* above, const T* here, const T* below, T* to) const {
    const auto neighbour = [&](int axis, const T* a, const T* b) LG_INLINE_LAMBDA {
      const T step = planes_.steps[axis];
      return Neighbour<V>{minimum(V::load(a), V::load(b)), V(step), V(1 / (step * step))};
    };
    for (int64_t c = 0; c < planes_.columns; c += lanes) {
      const V own = V::load(here + c);
      const V found = upwind<equal_steps>(neighbour(0, along.before + c, along.behind + c),
                                          neighbour(1, above + c, below + c), neighbour(2, here + c - 1, here + c + 1));
      store(to + c, select(V::load(along.fixed + c) < V(infinity), own, minimum(found, own)));
    }
  }

  void put_back(int64_t turn, int64_t plane, int64_t first, int64_t end) {
    for (int64_t row = first; row < end; ++row) {
      std::copy_n(copy(turn, row), planes_.columns, planes_.row(plane, row));
    }
  }

  const int32_t threads_;
  const Planes<T>& planes_;
  const int64_t tasks_, pitch_;
  Buffer<T> copies_, scratch_;
};

template <class T>
void sweep_both_ways(int32_t threads, const Planes<T>& planes) {
  const auto run = [&](auto&& sweep) {
    sweep.run(false);
    sweep.run(true);
  };
  if (planes.steps[0] == planes.steps[1] && planes.steps[1] == planes.steps[2]) {
    run(Sweep<T, true>(threads, planes));
  } else {
    run(Sweep<T, false>(threads, planes));
  }
}

// Writes to(column, row) = from(row, column), in blocks that fit into the innermost cache.
template <class T>
void transpose(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; r += lanes) {
    for (int64_t c = 0; c < columns; c += lanes) {
      const int64_t end_row = std::min(rows, r + lanes), end_column = std::min(columns, c + lanes);
      for (int64_t column = c; column < end_column; ++column) {
        for (int64_t row = r; row < end_row; ++row) to[column * to_stride + row] = from[row * from_stride + column];
      }
    }
  }
}

template <class T>
void run_round(int32_t threads, const T* distance, const T* start, const T* size, int64_t depth, int64_t height,
               int64_t width, T* out) {
  Distances<T> by_rows(threads, depth, height, width), turned(threads, width, depth, height);
  const auto plain = [&](const T* grid, int64_t z, int64_t y) { return grid + (z * height + y) * width; };
  parallel_for(threads, depth, [&](int64_t z, int) {
    transpose(plain(distance, z, 0), width, turned.now.row(0, z), turned.now.plane_stride(), height, width);
    transpose(plain(start, z, 0), width, turned.fixed.row(0, z), turned.fixed.plane_stride(), height, width);
    for (int64_t y = 0; y < height; ++y) std::copy_n(plain(start, z, y), width, by_rows.fixed.row(z, y));
  });
  const auto planes = [](Distances<T>& all, int64_t count, int64_t rows, T plane, T row, T column) {
    return Planes<T>{all.now.row(0, 0),    all.fixed.row(0, 0), count, rows, all.now.columns(), all.now.plane_stride(),
                     all.now.row_stride(), {plane, row, column}};
  };
  sweep_both_ways(threads, planes(turned, width, depth, size[0], size[2], size[1]));
  parallel_for(threads, depth, [&](int64_t z, int) {
    transpose(turned.now.row(0, z), turned.now.plane_stride(), by_rows.now.row(z, 0), by_rows.now.row_stride(), width,
              height);
  });
  Planes<T> along_z = planes(by_rows, depth, height, size[2], size[1], size[0]);
  Planes<T> along_y = planes(by_rows, height, depth, size[1], size[2], size[0]);
  std::swap(along_y.plane_stride, along_y.row_stride);
  sweep_both_ways(threads, along_y);
  sweep_both_ways(threads, along_z);
  parallel_for(threads, depth, [&](int64_t z, int) {
    for (int64_t y = 0; y < height; ++y) {
      std::copy_n(by_rows.now.row(z, y), width, out + (z * height + y) * width);
    }
  });
}

}  // namespace
}  // namespace lg::implicit

int32_t lg_redistance_start(lg_call* call, int32_t dtype, const void* values, const void* size, int64_t depth,
                            int64_t height, int64_t width, void* start) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::implicit::StartOfDistances<T> body = {
        static_cast<const T*>(values), static_cast<const T*>(size), {width, height, depth}, static_cast<T*>(start)};
    lg::for_each(call->threads, depth * height * width, body);
  });
}

int32_t lg_redistance_round(lg_call* call, int32_t dtype, const void* distance, const void* start, const void* size,
                            int64_t depth, int64_t height, int64_t width, void* out) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    lg::implicit::run_round(call->threads, static_cast<const T*>(distance), static_cast<const T*>(start),
                            static_cast<const T*>(size), depth, height, width, static_cast<T*>(out));
  });
}
