// rasterize on the CPU: visibility first, then attributes once per visible pixel; and the backward pass.
#include <algorithm>
#include <cstring>
#include <vector>

#include "lumigrad.h"
#include "math/bits.h"
#include "math/quad.h"
#include "parallel/tile_chunks.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/memory.h"
#include "runtime/prefetch.h"
#include "runtime/status.h"
#include "surface/attributes.h"
#include "surface/coverage.h"
#include "surface/fragment_images.h"
#include "surface/lane_planes.h"
#include "surface/tile_triangles.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {
namespace {

// Attributes of a block all of whose lanes see one triangle.
template <class T, bool Derivatives>
void shade_uniform(const Planes<T>& planes, int32_t column, int32_t row, BlockAttributes<T>& LG_RESTRICT out) {
  const T x = static_cast<T>(column - planes.anchor_x), y = static_cast<T>(row - planes.anchor_y);
  const Planes<T> p = planes;
  LG_VECTORIZE
  for (int l = 0; l < block_lanes; ++l) {
    const PixelPlanes<T> pixel = evaluate(p, x + static_cast<T>(l & 3), y + static_cast<T>(l >> 2));
    const PixelAttributes<T> a = clamp_attributes(pixel);
    out.u[l] = a.u;
    out.v[l] = a.v;
    out.depth[l] = a.depth;
    if (Derivatives) {
      T d[4];
      derivatives(p, pixel, d);
      for (int k = 0; k < 4; ++k) out.d[k][l] = d[k];
    }
  }
}

// The lanes of a block that see one triangle.
struct BlockPart {
  int32_t number;
  uint32_t lanes;
};

// Attributes of a block whose lanes see different triangles, or (where `seen` has no bit) none. parts: until all seen
// lanes have had theirs; returns the end of them.
template <class T, bool Derivatives>
const BlockPart* shade_mixed(const TileTriangles<T>& triangles, const BlockPart* parts, uint32_t seen, int32_t column,
                             int32_t row, BlockAttributes<T>& LG_RESTRICT out) {
  LanePlanes<T> planes(column, row);
  for (uint32_t rest = seen; rest; rest &= ~parts++->lanes) planes.set(parts->lanes, triangles.planes(parts->number));
  alignas(64) T values[4][block_lanes], dx[3][block_lanes], dy[3][block_lanes];
  planes.evaluate(LaneOffsets<T>::block_x, LaneOffsets<T>::block_y, values);
  for (int k = 0; Derivatives && k < 3; ++k) {
    wide::store(dx[k], planes.dx[k]);
    wide::store(dy[k], planes.dy[k]);
  }
  LG_VECTORIZE
  for (int l = 0; l < block_lanes; ++l) {
    const T at[4] = {values[0][l], values[1][l], values[2][l], values[3][l]};
    const PixelPlanes<T> pixel = project(at);
    const PixelAttributes<T> a = clamp_attributes(pixel);
    const bool mine = (seen >> l & 1) != 0;
    out.u[l] = mine ? a.u : T(0);
    out.v[l] = mine ? a.v : T(0);
    out.depth[l] = mine ? a.depth : T(0);
    if (Derivatives) {
      Planes<T> p;
      for (int k = 0; k < 3; ++k) p.dx[k] = dx[k][l], p.dy[k] = dy[k][l];
      T d[4];
      derivatives(p, pixel, d);
      for (int k = 0; k < 4; ++k) out.d[k][l] = mine ? d[k] : T(0);
    }
  }
  return parts;
}

template <class T>
class AttributeSink final : public TileSink {
 public:
  AttributeSink(const Geometry<T>& geometry, int workers, const FragmentImages<T>& images)
      : geometry_(geometry), met_(static_cast<size_t>(std::max(1, workers))), images_(images) {}

  void consume(const Tile& tile, int worker) override {
    if (tile.empty) {
      for (int32_t y = 0; y < tile.height; ++y) images_.clear(pixel(tile, 0, y), tile.width);
      return;
    }
    Met& met = met_[worker];
    meet(tile, met);
    met.triangles.set_up(geometry_, tile.view, false);
    if (images_.bary_d) {
      shade<true>(tile, met);
    } else {
      shade<false>(tile, met);
    }
  }

 private:
  // The triangles of a tile, and which lanes of its blocks see them, block by block.
  struct Met {
    Met() {}  // does not clear `parts`
    TileTriangles<T> triangles;
    BlockPart parts[tile_blocks * block_lanes];
  };

  // Where the lanes of the block at (x, y) of a tile begin.
  static int first_lane(int32_t x, int32_t y) {
    return ((y / block_size) * blocks_per_row + x / block_size) * block_lanes;
  }

  static constexpr uint32_t all_lanes = (1u << block_lanes) - 1;

  // The lanes of a block that see a triangle.
  static uint32_t seen_lanes(const Tile& tile, const int32_t* ids, int32_t x, int32_t y) {
    return ~equal_lanes(ids, -1) & lanes_inside(tile, x, y);
  }

