// redistance on CUDA: plane by plane, with one thread per voxel of a plane.
#include "implicit/redistance.h"

#include <algorithm>
#include <cstdint>

#include "lumigrad.h"
#include "parallel/for_each.h"
#include "runtime/cuda/launch.h"

namespace lg::implicit {
namespace {

// The positions of a plane's voxels.
template <class T>
struct PlaneOf {
  T* first;
  int64_t row_stride, column_stride;

  LG_HD T* at(int64_t row, int64_t column) const { return first + row * row_stride + column * column_stride; }
};

// An item: one voxel of a plane, updated from its neighbours in `from` and in the planes on both sides.
template <class T>
struct SolvePlane {
  PlaneOf<T> from, to, grid;
  PlaneOf<const T> start;
  int64_t plane_stride, rows, columns;
  bool has_before, has_behind;
  const T* size;
  int axis, row_axis, column_axis;

  LG_HD void operator()(int64_t item) const {
    const int64_t row = item / columns, column = item - row * columns;
    const T own = *from.at(row, column);
    if (is_finite(*start.at(row, column))) {
      *to.at(row, column) = own;
      return;
    }
    const T* here = grid.at(row, column);
    const T* inner = from.at(row, column);
    const auto along = neighbour(axis, here, plane_stride, has_before, has_behind);
    const auto across = neighbour(row_axis, inner, from.row_stride, row > 0, row + 1 < rows);
    const auto beside = neighbour(column_axis, inner, from.column_stride, column > 0, column + 1 < columns);
    *to.at(row, column) = minimum(upwind<false>(along, across, beside), own);
  }

 private:
  LG_HD Neighbour<T> neighbour(int a, const T* at, int64_t stride, bool before, bool behind) const {
    const T low = before ? at[-stride] : std::numeric_limits<T>::infinity();
    const T high = behind ? at[stride] : std::numeric_limits<T>::infinity();
    return {minimum(low, high), size[a], 1 / (size[a] * size[a])};
  }
};

template <class T>
struct Round {
  const T *distance, *start, *size;
  int64_t counts[3], strides[3];  // along x, y and z
  T* out;
  T* plane;

  void plan(Workspace& workspace) {
    plane = workspace.take<T>(std::max({counts[0] * counts[1], counts[1] * counts[2], counts[2] * counts[0]}));
  }

  void run(Queue& queue) {
    queue.copy(out, distance, counts[0] * counts[1] * counts[2] * static_cast<int64_t>(sizeof(T)));
    for (int axis = 0; axis < 3; ++axis) {
      for (int64_t k = 0; k < counts[axis]; ++k) solve(queue, axis, k);
      for (int64_t k = counts[axis]; k-- > 0;) solve(queue, axis, k);
    }
  }

 private:
  // Twice, so that distances also spread along a plane.
  void solve(Queue& queue, int axis, int64_t k) {
    const int row_axis = axis == 2 ? 1 : 2, column_axis = axis == 0 ? 1 : 0;
    const int64_t rows = counts[row_axis], columns = counts[column_axis], first = k * strides[axis];
    const PlaneOf<T> here = {out + first, strides[row_axis], strides[column_axis]}, copy = {plane, columns, 1};
    SolvePlane<T> body = {here,
                          copy,
                          here,
                          {start + first, here.row_stride, here.column_stride},
                          strides[axis],
                          rows,
                          columns,
                          k > 0,
                          k + 1 < counts[axis],
                          size,
                          axis,
                          row_axis,
                          column_axis};
    for_each(queue, rows * columns, body);
    std::swap(body.from, body.to);
    for_each(queue, rows * columns, body);
  }
};

}  // namespace
}  // namespace lg::implicit

int32_t lg_redistance_start(lg_call* call, int32_t dtype, const void* values, const void* size, int64_t depth,
                            int64_t height, int64_t width, void* start) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::implicit::StartOfDistances<T> body = {
        static_cast<const T*>(values), static_cast<const T*>(size), {width, height, depth}, static_cast<T*>(start)};
    return lg::run_for_each(call, depth * height * width, body);
  });
}

int32_t lg_redistance_round(lg_call* call, int32_t dtype, const void* distance, const void* start, const void* size,
                            int64_t depth, int64_t height, int64_t width, void* out) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::run_op(call, lg::implicit::Round<T>{static_cast<const T*>(distance),
                                                   static_cast<const T*>(start),
                                                   static_cast<const T*>(size),
                                                   {width, height, depth},
                                                   {1, width, width * height},
                                                   static_cast<T*>(out),
                                                   nullptr});
  });
}
