// The backward pass of rasterize on the CPU, of attributes that were interpolated in the same pass too, tile by tile.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "math/bits.h"
#include "math/lanes.h"
#include "parallel/tile_chunks.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/prefetch.h"
#include "surface/attributes.h"
#include "surface/few_channels.h"
#include "surface/fragment_lanes_cpu.h"
#include "surface/geometry.h"
#include "surface/lane_planes.h"
#include "surface/tile_attributes_cpu.h"
#include "surface/tile_triangles.h"

namespace lg::surface {

// A record: the gradients of the four planes while it is being summed, those of the three vertices at the end. With
// attributes also the sums of u g, v g and g of their gradients g, four values each; at the end, the gradients of the
// attributes of the three vertices.
template <int Channels>
struct PixelRecord {
  enum : int64_t { planes = 0, sum_ug = 12, sum_vg = 16, sum_g = 20, values = Channels > 0 ? 24 : 12 };
};

// Gradients of the outputs, zero where there are none, and what they lead to: gradients of the planes, and weights of
// the attributes of vertices 0 and 1.
template <class T, int Channels>
struct alignas(64) LaneGradients {
  static constexpr int channels = std::max(1, Channels);
  T bary[2][chunk_lanes], depth[1][chunk_lanes], attributes[channels][chunk_lanes];

  LaneGradients(const FragmentGradients<T>& in, int64_t first, int count) {
    std::fill_n(bary[0], in.bary ? 0 : 2 * chunk_lanes, T(0));
    std::fill_n(depth[0], in.depth ? 0 : chunk_lanes, T(0));
    if (in.bary) load_lanes(in.bary + 2 * first, 2, count, bary);
    if (in.rast) PackedLanes<T>(in.rast + 4 * first, count).store_bary(bary);
    if (in.depth) load_lanes(in.depth + first, 1, count, depth);
    if constexpr (Channels > 0) load_lanes(in.attributes + Channels * first, Channels, count, attributes);
  }
};

template <class T>
struct alignas(64) LaneWeights {
  T u[chunk_lanes], v[chunk_lanes];
};

template <int Channels, class T>
void prefetch_gradients(const FragmentGradients<T>& in, int64_t first, int count) {
  if (in.bary) prefetch_values(in.bary + 2 * first, 2 * count);
  if (in.rast) prefetch_values(in.rast + 4 * first, 4 * count);
  if (in.depth) prefetch_values(in.depth + first, count);
  if (in.bary_d) prefetch_values(in.bary_d + 4 * first, 4 * count);
  if (Channels > 0) prefetch_values(in.attributes + Channels * first, Channels * count);
}

// The gradients of the four planes at a pixel from those of u, v and depth.
template <bool StraightThrough, class T>
LG_HD void plane_gradients(const PixelPlanes<T>& pixel, T grad_u, T grad_v, T grad_depth, T out[4]) {
  if (!StraightThrough) unclamp_gradients(pixel, &grad_u, &grad_v, &grad_depth);
  project_gradients(pixel, grad_u, grad_v, T(0), out);
  out[3] = grad_depth;
}

// The differences a0 - a2 and a1 - a2 of a triangle's attributes, channel by channel.
template <class T, int Channels>
struct AttributeSides {
  T u[std::max(1, Channels)], v[std::max(1, Channels)];