  void meet(const Tile& tile, Met& met) const {
    met.triangles.begin_tile();
    BlockPart* next = met.parts;
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += block_size) {
        const int32_t* ids = tile.triangle + first_lane(x, y);
        for (uint32_t rest = seen_lanes(tile, ids, x, y); rest; rest &= ~next++->lanes) {
          const int32_t id = ids[lowest_lane(rest)];
          *next = {met.triangles.find(geometry_, id, tile.x + x, tile.y + y), equal_lanes(ids, id) & rest};
        }
      }
    }
  }

  int64_t pixel(const Tile& tile, int32_t x, int32_t y) const {
    return (tile.view * geometry_.height + tile.y + y) * geometry_.width + tile.x + x;
  }

  template <bool Derivatives>
  void shade(const Tile& tile, const Met& met) {
    Strip<T> strip;
    const BlockPart* parts = met.parts;
    for (int32_t y = 0; y < tile.height; y += block_size) {
      uint64_t shaded = 0;  // blocks
      for (int32_t x = 0; x < tile.width; x += block_size) {
        const uint32_t seen = seen_lanes(tile, tile.triangle + first_lane(x, y), x, y);
        parts = shade_block<Derivatives>(tile, x, y, seen, met.triangles, parts, strip);
        shaded |= static_cast<uint64_t>(seen != 0) << (x / block_size);
      }
      for (int r = 0; r < std::min(block_size, tile.height - y); ++r) write_row(tile, y + r, shaded, strip.row(r));
    }
  }

  // By pieces that fill lines of memory.
  void write_row(const Tile& tile, int32_t y, uint64_t shaded_blocks, const FragmentImages<T>& row) const {
    constexpr int piece = 4 * block_size;
    for (int32_t x = 0; x < tile.width; x += piece) {
      const int64_t first = pixel(tile, x, y), count = std::min(piece, tile.width - x);
      if ((shaded_blocks >> (x / block_size) & 0xfu) == 0) {
        images_.clear(first, count);
      } else if (LG_LIKELY(count == piece)) {
        images_.write(first, piece, row, x);
      } else {
        images_.write(first, count, row, x);
      }
    }
  }

  // Returns the end of the block's parts.
  template <bool Derivatives>
  const BlockPart* shade_block(const Tile& tile, int32_t x, int32_t y, uint32_t seen, const TileTriangles<T>& triangles,
                               const BlockPart* parts, Strip<T>& strip) const {
    const int32_t* ids = tile.triangle + first_lane(x, y);
    BlockAttributes<T> out;
    if (seen == 0) {
      std::memset(&out, 0, Derivatives ? sizeof out : sizeof out - sizeof out.d);
    } else if (parts->lanes == all_lanes) {
      shade_uniform<T, Derivatives>(triangles.planes(parts++->number), tile.x + x, tile.y + y, out);
    } else {
      parts = shade_mixed<T, Derivatives>(triangles, parts, seen, tile.x + x, tile.y + y, out);
    }
    strip.template set_block<Derivatives>(x, ids, out);
    if (images_.zbuffer) strip.set_zbuffer(x, ids, tile.depth + first_lane(x, y));
    return parts;
  }

  static uint32_t lanes_inside(const Tile& tile, int32_t x, int32_t y) {
    if (x + block_size <= tile.width && y + block_size <= tile.height) return 0xffffu;
    uint32_t lanes = 0;
    for (int l = 0; l < block_lanes; ++l) {
      lanes |= static_cast<uint32_t>(x + (l & 3) < tile.width && y + (l >> 2) < tile.height) << l;
    }
    return lanes;
  }

  const Geometry<T> geometry_;
  std::vector<Met> met_;
  const FragmentImages<T> images_;
};

// ---- Backward ---------------------------------------------------------------------------------------------

template <class T>
struct PixelGradientInputs {
  const int32_t* frag_tri;
  const T* bary;  // gradients of the outputs; null: zero
  const T* depth;
  const T* bary_d;
  bool straight_through;
};

// A record: the gradients of the four planes while it is being summed, those of the three vertices in the end.
constexpr int64_t record_values = 12;

// Gradients of the outputs, zero where there are none.
template <class T>
struct alignas(64) LaneGradients {
  T bary[2][chunk_lanes], depth[1][chunk_lanes];

  LaneGradients(const PixelGradientInputs<T>& in, int64_t first, int count) {
    std::fill_n(bary[0], in.bary ? 0 : 2 * chunk_lanes, T(0));
    std::fill_n(depth[0], in.depth ? 0 : chunk_lanes, T(0));
    if (in.bary) load_lanes(in.bary + 2 * first, 2, count, bary);
    if (in.depth) load_lanes(in.depth + first, 1, count, depth);
  }
};

template <class T>
void prefetch_gradients(const PixelGradientInputs<T>& in, int64_t first, int count) {
  if (in.bary) prefetch_values(in.bary + 2 * first, 2 * count);
  if (in.depth) prefetch_values(in.depth + first, count);
  if (in.bary_d) prefetch_values(in.bary_d + 4 * first, 4 * count);
}

