// rasterize on the CPU: visibility first, then attributes once per visible pixel; and the backward pass.
#include <algorithm>
#include <cstring>
#include <vector>

#include "common/bits.h"
#include "common/memory.h"
#include "common/quad.h"
#include "common/status.h"
#include "common/tiles.h"
#include "common/triangle_gradients.h"
#include "lumigrad.h"
#include "rasterize/attributes.h"
#include "rasterize/coverage.h"
#include "rasterize/tile_triangles.h"
#include "rasterize/visibility_cpu.h"

namespace lg {
namespace {

template <class T>
struct alignas(64) BlockAttributes {
  T u[block_lanes], v[block_lanes], depth[block_lanes];
  T d[4][block_lanes];
};

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

// A triangle's planes at a pixel of the image, all four at once.
template <class T>
LG_HD void fetch_values(const Planes<T>& p, int32_t column, int32_t row, T out[4]) {
  const T x = static_cast<T>(column - p.anchor_x), y = static_cast<T>(row - p.anchor_y);
  store_quad(out, (load_quad(p.at) + load_quad(p.dy) * y) + load_quad(p.dx) * x);
}

// Attributes of a block whose lanes see different triangles, or (where `seen` has no bit) none. numbers: of the
// lanes' triangles. The planes are fetched lane by lane and projected side by side.
template <class T, bool Derivatives>
void shade_mixed(const TileTriangles<T>& triangles, const int32_t* numbers, uint32_t seen, int32_t column, int32_t row,
                 BlockAttributes<T>& LG_RESTRICT out) {
  alignas(64) T values[block_lanes][4];
  for (int l = 0; l < block_lanes; ++l) {
    fetch_values(triangles.planes(numbers[l]), column + (l & 3), row + (l >> 2), values[l]);
  }
  PixelPlanes<T> pixels[block_lanes];
  for (int l = 0; l < block_lanes; ++l) {
    const PixelPlanes<T> pixel = project(values[l]);
    const PixelAttributes<T> a = clamp_attributes(pixel);
    const bool mine = (seen >> l & 1) != 0;
    out.u[l] = mine ? a.u : T(0);
    out.v[l] = mine ? a.v : T(0);
    out.depth[l] = mine ? a.depth : T(0);
    if (Derivatives) pixels[l] = pixel;
  }
  for (int l = 0; Derivatives && l < block_lanes; ++l) {
    T d[4];
    derivatives(triangles.planes(numbers[l]), pixels[l], d);
    for (int k = 0; k < 4; ++k) out.d[k][l] = (seen >> l & 1) ? d[k] : T(0);
  }
}

template <class T>
class AttributeSink final : public TileSink {
 public:
  AttributeSink(const Geometry<T>& geometry, int workers, int32_t* tri, T* bary, T* depth, T* bary_d, float* zbuffer)
      : geometry_(geometry), met_(static_cast<size_t>(std::max(1, workers))), tri_(tri), bary_(bary), depth_(depth),
        bary_d_(bary_d), zbuffer_(zbuffer) {}

  void consume(const Tile& tile, int worker) override {
    if (tile.empty) {
      clear(tile);
      return;
    }
    Met& met = met_[worker];
    meet(tile, met);
    met.triangles.set_up(geometry_, tile.view, false);
    for_blocks(tile, [&](int block, int32_t x, int32_t y) {
      if (bary_d_) {
        shade_block<true>(tile, block, x, y, met);
      } else {
        shade_block<false>(tile, block, x, y, met);
      }
    });
  }

 private:
  // The triangles of a tile, and the numbers of those that the lanes of its blocks see; of a block whose lanes all see
  // the same, only the first lane's is there.
  struct Met {
    TileTriangles<T> triangles;
    int32_t numbers[tile_blocks * block_lanes];
  };

  template <class Body>
  static void for_blocks(const Tile& tile, Body&& body) {
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += block_size) {
        body((y / block_size) * blocks_per_row + x / block_size, x, y);
      }
    }
  }

  static constexpr uint32_t all_lanes = (1u << block_lanes) - 1;

  // The lanes of a block that see a triangle.
  static uint32_t seen_lanes(const Tile& tile, const int32_t* ids, int32_t x, int32_t y) {
    return ~equal_lanes(ids, -1) & lanes_inside(tile, x, y);
  }

  void meet(const Tile& tile, Met& met) const {
    met.triangles.begin_tile();
    for_blocks(tile, [&](int block, int32_t x, int32_t y) {
      const int32_t* ids = tile.triangle + block * block_lanes;
      int32_t* numbers = met.numbers + block * block_lanes;
      const uint32_t seen = seen_lanes(tile, ids, x, y);
      if (seen == 0) return;
      const auto find = [&](int l) { return met.triangles.find(geometry_, ids[l], tile.x + x, tile.y + y); };
      if (seen == all_lanes && equal_lanes(ids, ids[0]) == all_lanes) {
        numbers[0] = find(0);
      } else {
        for (int l = 0; l < block_lanes; ++l) numbers[l] = (seen >> l & 1) ? find(l) : 0;
      }
    });
  }

