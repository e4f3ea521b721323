// rasterize on the CPU: visibility first, then attributes once per visible pixel; and the backward pass.
#include <algorithm>
#include <vector>

#include "lumigrad.h"
#include "math/bits.h"
#include "math/lanes.h"
#include "parallel/tile_chunks.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/prefetch.h"
#include "runtime/status.h"
#include "surface/attribute_sink_cpu.h"
#include "surface/attributes.h"
#include "surface/fragment_lanes_cpu.h"
#include "surface/geometry.h"
#include "surface/lane_planes.h"
#include "surface/tile_triangles.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {
namespace {

// A record: the gradients of the four planes while it is being summed, those of the three vertices at the end.
constexpr int64_t record_values = 12;

// Gradients of the outputs, zero where there are none.
template <class T>
struct alignas(64) LaneGradients {
  T bary[2][chunk_lanes], depth[1][chunk_lanes];

  LaneGradients(const FragmentGradients<T>& in, int64_t first, int count) {
    std::fill_n(bary[0], in.bary ? 0 : 2 * chunk_lanes, T(0));
    std::fill_n(depth[0], in.depth ? 0 : chunk_lanes, T(0));
    if (in.bary) load_lanes(in.bary + 2 * first, 2, count, bary);
    if (in.rast) PackedLanes<T>(in.rast + 4 * first, count).store_bary(bary);
    if (in.depth) load_lanes(in.depth + first, 1, count, depth);
  }
};

template <class T>
void prefetch_gradients(const FragmentGradients<T>& in, int64_t first, int count) {
  if (in.bary) prefetch_values(in.bary + 2 * first, 2 * count);
  if (in.rast) prefetch_values(in.rast + 4 * first, 4 * count);
  if (in.depth) prefetch_values(in.depth + first, count);
  if (in.bary_d) prefetch_values(in.bary_d + 4 * first, 4 * count);
}

// The gradients of the four planes at a pixel from those of u, v and depth.
template <bool StraightThrough, class T>
LG_HD void plane_gradients(const PixelPlanes<T>& pixel, T grad_u, T grad_v, T grad_depth, T out[4]) {
  if (!StraightThrough) unclamp_gradients(pixel, &grad_u, &grad_v, &grad_depth);
  project_gradients(pixel, grad_u, grad_v, T(0), out);
  out[3] = grad_depth;
}

// All lanes of the chunk show one triangle. record: its sums.
template <bool StraightThrough, class T>
void add_uniform(const PixelChunk& chunk, const LaneGradients<T>& in, const Planes<T>& planes, T* LG_RESTRICT record) {
  const Planes<T> p = planes;
  const T first_x = static_cast<T>(chunk.column - p.anchor_x), y = static_cast<T>(chunk.row - p.anchor_y);
  alignas(64) T g[4][chunk_lanes], gx[4][chunk_lanes];
  LG_VECTORIZE
  for (int l = 0; l < chunk_lanes; ++l) {
    const T x = first_x + static_cast<T>(l);
    T out[4];
    plane_gradients<StraightThrough>(evaluate(p, x, y), in.bary[0][l], in.bary[1][l], in.depth[0][l], out);
    for (int k = 0; k < 4; ++k) g[k][l] = out[k];
    for (int k = 0; k < 4; ++k) gx[k][l] = out[k] * x;
  }
  for (int k = 0; k < 4; ++k) {
    const T total = sum(load(g[k]));
    record[k] += total;
    record[4 + k] += sum(load(gx[k]));
    record[8 + k] += total * y;
  }
}

// The lanes show different triangles, or none. records: rows of sums.
template <bool StraightThrough, class T>
void add_runs(const PixelChunk& chunk, const LaneGradients<T>& in, const TileTriangles<T>& triangles,
              T* LG_RESTRICT records) {
  LanePlanes<T> planes(chunk.column, chunk.row);
  const int32_t* number = chunk.numbers;
  for (uint32_t rest = chunk.starts; rest; rest &= rest - 1) {
    planes.set(lanes_from_lowest(rest), triangles.planes(*number++));
  }
  alignas(64) T a[4][chunk_lanes], g[4][chunk_lanes], gradients[chunk_lanes][4], x[chunk_lanes];
  planes.evaluate(LaneOffsets<T>::ahead, LaneOffsets<T>::none, a);
  store(x, planes.x);
  LG_VECTORIZE
  for (int l = 0; l < chunk_lanes; ++l) {
    const T at[4] = {a[0][l], a[1][l], a[2][l], a[3][l]};
    T out[4];
    plane_gradients<StraightThrough>(project(at), in.bary[0][l], in.bary[1][l], in.depth[0][l], out);
    for (int k = 0; k < 4; ++k) g[k][l] = out[k];
  }
  for (int l = 0; l < chunk_lanes; ++l) {
    for (int k = 0; k < 4; ++k) gradients[l][k] = g[k][l];
  }
  chunk.for_runs([&](int32_t n, int from, int to) {
    Lanes<T, 4> sum = T(0), sum_x = T(0);
    for (int l = from; l <= to; ++l) {
      const auto here = Lanes<T, 4>::load(gradients[l]);
      sum = sum + here;
      sum_x = sum_x + here * x[l];
    }
    const T y = static_cast<T>(chunk.row - triangles.planes(n).anchor_y);
    T* record = records + n * record_values;
    store(record, Lanes<T, 4>::load(record) + sum);
    store(record + 4, Lanes<T, 4>::load(record + 4) + sum_x);
    store(record + 8, Lanes<T, 4>::load(record + 8) + sum * y);
  });
}

// What the gradients of the screen derivatives at one pixel add to its triangle's record.
template <class T>
void add_derivatives(const FragmentGradients<T>& in, const Planes<T>& planes, int64_t pixel, int32_t column,
                     int32_t row, T* LG_RESTRICT record) {
  const T x = static_cast<T>(column - planes.anchor_x), y = static_cast<T>(row - planes.anchor_y);
  const PixelPlanes<T> p = evaluate(planes, x, y);
  T gu = 0, gv = 0, shared = 0, gdx[3], gdy[3], g[4] = {0, 0, 0, 0};
  derivative_gradients(planes, p, in.bary_d + 4 * pixel, &gu, &gv, &shared, gdx, gdy);
  project_gradients(p, gu, gv, shared, g);
  for (int k = 0; k < 3; ++k) record[k] += g[k];
  for (int k = 0; k < 3; ++k) record[4 + k] += g[k] * x + gdx[k];
  for (int k = 0; k < 3; ++k) record[8 + k] += g[k] * y + gdy[k];
}

template <class T>
struct TileWork {
  TileWork() {}  // does not clear `chunks`
  TileTriangles<T> triangles;
  TileChunks chunks;
};

template <bool StraightThrough, class T>
void backward_tile(const Geometry<T>& geometry, const FragmentGradients<T>& in, const PixelTile& tile,
                   int64_t chunk_number, int worker, TileWork<T>& work, TriangleGradients<T>& gradients) {
  work.triangles.begin_tile();
  work.chunks.number(
      tile, geometry.image.height, geometry.image.width,
      FragmentLanes<T>{make_fragments<T>(in.frag_tri, nullptr, nullptr, nullptr)},
      [&](int32_t id, int32_t column, int32_t row) { return work.triangles.find(geometry, id, column, row); });
  work.triangles.set_up(geometry, tile.view, true);
  gradients.begin_chunk(chunk_number, worker, tile.view);
  const int32_t count = work.triangles.count();
  T* records =
      gradients.append(worker, count, [&](int64_t i) { return work.triangles.triangle(static_cast<int32_t>(i)); });
  const auto ahead = [&](const PixelChunk& chunk) { prefetch_gradients(in, chunk.first, chunk.count); };
  work.chunks.for_each(ahead, [&](const PixelChunk& chunk) {
    if (chunk.seen == 0) return;
    const LaneGradients<T> lanes(in, chunk.first, chunk.count);
    if (chunk.uniform()) {
      const int32_t number = chunk.numbers[0];
      add_uniform<StraightThrough>(chunk, lanes, work.triangles.planes(number), records + number * record_values);
    } else {
      add_runs<StraightThrough>(chunk, lanes, work.triangles, records);
    }
    if (!in.bary_d) return;
    chunk.for_runs([&](int32_t number, int from, int to) {
      for (int l = from; l <= to; ++l) {
        add_derivatives(in, work.triangles.planes(number), chunk.first + l, chunk.column + l, chunk.row,
                        records + number * record_values);
      }
    });
  });
  for (int32_t first = 0; first < count; first += setup_lanes) {
    work.triangles.finish(first, std::min(setup_lanes, count - first), records + first * record_values);
  }
  gradients.end_chunk(chunk_number, worker);
}

template <class T>
void backward(int32_t threads, const Geometry<T>& geometry, const FragmentGradients<T>& in, T* grad_pos) {
  const ImageSize& image = geometry.image;
  const TileGrid tiles(image.views, image.height, image.width);
  TriangleGradients<T> gradients(threads, tiles.count(), record_values);
  std::vector<TileWork<T>> work(static_cast<size_t>(std::max(1, threads)));
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    if (in.straight_through) {
      backward_tile<true>(geometry, in, tiles[i], i, worker, work[worker], gradients);
    } else {
      backward_tile<false>(geometry, in, tiles[i], i, worker, work[worker], gradients);
    }
  });
  gradients.scatter(threads, geometry.mesh.tri, geometry.mesh.vertices, image.views, geometry.mesh.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg::surface

int32_t lg_rasterize_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                             int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                             int32_t subpixel_bits, const int32_t* after_tri, const float* after_zbuffer,
                             int32_t drop_coincident, int32_t* frag_tri, void* bary, void* depth, void* bary_d,
                             float* zbuffer, void* rast) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    if (height > lg::surface::max_resolution || width > lg::surface::max_resolution) {
      throw lg::InvalidArgument("size: at most %d pixels a side, got (%lld, %lld)",
                                static_cast<int>(lg::surface::max_resolution), static_cast<long long>(height),
                                static_cast<long long>(width));
    }
    const auto request =
        lg::surface::make_visibility_request(dtype, pos, tri, ranges, views, vertices, triangles, height, width,
                                             subpixel_bits, after_tri, after_zbuffer, drop_coincident);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, ranges != nullptr, views, vertices, triangles, height, width);
    const bool stream = lg::worth_streaming(static_cast<int64_t>(sizeof(T)) * views * height * width);
    lg::surface::AttributeSink<T> sink(geometry, call->threads,
                                       {frag_tri, static_cast<T*>(bary), static_cast<T*>(depth),
                                        static_cast<T*>(bary_d), zbuffer, static_cast<T*>(rast), stream});
    lg::surface::resolve_visibility(call->threads, request, sink);
  });
}

int32_t lg_rasterize_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int32_t straight_through, const int32_t* frag_tri,
                              const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
                              const void* grad_rast, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto geometry =
        lg::surface::make_geometry<T>(pos, tri, shared_positions != 0, views, vertices, triangles, height, width);
    const auto in = lg::surface::make_fragment_gradients<T>(frag_tri, grad_bary, grad_depth, grad_bary_d, grad_rast,
                                                            straight_through);
    lg::surface::backward(call->threads, geometry, in, static_cast<T*>(grad_pos));
  });
}