// Gradients of the four planes at a pixel.
template <bool StraightThrough, class T>
LG_HD void plane_gradients(const PixelPlanes<T>& pixel, T gu, T gv, T gd, T out[4]) {
  if (!StraightThrough) unclamp_gradients(pixel, &gu, &gv, &gd);
  project_gradients(pixel, gu, gv, T(0), out);
  out[3] = gd;
}

// All lanes of the chunk see one triangle. record: its sums.
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
    const T sum = wide::sum(wide::load(g[k]));
    record[k] += sum;
    record[4 + k] += wide::sum(wide::load(gx[k]));
    record[8 + k] += sum * y;
  }
}

// The lanes see different triangles, or none. records: rows of sums.
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
  wide::store(x, planes.x);
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
    Quad<T> sum = {}, sum_x = {};
    for (int l = from; l <= to; ++l) {
      const Quad<T> here = load_quad(gradients[l]);
      sum = sum + here;
      sum_x = sum_x + here * x[l];
    }
    const T y = static_cast<T>(chunk.row - triangles.planes(n).anchor_y);
    T* record = records + n * record_values;
    store_quad(record, load_quad(record) + sum);
    store_quad(record + 4, load_quad(record + 4) + sum_x);
    store_quad(record + 8, load_quad(record + 8) + sum * y);
  });
}

// What the gradients of the screen derivatives at one pixel add to its triangle's record.
template <class T>
void add_derivatives(const PixelGradientInputs<T>& in, const Planes<T>& planes, int64_t pixel, int32_t column,
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
void backward_tile(const Geometry<T>& geometry, const PixelGradientInputs<T>& in, const PixelTile& tile,
                   int64_t chunk_number, int worker, TileWork<T>& work, TriangleGradients<T>& gradients) {
  work.triangles.begin_tile();
  work.chunks.number(tile, geometry.height, geometry.width, in.frag_tri, [&](int32_t id, int32_t column, int32_t row) {
    return work.triangles.find(geometry, id, column, row);
  });
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
  for (int32_t first = 0; first < count; first += double_lanes) {
    work.triangles.finish(first, std::min(double_lanes, count - first), records + first * record_values);
  }
  gradients.end_chunk(chunk_number, worker);
}

template <class T>
void backward(int32_t threads, const Geometry<T>& geometry, const PixelGradientInputs<T>& in, int64_t views,
              T* grad_pos) {
  const TileGrid tiles(views, geometry.height, geometry.width);
  TriangleGradients<T> gradients(threads, tiles.count(), record_values);
  std::vector<TileWork<T>> work(static_cast<size_t>(std::max(1, threads)));
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    if (in.straight_through) {
      backward_tile<true>(geometry, in, tiles[i], i, worker, work[worker], gradients);
    } else {
      backward_tile<false>(geometry, in, tiles[i], i, worker, work[worker], gradients);
    }
  });
  gradients.scatter(threads, geometry.tri, geometry.vertices, views, geometry.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg::surface

int32_t lg_rasterize_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                             int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                             int32_t subpixel_bits, const int32_t* after_tri, const float* after_zbuffer,
                             int32_t drop_coincident, int32_t* out_tri, void* out_bary, void* out_depth,
                             void* out_bary_d, float* out_zbuffer) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    if (height > lg::surface::max_resolution || width > lg::surface::max_resolution) {
      throw lg::InvalidArgument("resolution: at most %d pixels a side, got (%lld, %lld)",
                                static_cast<int>(lg::surface::max_resolution), static_cast<long long>(height),
                                static_cast<long long>(width));
    }
    const lg::surface::VisibilityRequest request = {
        call->threads, dtype,  pos,   tri,           ranges,    views,         vertices,
        triangles,     height, width, subpixel_bits, after_tri, after_zbuffer, drop_coincident != 0};
    const lg::surface::Geometry<T> geometry = {static_cast<const T*>(pos), tri, vertices, width, height,
                                               ranges != nullptr};
    const bool stream = lg::worth_streaming(static_cast<int64_t>(sizeof(T)) * views * height * width);
    lg::surface::AttributeSink<T> sink(geometry, call->threads,
                                       {out_tri, static_cast<T*>(out_bary), static_cast<T*>(out_depth),
                                        static_cast<T*>(out_bary_d), out_zbuffer, stream});
    lg::surface::resolve_visibility(request, sink);
  });
}

int32_t lg_rasterize_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int32_t straight_through, const int32_t* frag_tri,
                              const void* grad_bary, const void* grad_depth, const void* grad_bary_d, void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::surface::Geometry<T> geometry = {static_cast<const T*>(pos), tri, vertices, width, height,
                                               shared_positions != 0};
    const lg::surface::PixelGradientInputs<T> in = {frag_tri, static_cast<const T*>(grad_bary),
                                                    static_cast<const T*>(grad_depth),
                                                    static_cast<const T*>(grad_bary_d), straight_through != 0};
    static_cast<void>(triangles);
    lg::surface::backward<T>(call->threads, geometry, in, views, static_cast<T*>(grad_pos));
  });
}
