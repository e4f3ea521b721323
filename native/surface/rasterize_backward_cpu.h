// The backward pass of rasterize on the CPU, tile by tile, including attributes interpolated in the same pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "math/bits.h"
#include "math/lanes.h"
#include "math/unrolled.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/prefetch.h"
#include "surface/attributes.h"
#include "surface/block_values_cpu.h"
#include "surface/geometry.h"
#include "surface/lane_planes.h"
#include "surface/part_sums_cpu.h"
#include "surface/tile_attributes_cpu.h"
#include "surface/tile_blocks_cpu.h"
#include "surface/tile_triangles.h"

namespace lg::surface {

// A record holds the gradients of the four planes during summation, and those of the three vertices at the end. With
// attributes, whose gradients are g, it also holds the sums of u g, v g and g, four values each; at the end, the
// gradients of the three vertices' attributes.
template <int Channels>
struct PixelRecord {
  enum : int64_t { planes = 0, sum_ug = 12, sum_vg = 16, sum_g = 20, values = Channels > 0 ? 24 : 12 };
};

// The position of a block: its first pixel and that pixel's place in the image, whose rows are `width` pixels long.
struct BlockPlace {
  int64_t first, width;
  int32_t column, row;
  uint32_t inside;  // the lanes within the image
};

// Gradients of u, v and depth at a block; zero if not given.
template <class T>
LG_INLINE void load_gradients(const FragmentGradients<T>& in, const BlockPlace& place, Lanes<T>& u, Lanes<T>& v,
                              Lanes<T>& depth) {
  u = v = depth = Lanes<T>(T(0));
  if (in.bary) {
    const BlockValues<T, 2> bary(in.bary + 2 * place.first, 2 * place.width, place.inside);
    u = bary.value[0], v = bary.value[1];
  }
  if (in.rast) {
    const BlockValues<T, 4> packed(in.rast + 4 * place.first, 4 * place.width, place.inside);
    u = packed.value[0], v = packed.value[1];
  }
  if (in.depth) depth = BlockValues<T, 1>(in.depth + place.first, place.width, place.inside).value[0];
}

template <int Channels, class T>
void prefetch_gradients(const FragmentGradients<T>& in, const PixelPiece& piece, int64_t width) {
  for (int r = 0; r < piece.rows; ++r) {
    const int64_t first = piece.first + r * width;
    if (in.bary) prefetch_values(in.bary + 2 * first, 2 * piece.columns);
    if (in.rast) prefetch_values(in.rast + 4 * first, 4 * piece.columns);
    if (in.depth) prefetch_values(in.depth + first, piece.columns);
    if (in.bary_d) prefetch_values(in.bary_d + 4 * first, 4 * piece.columns);
    if (Channels > 0) prefetch_values(in.attributes + Channels * first, Channels * piece.columns);
  }
}

// Converts the gradients of u, v and depth at a pixel to those of the four planes.
template <bool StraightThrough, class T>
LG_HD void plane_gradients(const PixelPlanes<T>& pixel, T grad_u, T grad_v, T grad_depth, T out[4]) {
  if (!StraightThrough) unclamp_gradients(pixel, &grad_u, &grad_v, &grad_depth);
  project_gradients(pixel, grad_u, grad_v, T(0), out);
  out[3] = grad_depth;
}

// Values of the lanes of a block that depend on the lane's triangle.
template <class T, int Channels>
struct LaneTriangles {
  LanePlanes<T> planes;
  Lanes<T> to_u[std::max(1, Channels)], to_v[std::max(1, Channels)];  // how u and v change the attributes

  explicit LG_INLINE LaneTriangles(const BlockPlace& place) : planes(place.column, place.row) {
    unrolled<std::max(1, Channels)>([&](int c) LG_INLINE_LAMBDA { to_u[c] = to_v[c] = Lanes<T>(T(0)); });
  }

