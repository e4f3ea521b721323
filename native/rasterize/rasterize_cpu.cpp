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
#include "rasterize/visibility_cpu.h"

namespace lg {
namespace {

// Everything that says where the three vertices of a triangle lie.
template <class T>
struct Geometry {
  const T* pos;
  const int32_t* tri;
  int64_t vertices, width, height;
  bool shared;  // one set of positions for all views

  TriangleFrame frame(int64_t view, int32_t triangle, int32_t column, int32_t row) const {
    const T* base = pos + (shared ? 0 : view * vertices * 4);
    const int32_t* index = tri + 3 * static_cast<int64_t>(triangle);
    return make_frame(base + 4 * static_cast<int64_t>(index[0]), base + 4 * static_cast<int64_t>(index[1]),
                      base + 4 * static_cast<int64_t>(index[2]), column, row, width, height);
  }
};

// The planes of the triangles met in the current tile. Their anchor is the first pixel asked for, which the
// tile's scan order fixes: results do not depend on what the worker did before.
template <class T>
class PlaneCache {
 public:
  PlaneCache() : key_(slot_count, -1), planes_(slot_count) {}

  void begin_tile() { ++tile_; }

  const Planes<T>& get(const Geometry<T>& geometry, int64_t view, int32_t triangle, int32_t column, int32_t row) {
    const uint32_t slot = static_cast<uint32_t>(triangle) % slot_count;
    const int64_t key = tile_ << 32 | static_cast<uint32_t>(triangle);
    if (key_[slot] != key) {
      key_[slot] = key;
      planes_[slot] = make_planes<T>(geometry.frame(view, triangle, column, row), column, row);
    }
    return planes_[slot];
  }

 private:
  static constexpr uint32_t slot_count = 1024;
  std::vector<int64_t> key_;
  std::vector<Planes<T>> planes_;
  int64_t tile_ = 0;
};

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
      : geometry_(geometry), caches_(std::max(1, workers)), tri_(tri), bary_(bary), depth_(depth),
        bary_d_(bary_d), zbuffer_(zbuffer) {}

  void consume(const Tile& tile, int worker) override {
    if (tile.empty) {
      clear(tile);
      return;
    }
    PlaneCache<T>& cache = caches_[worker];
    cache.begin_tile();
    for (int32_t y = 0; y < tile.height; y += block_size) {
      for (int32_t x = 0; x < tile.width; x += block_size) {
        const int block = (y / block_size) * blocks_per_row + x / block_size;
        if (bary_d_) {
          shade_block<true>(tile, block, x, y, cache);
        } else {
          shade_block<false>(tile, block, x, y, cache);
        }
      }
    }
  }