  int64_t pixel(const Tile& tile, int32_t x, int32_t y) const {
    return (tile.view * geometry_.height + tile.y + y) * geometry_.width + tile.x + x;
  }

  void clear(const Tile& tile) {
    for (int32_t y = 0; y < tile.height; ++y) {
      const int64_t first = pixel(tile, 0, y);
      std::fill_n(tri_ + first, tile.width, -1);
      if (zbuffer_) std::fill_n(zbuffer_ + first, tile.width, 0.0f);
      std::memset(bary_ + 2 * first, 0, sizeof(T) * 2 * tile.width);
      std::memset(depth_ + first, 0, sizeof(T) * tile.width);
      if (bary_d_) std::memset(bary_d_ + 4 * first, 0, sizeof(T) * 4 * tile.width);
    }
  }

  template <bool Derivatives>
  void shade_block(const Tile& tile, int block, int32_t x, int32_t y, const Met& met) {
    const int32_t *ids = tile.triangle + block * block_lanes, *numbers = met.numbers + block * block_lanes;
    const uint32_t seen = seen_lanes(tile, ids, x, y);
    BlockAttributes<T> out;
    if (seen == 0) {
      std::memset(&out, 0, Derivatives ? sizeof out : sizeof out - sizeof out.d);
    } else if (seen == all_lanes && equal_lanes(ids, ids[0]) == all_lanes) {
      shade_uniform<T, Derivatives>(met.triangles.planes(numbers[0]), tile.x + x, tile.y + y, out);
    } else {
      shade_mixed<T, Derivatives>(met.triangles, numbers, seen, tile.x + x, tile.y + y, out);
    }
    store<Derivatives>(tile, block, x, y, ids, out);
  }

  static uint32_t lanes_inside(const Tile& tile, int32_t x, int32_t y) {
    if (x + block_size <= tile.width && y + block_size <= tile.height) return 0xffffu;
    uint32_t lanes = 0;
    for (int l = 0; l < block_lanes; ++l) {
      lanes |= static_cast<uint32_t>(x + (l & 3) < tile.width && y + (l >> 2) < tile.height) << l;
    }
    return lanes;
  }

  template <bool Derivatives>
  void store(const Tile& tile, int block, int32_t x, int32_t y, const int32_t* ids, const BlockAttributes<T>& a) {
    const int rows = std::min(block_size, tile.height - y), columns = std::min(block_size, tile.width - x);
    for (int r = 0; r < rows; ++r) {
      const int64_t first = pixel(tile, x, y + r);
      if (LG_LIKELY(columns == block_size)) {
        store_row<Derivatives>(first, r, block_size, tile.depth + block * block_lanes, ids, a);
      } else {
        store_row<Derivatives>(first, r, columns, tile.depth + block * block_lanes, ids, a);
      }
    }
  }

  template <bool Derivatives>
  LG_HD void store_row(int64_t first, int r, int columns, const float* z, const int32_t* ids,
                       const BlockAttributes<T>& a) {
    const int lane = r * block_size;
    T* LG_RESTRICT bary = bary_ + 2 * first;
    T* LG_RESTRICT depth = depth_ + first;
    std::copy_n(ids + lane, columns, tri_ + first);
    for (int c = 0; c < columns; ++c) {
      bary[2 * c] = a.u[lane + c];
      bary[2 * c + 1] = a.v[lane + c];
    }
    for (int c = 0; c < columns; ++c) depth[c] = a.depth[lane + c];
    for (int c = 0; Derivatives && c < columns; ++c) {
      for (int k = 0; k < 4; ++k) bary_d_[4 * (first + c) + k] = a.d[k][lane + c];
    }
    for (int c = 0; zbuffer_ && c < columns; ++c) zbuffer_[first + c] = ids[lane + c] < 0 ? 0.0f : z[lane + c];
  }