  LG_INLINE void set(uint32_t lanes, const Planes<T>& triangle, const TileAttributes<T, Channels>& sides,
                     int32_t number) {
    const auto mask = mask_of<T>(lanes);
    planes.set(mask, triangle);
    if constexpr (Channels > 0) {
      const T* side = sides.corners(number);
      unrolled<Channels>([&](int c) LG_INLINE_LAMBDA {
        to_u[c] = select(mask, Lanes<T>(side[c]), to_u[c]);
        to_v[c] = select(mask, Lanes<T>(side[Channels + c]), to_v[c]);
      });
    }
  }
};

// The gradients of the lanes of a block: of the planes, and weights of the gradients of the attributes.
template <class T>
struct LaneGradients {
  alignas(64) T planes[4][block_lanes], weights[2][block_lanes];
};

// Converts the gradients of u, v and depth at a block to `LaneGradients`. values: of the planes.
template <bool StraightThrough, int Channels, class T>
LG_INLINE void block_gradients(const T (&values)[4][block_lanes], const Lanes<T>& grad_u, const Lanes<T>& grad_v,
                               const Lanes<T>& grad_depth, LaneGradients<T>* out) {
  alignas(64) T bary[2][block_lanes], depth[block_lanes];
  store(bary[0], grad_u);
  store(bary[1], grad_v);
  store(depth, grad_depth);
  LG_VECTORIZE
  for (int l = 0; l < block_lanes; ++l) {
    const T at[4] = {values[0][l], values[1][l], values[2][l], values[3][l]};
    const PixelPlanes<T> pixel = project(at);
    T g[4];
    plane_gradients<StraightThrough>(pixel, bary[0][l], bary[1][l], depth[l], g);
    for (int k = 0; k < 4; ++k) out->planes[k][l] = g[k];
    if (Channels > 0) {
      const PixelAttributes<T> clamped = clamp_attributes(pixel);
      out->weights[0][l] = clamped.u;
      out->weights[1][l] = clamped.v;
    }
  }
}

// The values of each lane that a record sums, in fours. attributes: the gradients of the attributes.
template <int Channels, class T, int Count>
LG_INLINE void set_quads(const LaneGradients<T>& g, const Lanes<T>* attributes, BlockQuads<T> (&quads)[Count]) {
  quads[0].set(load(g.planes[0]), load(g.planes[1]), load(g.planes[2]), load(g.planes[3]));
  if constexpr (Channels > 0) {
    const Lanes<T> zero = T(0);
    unrolled<2>([&](int k) LG_INLINE_LAMBDA {
      const Lanes<T> weight = load(g.weights[k]);
      quads[1 + k].set(attributes[0] * weight, Channels > 1 ? attributes[1 % Channels] * weight : zero,
                       Channels > 2 ? attributes[2 % Channels] * weight : zero,
                       Channels > 3 ? attributes[3 % Channels] * weight : zero);
    });
    quads[3].set(attributes[0], Channels > 1 ? attributes[1 % Channels] : zero,
                 Channels > 2 ? attributes[2 % Channels] : zero, Channels > 3 ? attributes[3 % Channels] : zero);
  }
}

// Adds a block to the records of its triangles. seen: the lanes of all of its parts. Returns the end of these.
template <bool StraightThrough, class T, int Channels>
LG_INLINE const BlockPart* add_block(const FragmentGradients<T>& in, const BlockPlace& place, uint32_t seen,
                                     const BlockPart* parts, const TileTriangles<T>& triangles,
                                     const TileAttributes<T, Channels>& sides, T* LG_RESTRICT records) {
  using Record = PixelRecord<Channels>;
  LaneTriangles<T, Channels> lanes(place);
  const BlockPart* end = parts;
  for (uint32_t rest = seen; rest; rest &= ~end++->lanes)
    lanes.set(end->lanes, triangles.planes(end->number), sides, end->number);
  alignas(64) T at[4][block_lanes];
  lanes.planes.evaluate(LaneOffsets<T>::block_x, LaneOffsets<T>::block_y, at);
  Lanes<T> grad_u, grad_v, grad_depth, grad[std::max(1, Channels)];
  load_gradients(in, place, grad_u, grad_v, grad_depth);
  if constexpr (Channels > 0) {
    const BlockValues<T, Channels> values(in.attributes + Channels * place.first, Channels * place.width, place.inside);
    unrolled<Channels>([&](int c) LG_INLINE_LAMBDA {
      grad[c] = values.value[c];
      grad_u = grad_u + grad[c] * lanes.to_u[c];
      grad_v = grad_v + grad[c] * lanes.to_v[c];
    });
  }
  LaneGradients<T> gradients;
  block_gradients<StraightThrough, Channels>(at, grad_u, grad_v, grad_depth, &gradients);
  BlockQuads<T> quads[Record::values / 4 - 2];
  set_quads<Channels>(gradients, grad, quads);
  const PartSums<T, Record::values / 4 - 2> sums(quads);
  for (; parts != end; ++parts) {
    const Planes<T>& p = triangles.planes(parts->number);
    sums.add(parts->lanes, static_cast<T>(place.column - p.anchor_x), static_cast<T>(place.row - p.anchor_y),
             records + parts->number * Record::values);
  }
  return end;
}

// Adds the contribution of one pixel's gradients of screen derivatives to its triangle's record.
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

// Converts sums over a triangle's pixels to the gradients of its vertices' attributes.
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
    Work() {}  // does not clear `blocks`
    TileTriangles<T> triangles;
    TileAttributes<T, Channels> sides;
    TileBlocks blocks;
  };

  void add_tile(const PixelTile& tile, int worker) {
    Work& work = work_[worker];
    work.triangles.begin_tile();
    const ImageSize& image = geometry_.image;
    work.blocks.number(tile, image.height, image.width, in_.frag_tri, [&](int32_t id, int32_t column, int32_t row) {
      return work.triangles.find(geometry_, id, column, row);
    });
    work.triangles.set_up(geometry_, tile.view, true);
    if constexpr (Channels > 0) {
      work.sides.set_up(attributes_, geometry_.mesh.tri, tile.view, work.triangles);
      work.sides.subtract_last();
    }
    const int32_t count = work.triangles.count();
    T* records =
        records_.append(worker, count, [&](int64_t i) { return work.triangles.triangle(static_cast<int32_t>(i)); });
    const auto ahead = [&](const PixelPiece& piece) { prefetch_gradients<Channels>(in_, piece, image.width); };
    work.blocks.for_each(ahead, [&](const PixelPiece& piece) { return add_piece(piece, work, records); });
    for (int32_t first = 0; first < count; first += setup_lanes) {
      work.triangles.finish(first, std::min(setup_lanes, count - first), records + first * Record::values,
                            Record::values);
    }
    for (int32_t i = 0; Channels > 0 && i < count; ++i) finish_attributes(records + i * Record::values);
  }

  // Returns the end of the piece's parts.
  const BlockPart* add_piece(const PixelPiece& piece, const Work& work, T* records) const {
    const BlockPart* part = piece.parts;
    for (int b = 0; b < PixelPiece::blocks; ++b) {
      if (piece.seen[b] == 0) continue;
      const int32_t in_piece = b * block_size;
      const BlockPlace place = {piece.first + in_piece, geometry_.image.width, piece.column + in_piece, piece.row,
                                lanes_inside(in_piece, 0, piece.columns, piece.rows)};
      const BlockPart* first = part;
      part = add_block<StraightThrough>(in_, place, piece.seen[b], part, work.triangles, work.sides, records);
      for (; in_.bary_d && first != part; ++first) add_derivatives_of(*first, place, work, records);
    }
    return part;
  }

  void add_derivatives_of(const BlockPart& part, const BlockPlace& place, const Work& work, T* records) const {
    for (uint32_t rest = part.lanes; rest; rest &= rest - 1) {
      const int l = lowest_lane(rest), x = l % block_size, y = l / block_size;
      add_derivatives(in_, work.triangles.planes(part.number), place.first + y * place.width + x, place.column + x,
                      place.row + y, records + part.number * Record::values);
    }
  }

  const int32_t threads_;
  const Geometry<T>& geometry_;
  const FragmentGradients<T>& in_;
  const VertexAttributes<T> attributes_;
  const TileGrid tiles_;
  TriangleGradients<T> records_;
  std::vector<Work> work_;
};

// Positions only.
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