  AttributeSides(const TileAttributes<T, Channels>& attributes, int32_t number) {
    if constexpr (Channels > 0) {
      const T* a = attributes.corners(number);
      for (int c = 0; c < Channels; ++c) {
        u[c] = a[c] - a[2 * Channels + c];
        v[c] = a[Channels + c] - a[2 * Channels + c];
      }
    }
  }
};

// All lanes of the chunk show one triangle. record: its sums.
template <bool StraightThrough, class T, int Channels>
void add_uniform(const PixelChunk& chunk, const LaneGradients<T, Channels>& in, const Planes<T>& planes,
                 const AttributeSides<T, Channels>& sides, T* LG_RESTRICT record) {
  const Planes<T> p = planes;
  const AttributeSides<T, Channels> d = sides;
  const T first_x = static_cast<T>(chunk.column - p.anchor_x), y = static_cast<T>(chunk.row - p.anchor_y);
  alignas(64) T g[4][chunk_lanes], gx[4][chunk_lanes];
  LaneWeights<T> weights;
  LG_VECTORIZE
  for (int l = 0; l < chunk_lanes; ++l) {
    const T x = first_x + static_cast<T>(l);
    const PixelPlanes<T> pixel = evaluate(p, x, y);
    T grad_u = in.bary[0][l], grad_v = in.bary[1][l], out[4];
    for (int c = 0; c < Channels; ++c) grad_u += in.attributes[c][l] * d.u[c];
    for (int c = 0; c < Channels; ++c) grad_v += in.attributes[c][l] * d.v[c];
    if (Channels > 0) {
      const PixelAttributes<T> at = clamp_attributes(pixel);
      weights.u[l] = at.u;
      weights.v[l] = at.v;
    }
    plane_gradients<StraightThrough>(pixel, grad_u, grad_v, in.depth[0][l], out);
    for (int k = 0; k < 4; ++k) g[k][l] = out[k];
    for (int k = 0; k < 4; ++k) gx[k][l] = out[k] * x;
  }
  for (int k = 0; k < 4; ++k) {
    const T total = sum(load(g[k]));
    record[k] += total;
    record[4 + k] += sum(load(gx[k]));
    record[8 + k] += total * y;
  }
  if constexpr (Channels > 0) {
    using Record = PixelRecord<Channels>;
    const Lanes<T> u = load(weights.u), v = load(weights.v);
    for (int c = 0; c < Channels; ++c) {
      const Lanes<T> grad = load(in.attributes[c]);
      record[Record::sum_ug + c] += sum(grad * u);
      record[Record::sum_vg + c] += sum(grad * v);
      record[Record::sum_g + c] += sum(grad);
    }
  }
}

template <class T>
LG_INLINE void add_to(T* record, const Lanes<T, 4>& value) {
  store(record, Lanes<T, 4>::load(record) + value);
}

// The lanes show different triangles, or none. records: rows of sums; attributes: gradients of the chunk's pixels.
template <bool StraightThrough, class T, int Channels>
void add_runs(const PixelChunk& chunk, const LaneGradients<T, Channels>& in, const TileTriangles<T>& triangles,
              const TileAttributes<T, Channels>& corners, const T* attributes, T* LG_RESTRICT records) {
  using Record = PixelRecord<Channels>;
  constexpr int channels = std::max(1, Channels);
  LanePlanes<T> planes(chunk.column, chunk.row);
  Lanes<T> to_u[channels], to_v[channels];
  for (int c = 0; c < Channels; ++c) to_u[c] = to_v[c] = T(0);
  const int32_t* number = chunk.numbers;
  for (uint32_t rest = chunk.starts; rest; rest &= rest - 1, ++number) {
    const uint32_t lanes = lanes_from_lowest(rest);
    planes.set(lanes, triangles.planes(*number));
    const AttributeSides<T, Channels> sides(corners, *number);
    const auto mask = mask_of<T>(lanes);
    for (int c = 0; c < Channels; ++c) to_u[c] = select(mask, Lanes<T>(sides.u[c]), to_u[c]);
    for (int c = 0; c < Channels; ++c) to_v[c] = select(mask, Lanes<T>(sides.v[c]), to_v[c]);
  }
  alignas(64) T a[4][chunk_lanes], g[4][chunk_lanes], gradients[chunk_lanes][4], x[chunk_lanes], bary[2][chunk_lanes];
  planes.evaluate(LaneOffsets<T>::ahead, LaneOffsets<T>::none, a);
  store(x, planes.x);
  Lanes<T> grad_u = load(in.bary[0]), grad_v = load(in.bary[1]);
  for (int c = 0; c < Channels; ++c) grad_u = grad_u + load(in.attributes[c]) * to_u[c];
  for (int c = 0; c < Channels; ++c) grad_v = grad_v + load(in.attributes[c]) * to_v[c];
  store(bary[0], grad_u);
  store(bary[1], grad_v);
  LaneWeights<T> weights;
  LG_VECTORIZE
  for (int l = 0; l < chunk_lanes; ++l) {
    const T at[4] = {a[0][l], a[1][l], a[2][l], a[3][l]};
    const PixelPlanes<T> pixel = project(at);
    T out[4];
    plane_gradients<StraightThrough>(pixel, bary[0][l], bary[1][l], in.depth[0][l], out);
    for (int k = 0; k < 4; ++k) g[k][l] = out[k];
    if (Channels > 0) {
      const PixelAttributes<T> clamped = clamp_attributes(pixel);
      weights.u[l] = clamped.u;
      weights.v[l] = clamped.v;
    }
  }
  for (int l = 0; l < chunk_lanes; ++l) {
    for (int k = 0; k < 4; ++k) gradients[l][k] = g[k][l];
  }
  chunk.for_runs([&](int32_t n, int from, int to) {
    Lanes<T, 4> sum = T(0), sum_x = T(0), sum_g = T(0), sum_ug = T(0), sum_vg = T(0);
    for (int l = from; l <= to; ++l) {
      const auto here = Lanes<T, 4>::load(gradients[l]);
      sum = sum + here;
      sum_x = sum_x + here * x[l];
      if constexpr (Channels > 0) {
        const Lanes<T, 4> grad = load_channels<Channels>(attributes + l * Channels);
        sum_g = sum_g + grad;
        sum_ug = sum_ug + grad * weights.u[l];
        sum_vg = sum_vg + grad * weights.v[l];
      }
    }
    const T y = static_cast<T>(chunk.row - triangles.planes(n).anchor_y);
    T* record = records + n * Record::values;
    add_to(record, sum);
    add_to(record + 4, sum_x);
    add_to(record + 8, sum * y);
    if constexpr (Channels > 0) {
      add_to(record + Record::sum_ug, sum_ug);
      add_to(record + Record::sum_vg, sum_vg);
      add_to(record + Record::sum_g, sum_g);
    }
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

// From sums over a triangle's pixels to the gradients of its vertices' attributes.
template <class T>
LG_INLINE void finish_attributes(T* record) {
  using Record = PixelRecord<1>;
  T* last = record + Record::sum_g;
  store(last, Lanes<T, 4>::load(last) - Lanes<T, 4>::load(record + Record::sum_ug) -
                  Lanes<T, 4>::load(record + Record::sum_vg));
}

// The gradients that the backward pass computes; null: not wanted.
template <class T>
struct VertexGradients {
  T *pos, *attr;
};

template <class T, int Channels, bool StraightThrough>
class RasterizeBackward {
 public:
  RasterizeBackward(int32_t threads, const Geometry<T>& geometry, const FragmentGradients<T>& in,
                    const VertexAttributes<T>& attributes)
      : threads_(threads),
        geometry_(geometry),
        in_(in),
        attributes_(attributes),
        tiles_(geometry.image.views, geometry.image.height, geometry.image.width),
        records_(threads, tiles_.count(), Record::values),
        work_(static_cast<size_t>(std::max(1, threads))) {}

  void run(const VertexGradients<T>& out) {
    parallel_for(threads_, tiles_.count(), [&](int64_t i, int worker) {
      records_.begin_chunk(i, worker, tiles_[i].view);
      add_tile(tiles_[i], worker);
      records_.end_chunk(i, worker);
    });
    const MeshIndex& mesh = geometry_.mesh;
    const int64_t views = geometry_.image.views;
    if (out.pos) {
      records_.scatter(threads_, mesh.tri, mesh.vertices, views, mesh.shared, 4, {Record::planes, 4}, out.pos);
    }
    if (out.attr) {
      records_.scatter(threads_, mesh.tri, mesh.vertices, views, attributes_.views == 1, Channels, {Record::sum_ug, 4},
                       out.attr);
    }
  }

 private:
  using Record = PixelRecord<Channels>;

  struct Work {
    Work() {}  // does not clear `chunks`
    TileTriangles<T> triangles;
    TileAttributes<T, Channels> attributes;
    TileChunks chunks;
  };

  void add_tile(const PixelTile& tile, int worker) {
    Work& work = work_[worker];
    work.triangles.begin_tile();
    work.chunks.number(
        tile, geometry_.image.height, geometry_.image.width,
        FragmentLanes<T>{make_fragments<T>(in_.frag_tri, nullptr, nullptr, nullptr)},
        [&](int32_t id, int32_t column, int32_t row) { return work.triangles.find(geometry_, id, column, row); });
    work.triangles.set_up(geometry_, tile.view, true);
    if constexpr (Channels > 0) work.attributes.set_up(attributes_, geometry_.mesh.tri, tile.view, work.triangles);
    const int32_t count = work.triangles.count();
    T* records =
        records_.append(worker, count, [&](int64_t i) { return work.triangles.triangle(static_cast<int32_t>(i)); });
    const auto ahead = [&](const PixelChunk& chunk) { prefetch_gradients<Channels>(in_, chunk.first, chunk.count); };
    work.chunks.for_each(ahead, [&](const PixelChunk& chunk) {
      if (chunk.seen != 0) add_chunk(chunk, work, records);
    });
    for (int32_t first = 0; first < count; first += setup_lanes) {
      work.triangles.finish(first, std::min(setup_lanes, count - first), records + first * Record::values,
                            Record::values);
    }
    for (int32_t i = 0; Channels > 0 && i < count; ++i) finish_attributes(records + i * Record::values);
  }

  void add_chunk(const PixelChunk& chunk, const Work& work, T* records) const {
    const LaneGradients<T, Channels> lanes(in_, chunk.first, chunk.count);
    if (chunk.uniform()) {
      const int32_t number = chunk.numbers[0];
      add_uniform<StraightThrough>(chunk, lanes, work.triangles.planes(number),
                                   AttributeSides<T, Channels>(work.attributes, number),
                                   records + number * Record::values);
    } else {
      add_runs<StraightThrough>(chunk, lanes, work.triangles, work.attributes, in_.attributes + Channels * chunk.first,
                                records);
    }
    if (!in_.bary_d) return;
    chunk.for_runs([&](int32_t number, int from, int to) {
      for (int l = from; l <= to; ++l) {
        add_derivatives(in_, work.triangles.planes(number), chunk.first + l, chunk.column + l, chunk.row,
                        records + number * Record::values);
      }
    });
  }

  const int32_t threads_;
  const Geometry<T>& geometry_;
  const FragmentGradients<T>& in_;
  const VertexAttributes<T> attributes_;
  const TileGrid tiles_;
  TriangleGradients<T> records_;
  std::vector<Work> work_;
};

// Of positions alone.
template <class T>
void backward(int32_t threads, const Geometry<T>& geometry, const FragmentGradients<T>& in, T* grad_pos) {
  if (in.straight_through) {
    RasterizeBackward<T, 0, true>(threads, geometry, in, {}).run({grad_pos, nullptr});
  } else {
    RasterizeBackward<T, 0, false>(threads, geometry, in, {}).run({grad_pos, nullptr});
  }
}

// Compiled once, in rasterize_cpu.cpp.
extern template void backward(int32_t, const Geometry<float>&, const FragmentGradients<float>&, float*);
extern template void backward(int32_t, const Geometry<double>&, const FragmentGradients<double>&, double*);

}  // namespace lg::surface
