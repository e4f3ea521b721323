// rasterize on the CPU: visibility first, then attributes once per visible pixel; and the backward pass.
#include <algorithm>
#include <cstring>
#include <vector>

#include "common/bits.h"
#include "common/memory.h"
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

// Attributes of the lanes of a block that see `triangle`.
template <class T, bool Derivatives>
void shade_lanes(const Planes<T>& planes, int32_t triangle, const int32_t* LG_RESTRICT ids, int32_t column,
                 int32_t row, BlockAttributes<T>& LG_RESTRICT out) {
  const T x = static_cast<T>(column - planes.anchor_x), y = static_cast<T>(row - planes.anchor_y);
  const Planes<T> p = planes;
  LG_VECTORIZE
  for (int l = 0; l < block_lanes; ++l) {
    const PixelPlanes<T> pixel = evaluate(p, x + static_cast<T>(l & 3), y + static_cast<T>(l >> 2));
    const PixelAttributes<T> a = clamp_attributes(pixel);
    const bool mine = ids[l] == triangle;
    out.u[l] = mine ? a.u : out.u[l];
    out.v[l] = mine ? a.v : out.v[l];
    out.depth[l] = mine ? a.depth : out.depth[l];
    if (Derivatives) {
      T d[4];
      derivatives(p, pixel, d);
      for (int k = 0; k < 4; ++k) out.d[k][l] = mine ? d[k] : out.d[k][l];
    }
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
    const int32_t* next = met.numbers.data();
    for_blocks(tile, [&](int block, int32_t x, int32_t y) {
      next = bary_d_ ? shade_block<true>(tile, block, x, y, met.triangles, next)
                     : shade_block<false>(tile, block, x, y, met.triangles, next);
    });
  }

 private:
  // The triangles of a tile, and their numbers block by block in the order of for_triangles().
  struct Met {
    TileTriangles<T> triangles;
    Array<int32_t> numbers;
  };

  template <class Body>
  static void for_blocks(const Tile& tile, Body&& body) {
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += block_size) {
        body((y / block_size) * blocks_per_row + x / block_size, x, y);
      }
    }
  }

  // Calls body(triangle) once for every triangle that the block's pixels see.
  template <class Body>
  static void for_triangles(const Tile& tile, int block, int32_t x, int32_t y, Body&& body) {
    const int32_t* ids = tile.triangle + block * block_lanes;
    uint32_t remaining = ~equal_lanes(ids, -1) & lanes_inside(tile, x, y);
    while (remaining) {
      const int32_t triangle = ids[lowest_lane(remaining)];
      remaining &= ~equal_lanes(ids, triangle);
      body(triangle);
    }
  }

  void meet(const Tile& tile, Met& met) const {
    met.triangles.begin_tile();
    met.numbers.clear();
    for_blocks(tile, [&](int block, int32_t x, int32_t y) {
      for_triangles(tile, block, x, y, [&](int32_t triangle) {
        met.numbers.push_back(met.triangles.find(geometry_, triangle, tile.x + x, tile.y + y));
      });
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

  // Returns where the next block's triangle numbers start.
  template <bool Derivatives>
  const int32_t* shade_block(const Tile& tile, int block, int32_t x, int32_t y, const TileTriangles<T>& triangles,
                             const int32_t* number) {
    const int32_t* ids = tile.triangle + block * block_lanes;
    BlockAttributes<T> out;
    std::memset(&out, 0, Derivatives ? sizeof out : sizeof out - sizeof out.d);
    for_triangles(tile, block, x, y, [&](int32_t triangle) {
      shade_lanes<T, Derivatives>(triangles.planes(*number++), triangle, ids, tile.x + x, tile.y + y, out);
    });
    store<Derivatives>(tile, block, x, y, ids, out);
    return number;
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
    for (int c = 0; c < columns; ++c) {
      const int l = r * block_size + c;
      tri_[first + c] = ids[l];
      bary_[2 * (first + c)] = a.u[l];
      bary_[2 * (first + c) + 1] = a.v[l];
      depth_[first + c] = a.depth[l];
      if (Derivatives) {
        for (int k = 0; k < 4; ++k) bary_d_[4 * (first + c) + k] = a.d[k][l];
      }
    }
    if (zbuffer_) {
      for (int c = 0; c < columns; ++c) {
        const int l = r * block_size + c;
        zbuffer_[first + c] = ids[l] < 0 ? 0.0f : z[l];
      }
    }
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

// Adds the gradient of one pixel at (x, y) from the anchor to a record: four values of each of at, dx, dy.
template <class T, bool WithDerivatives>
LG_HD void add_pixel(const PixelGradientInputs<T>& in, const Planes<T>& planes, int64_t pixel, T x, T y,
                     T* LG_RESTRICT sum) {
  const PixelPlanes<T> p = evaluate(planes, x, y);
  T gu = in.bary ? in.bary[2 * pixel] : T(0), gv = in.bary ? in.bary[2 * pixel + 1] : T(0);
  T g[4] = {0, 0, 0, in.depth ? in.depth[pixel] : T(0)}, shared = 0;
  if (!in.straight_through) unclamp_gradients(p, &gu, &gv, &g[3]);
  if (WithDerivatives) {
    T gdx[3], gdy[3];
    derivative_gradients(planes, p, in.bary_d + 4 * pixel, &gu, &gv, &shared, gdx, gdy);
    for (int k = 0; k < 3; ++k) sum[4 + k] += gdx[k];
    for (int k = 0; k < 3; ++k) sum[8 + k] += gdy[k];
  }
  project_gradients(p, gu, gv, shared, g);
  for (int k = 0; k < 4; ++k) sum[k] += g[k];
  for (int k = 0; k < 4; ++k) sum[4 + k] += g[k] * x;
  for (int k = 0; k < 4; ++k) sum[8 + k] += g[k] * y;
}

// A horizontal run of pixels of a tile that see one triangle.
struct Run {
  int32_t number, column, row, length;
};

template <class T>
struct TileWork {
  TileTriangles<T> triangles;
  Array<Run> runs;
};

template <class T>
void find_runs(const Geometry<T>& geometry, const PixelTile& tile, const int32_t* frag_tri, TileWork<T>& work) {
  work.triangles.begin_tile();
  work.runs.clear();
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    const int32_t* line = frag_tri + (tile.view * geometry.height + row) * geometry.width;
    for (int64_t column = tile.x0; column < tile.x1;) {
      const int64_t end = run_end(line, column, tile.x1);
      if (line[column] >= 0) {
        const auto c = static_cast<int32_t>(column), r = static_cast<int32_t>(row);
        work.runs.push_back({work.triangles.find(geometry, line[column], c, r), c, r, static_cast<int32_t>(end - column)});
      }
      column = end;
    }
  }
}

template <class T, bool WithDerivatives>
void backward_tile(const Geometry<T>& geometry, const PixelGradientInputs<T>& in, const PixelTile& tile,
                   int64_t chunk, int worker, TileWork<T>& work, TriangleGradients<T>& gradients) {
  find_runs(geometry, tile, in.frag_tri, work);
  work.triangles.set_up(geometry, tile.view, true);
  gradients.begin_chunk(chunk, worker, tile.view);
  const int32_t count = work.triangles.count();
  T* values = gradients.append(worker, count, [&](int64_t i) { return work.triangles.triangle(static_cast<int32_t>(i)); });
  for (size_t i = 0; i < work.runs.size(); ++i) {
    const Run run = work.runs[i];
    const Planes<T>& planes = work.triangles.planes(run.number);
    const T y = static_cast<T>(run.row - planes.anchor_y);
    const int64_t first = (tile.view * geometry.height + run.row) * geometry.width + run.column;
    for (int32_t p = 0; p < run.length; ++p) {
      const T x = static_cast<T>(run.column + p - planes.anchor_x);
      add_pixel<T, WithDerivatives>(in, planes, first + p, x, y, values + run.number * record_values);
    }
  }
  for (int32_t first = 0; first < count; first += double_lanes) {
    work.triangles.finish(first, std::min(double_lanes, count - first), values + first * record_values);
  }
  gradients.end_chunk(chunk, worker);
}

template <class T>
void backward(int32_t threads, const Geometry<T>& geometry, const PixelGradientInputs<T>& in, int64_t views,
              T* grad_pos) {
  const TileGrid tiles(views, geometry.height, geometry.width);
  TriangleGradients<T> gradients(threads, tiles.count(), record_values);
  std::vector<TileWork<T>> work(static_cast<size_t>(std::max(1, threads)));
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    if (in.bary_d) {
      backward_tile<T, true>(geometry, in, tiles[i], i, worker, work[worker], gradients);
    } else {
      backward_tile<T, false>(geometry, in, tiles[i], i, worker, work[worker], gradients);
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