 private:
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
  void shade_block(const Tile& tile, int block, int32_t x, int32_t y, PlaneCache<T>& cache) {
    const int32_t* ids = tile.triangle + block * block_lanes;
    BlockAttributes<T> out;
    std::memset(&out, 0, Derivatives ? sizeof out : sizeof out - sizeof out.d);
    uint32_t remaining = ~equal_lanes(ids, -1) & lanes_inside(tile, x, y);
    while (remaining) {
      const int32_t triangle = ids[lowest_lane(remaining)];
      remaining &= ~equal_lanes(ids, triangle);
      const Planes<T>& planes = cache.get(geometry_, tile.view, triangle, tile.x + x, tile.y + y);
      shade_lanes<T, Derivatives>(planes, triangle, ids, tile.x + x, tile.y + y, out);
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
  std::vector<PlaneCache<T>> caches_;
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
  const T* bary;
  const T* depth;
  const T* bary_d;
  bool straight_through;
};

// A record while it is being summed: the planes' gradients around the record's anchor pixel. In the end the
// same twelve values are the gradients of three vertices.
constexpr int64_t record_values = 12;

// Adds a horizontal run of pixels that see one triangle.
template <class T, bool WithDerivatives>
void add_run(const PixelGradientInputs<T>& in, const Planes<T>& planes, int64_t first, int64_t length, int32_t column,
             int32_t row, T* LG_RESTRICT sum) {
  const T y = static_cast<T>(row - planes.anchor_y);
  T a[3] = {0, 0, 0}, ax[3] = {0, 0, 0}, ay[3] = {0, 0, 0}, depth = 0, depth_x = 0;
  for (int64_t i = 0; i < length; ++i) {
    const T x = static_cast<T>(column + i - planes.anchor_x);
    const PixelPlanes<T> pixel = evaluate(planes, x, y);
    T gu = in.bary ? in.bary[2 * (first + i)] : T(0), gv = in.bary ? in.bary[2 * (first + i) + 1] : T(0);
    T gz = in.depth ? in.depth[first + i] : T(0);
    if (!in.straight_through) unclamp_gradients(pixel, &gu, &gv, &gz);
    T ga[3], gdx[3], gdy[3];
    pixel_gradients(planes, pixel, gu, gv, WithDerivatives ? in.bary_d + 4 * (first + i) : nullptr, ga, gdx, gdy);
    for (int k = 0; k < 3; ++k) {
      a[k] += ga[k];
      ax[k] += ga[k] * x + gdx[k];
      if (WithDerivatives) ay[k] += gdy[k];
    }
    depth += gz;
    depth_x += gz * x;
  }
  for (int k = 0; k < 3; ++k) {
    sum[k] += a[k];
    sum[3 + k] += ax[k];
    sum[6 + k] += ay[k] + a[k] * y;
  }
  sum[9] += depth;
  sum[10] += depth_x;
  sum[11] += depth * y;
}

template <class T>
void finish_record(const TriangleFrame& frame, T* value) {
  PlaneGradients<T> sums;
  for (int k = 0; k < 3; ++k) {
    sums.at[k] = value[k];
    sums.dx[k] = value[3 + k];
    sums.dy[k] = value[6 + k];
  }
  sums.depth_at = value[9];
  sums.depth_dx = value[10];
  sums.depth_dy = value[11];
  T out[3][4];
  vertex_gradients(frame, sums, out);
  std::memcpy(value, out, sizeof out);
}


template <class T, bool WithDerivatives>
void backward_tile(const Geometry<T>& geometry, const PixelGradientInputs<T>& in, const PixelTile& tile,
                   int64_t chunk, int worker, std::vector<PlaneCache<T>>& caches, TriangleGradients<T>& gradients) {
  gradients.begin_chunk(chunk, worker, tile.view);
  PlaneCache<T>& cache = caches[worker];
  cache.begin_tile();
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    const int64_t line = (tile.view * geometry.height + row) * geometry.width;
    for (int64_t column = tile.x0; column < tile.x1;) {
      const int32_t triangle = in.frag_tri[line + column];
      int64_t end = column + 1;
      while (end < tile.x1 && in.frag_tri[line + end] == triangle) ++end;
      if (triangle >= 0) {
        // All records of a tile share one anchor, its first pixel: finish() then needs no other memory.
        const Planes<T>& planes = cache.get(geometry, tile.view, triangle, static_cast<int32_t>(tile.x0),
                                            static_cast<int32_t>(tile.y0));
        add_run<T, WithDerivatives>(in, planes, line + column, end - column, static_cast<int32_t>(column),
                                    static_cast<int32_t>(row), gradients.record(worker, triangle));
      }
      column = end;
    }
  }
  gradients.end_chunk(chunk, worker, [&](int32_t triangle, T* value) {
    finish_record(geometry.frame(tile.view, triangle, static_cast<int32_t>(tile.x0), static_cast<int32_t>(tile.y0)),
                  value);
  });
}

template <class T>
void backward(int32_t threads, const Geometry<T>& geometry, const PixelGradientInputs<T>& in, int64_t views,
              T* grad_pos) {
  const TileGrid tiles(views, geometry.height, geometry.width);
  TriangleGradients<T> gradients(threads, tiles.count(), record_values);
  std::vector<PlaneCache<T>> caches(std::max(1, threads));
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    if (in.bary_d) {
      backward_tile<T, true>(geometry, in, tiles[i], i, worker, caches, gradients);
    } else {
      backward_tile<T, false>(geometry, in, tiles[i], i, worker, caches, gradients);
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