  const Geometry<T> geometry_;
  std::vector<Met> met_;
  int32_t* tri_;
  T* bary_;
  T* depth_;
  T* bary_d_;
  float* zbuffer_;
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

// Work goes by chunks: sixteen neighbouring pixels of a row, fewer at the end of a tile.
constexpr int chunk_lanes = 16;

template <class T>
struct alignas(64) Chunk {
  int32_t column, row, count;
  uint32_t seen;  // lanes that see a triangle
  T u[chunk_lanes], v[chunk_lanes], depth[chunk_lanes];  // gradients of the outputs
};

template <class T>
void load_gradients(const PixelGradientInputs<T>& in, int64_t first, int count, Chunk<T>& chunk) {
  for (int l = 0; l < count; ++l) chunk.u[l] = in.bary ? in.bary[2 * (first + l)] : T(0);
  for (int l = 0; l < count; ++l) chunk.v[l] = in.bary ? in.bary[2 * (first + l) + 1] : T(0);
  for (int l = 0; l < count; ++l) chunk.depth[l] = in.depth ? in.depth[first + l] : T(0);
  for (int l = count; l < chunk_lanes; ++l) chunk.u[l] = chunk.v[l] = chunk.depth[l] = T(0);
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
void add_uniform(const Chunk<T>& chunk, const Planes<T>& planes, T* LG_RESTRICT record) {
  const Planes<T> p = planes;
  const T first_x = static_cast<T>(chunk.column - p.anchor_x), y = static_cast<T>(chunk.row - p.anchor_y);
  alignas(64) T g[4][chunk_lanes], gx[4][chunk_lanes];
  LG_VECTORIZE
  for (int l = 0; l < chunk_lanes; ++l) {
    const T x = first_x + static_cast<T>(l);
    T out[4];
    plane_gradients<StraightThrough>(evaluate(p, x, y), chunk.u[l], chunk.v[l], chunk.depth[l], out);
    for (int k = 0; k < 4; ++k) g[k][l] = out[k];
    for (int k = 0; k < 4; ++k) gx[k][l] = out[k] * x;
  }
  for (int k = 0; k < 4; ++k) {
    const T sum = sum_lanes(g[k]);
    record[k] += sum;
    record[4 + k] += sum_lanes(gx[k]);
    record[8 + k] += sum * y;
  }
}

// The lanes see different triangles, or none. numbers: of the lanes' triangles; records: rows of sums.
template <bool StraightThrough, class T>
void add_mixed(const Chunk<T>& chunk, const TileTriangles<T>& triangles, const int32_t* numbers,
               T* LG_RESTRICT records) {
  alignas(64) T values[chunk_lanes][4], gradients[chunk_lanes][4];
  for (int l = 0; l < chunk_lanes; ++l) {
    fetch_values(triangles.planes(numbers[l]), chunk.column + l, chunk.row, values[l]);
  }
  alignas(64) T a[4][chunk_lanes], g[4][chunk_lanes];
  for (int l = 0; l < chunk_lanes; ++l) {
    for (int k = 0; k < 4; ++k) a[k][l] = values[l][k];
  }
  LG_VECTORIZE
  for (int l = 0; l < chunk_lanes; ++l) {
    const T at[4] = {a[0][l], a[1][l], a[2][l], a[3][l]};
    T out[4];
    plane_gradients<StraightThrough>(project(at), chunk.u[l], chunk.v[l], chunk.depth[l], out);
    for (int k = 0; k < 4; ++k) g[k][l] = out[k];
  }
  for (int l = 0; l < chunk_lanes; ++l) {
    for (int k = 0; k < 4; ++k) gradients[l][k] = g[k][l];
  }
  for (uint32_t rest = chunk.seen; rest; rest &= rest - 1) {
    const int l = lowest_lane(rest);
    const Planes<T>& p = triangles.planes(numbers[l]);
    const T x = static_cast<T>(chunk.column + l - p.anchor_x), y = static_cast<T>(chunk.row - p.anchor_y);
    const Quad<T> g = load_quad(gradients[l]);
    T* record = records + numbers[l] * record_values;
    store_quad(record, load_quad(record) + g);
    store_quad(record + 4, load_quad(record + 4) + g * x);
    store_quad(record + 8, load_quad(record + 8) + g * y);
  }
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
  TileTriangles<T> triangles;
  int32_t numbers[tile_size * tile_size];  // of the triangle that each pixel sees, where it sees one
};

// Calls body(chunk, ids, first, numbers) for the chunks of a tile that see anything; first: the first pixel's place
// in the image.
template <class T, class Body>
void for_chunks(const Geometry<T>& geometry, const PixelTile& tile, const int32_t* frag_tri, TileWork<T>& work,
                Body&& body) {
  Chunk<T> chunk;
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    for (int64_t column = tile.x0; column < tile.x1; column += chunk_lanes) {
      const int64_t first = (tile.view * geometry.height + row) * geometry.width + column;
      chunk.column = static_cast<int32_t>(column);
      chunk.row = static_cast<int32_t>(row);
      chunk.count = static_cast<int32_t>(std::min<int64_t>(chunk_lanes, tile.x1 - column));
      chunk.seen = seen_lanes(frag_tri + first, chunk.count);
      if (chunk.seen == 0) continue;
      body(chunk, first, work.numbers + (row - tile.y0) * tile_size + (column - tile.x0));
    }
  }
}

template <class T>
void number_triangles(const Geometry<T>& geometry, const PixelTile& tile, const int32_t* frag_tri, TileWork<T>& work) {
  work.triangles.begin_tile();
  for_chunks(geometry, tile, frag_tri, work, [&](const Chunk<T>& chunk, int64_t first, int32_t* numbers) {
    const int32_t* ids = frag_tri + first;
    const auto find = [&](int l) { return work.triangles.find(geometry, ids[l], chunk.column + l, chunk.row); };
    if (chunk.seen == 0xffffu && equal_lanes(ids, ids[0]) == 0xffffu) {
      std::fill_n(numbers, chunk_lanes, find(0));
    } else {
      for (int l = 0; l < chunk_lanes; ++l) numbers[l] = (chunk.seen >> l & 1) ? find(l) : 0;
    }
  });
}

template <bool StraightThrough, class T>
void backward_tile(const Geometry<T>& geometry, const PixelGradientInputs<T>& in, const PixelTile& tile,
                   int64_t chunk_number, int worker, TileWork<T>& work, TriangleGradients<T>& gradients) {
  number_triangles(geometry, tile, in.frag_tri, work);
  work.triangles.set_up(geometry, tile.view, true);
  gradients.begin_chunk(chunk_number, worker, tile.view);
  const int32_t count = work.triangles.count();
  T* records = gradients.append(worker, count, [&](int64_t i) { return work.triangles.triangle(static_cast<int32_t>(i)); });
  for_chunks(geometry, tile, in.frag_tri, work, [&](Chunk<T>& chunk, int64_t first, const int32_t* numbers) {
    load_gradients(in, first, chunk.count, chunk);
    if (chunk.seen == 0xffffu && equal_lanes(numbers, numbers[0]) == 0xffffu) {
      add_uniform<StraightThrough>(chunk, work.triangles.planes(numbers[0]), records + numbers[0] * record_values);
    } else {
      add_mixed<StraightThrough>(chunk, work.triangles, numbers, records);
    }
    for (int l = 0; in.bary_d && l < chunk.count; ++l) {
      if (!(chunk.seen >> l & 1)) continue;
      add_derivatives(in, work.triangles.planes(numbers[l]), first + l, chunk.column + l, chunk.row,
                      records + numbers[l] * record_values);
    }
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
}  // namespace lg

int32_t lg_rasterize_forward(int32_t threads, int32_t dtype, const void* pos, const int32_t* tri,
                             const int64_t* ranges, int64_t views, int64_t vertices, int64_t triangles,
                             int64_t height, int64_t width, int32_t subpixel_bits, const int32_t* after_tri,
                             const float* after_zbuffer, int32_t drop_coincident, int32_t* out_tri, void* out_bary,
                             void* out_depth, void* out_bary_d, float* out_zbuffer) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    if (height > lg::max_resolution || width > lg::max_resolution) {
      throw lg::InvalidArgument("resolution: at most %d pixels a side, got (%lld, %lld)",
                                static_cast<int>(lg::max_resolution), static_cast<long long>(height),
                                static_cast<long long>(width));
    }
    const lg::VisibilityRequest request = {threads, dtype,   pos,   tri,           ranges,    views,
                                           vertices, triangles, height, width, subpixel_bits, after_tri,
                                           after_zbuffer, drop_coincident != 0};
    const lg::Geometry<T> geometry = {static_cast<const T*>(pos), tri, vertices, width, height, ranges != nullptr};
    lg::AttributeSink<T> sink(geometry, threads, out_tri, static_cast<T*>(out_bary), static_cast<T*>(out_depth),
                              static_cast<T*>(out_bary_d), out_zbuffer);
    lg::resolve_visibility(request, sink);
  });
}

int32_t lg_rasterize_backward(int32_t threads, int32_t dtype, const void* pos, const int32_t* tri,
                              int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                              int64_t height, int64_t width, int32_t straight_through, const int32_t* frag_tri,
                              const void* grad_bary, const void* grad_depth, const void* grad_bary_d,
                              void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::Geometry<T> geometry = {static_cast<const T*>(pos), tri, vertices, width, height,
                                      shared_positions != 0};
    const lg::PixelGradientInputs<T> in = {frag_tri, static_cast<const T*>(grad_bary),
                                           static_cast<const T*>(grad_depth), static_cast<const T*>(grad_bary_d),
                                           straight_through != 0};
    static_cast<void>(triangles);
    lg::backward<T>(threads, geometry, in, views, static_cast<T*>(grad_pos));
  });
}
