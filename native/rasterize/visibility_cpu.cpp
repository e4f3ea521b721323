// Sort-middle rasterization on the CPU: snap vertices, bin triangles to 64x64 tiles in index order, then
// rasterize tile by tile in 4x4 blocks with integer edge functions. Every phase is a parallel_for; the
// order in which a tile sees its triangles is their index order, whatever the number of threads.
#include "rasterize/visibility_cpu.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "common/memory.h"
#include "common/parallel.h"
#include "common/status.h"
#include "rasterize/coverage.h"

namespace lg {
namespace {

constexpr int64_t vertices_per_task = 4096;
constexpr int64_t min_triangles_per_chunk = 1024;
constexpr int64_t max_chunks_per_view = 64;
constexpr int64_t group_work = 1 << 20;  // views are processed together up to this many triangles or pixels / 4

// A triangle that may touch pixels. Its corners are those of triangle `source` of tri, or, when negative,
// those of clipped triangle ~source of its chunk.
struct BinnedTriangle {
  int32_t source;
  uint16_t tile_x0, tile_x1, tile_y0, tile_y1;
};

struct ClippedTriangle {
  SnappedVertex vertex[3];
  int32_t triangle;
};

// A run of consecutive triangles of one view, binned by one task.
struct Chunk {
  int64_t view = 0;  // within the group
  int64_t first = 0, count = 0;
  Array<BinnedTriangle> binned;
  Array<ClippedTriangle> clipped;
  int64_t clipped_base = 0;  // where its clipped triangles start in the group's list
};

struct TriangleRange {
  int64_t first, count;
};

class VisibilityPass {
 public:
  VisibilityPass(const VisibilityRequest& request, TileSink& sink)
      : r_(request),
        sink_(sink),
        viewport_(make_viewport(request.width, request.height, request.subpixel_bits)),
        tiles_x_(divide_up(request.width, tile_size)),
        tiles_y_(divide_up(request.height, tile_size)),
        tiles_(tiles_x_ * tiles_y_) {}

  void run() {
    if (r_.views == 0 || tiles_ == 0) return;
    if (r_.ranges) snap_vertices(0, 1);
    const int64_t work = std::max<int64_t>({1, r_.triangles, r_.height * r_.width / 4});
    const int64_t group = std::min(r_.views, std::max<int64_t>(1, group_work / work));
    for (int64_t first = 0; first < r_.views; first += group) {
      run_group(first, std::min(group, r_.views - first));
    }
  }

 private:
  void run_group(int64_t first_view, int64_t views) {
    first_view_ = first_view;
    views_ = views;
    if (!r_.ranges) snap_vertices(first_view, views);
    make_chunks();
    parallel_for(r_.threads, static_cast<int64_t>(chunks_.size()), [&](int64_t c, int) { bin(c); });
    place_bins();
    parallel_for(r_.threads, static_cast<int64_t>(chunks_.size()), [&](int64_t c, int) { fill_bins(c); });
    parallel_for(r_.threads, views * tiles_, [&](int64_t t, int worker) { rasterize_tile(t, worker); });
  }

  TriangleRange triangles_of(int64_t view) const {
    if (!r_.ranges) return {0, r_.triangles};
    return {r_.ranges[2 * view], r_.ranges[2 * view + 1]};
  }

  // ---- Vertices ---------------------------------------------------------------------------------------

  void snap_vertices(int64_t first_view, int64_t views) {
    const int64_t count = views * r_.vertices;
    if (static_cast<int64_t>(snapped_.size()) < count) snapped_ = Buffer<SnappedVertex>(count);
    const int64_t tasks = divide_up(count, vertices_per_task);
    parallel_for(r_.threads, tasks, [&](int64_t task, int) {
      const int64_t begin = task * vertices_per_task, end = std::min(count, begin + vertices_per_task);
      for (int64_t v = begin; v < end; ++v) {
        const ClipVertex p = position(first_view * r_.vertices + v);
        const uint32_t flags = clip_flags(p, viewport_);
        if (LG_UNLIKELY(flags || !(p.w > 0))) {
          // w == 0 only at the degenerate point (0, 0, 0, 0), which no polygon may contain.
          snapped_[v] = {0, 0, 0.0f, flags ? flags : not_a_point};
        } else {
          snapped_[v] = snap(p, viewport_);
        }
      }
    });
  }

  ClipVertex position(int64_t v) const {
    if (r_.dtype == 0) {
      const float* p = static_cast<const float*>(r_.pos) + 4 * v;
      return {p[0], p[1], p[2], p[3]};
    }
    const double* p = static_cast<const double*>(r_.pos) + 4 * v;
    return {p[0], p[1], p[2], p[3]};
  }

  const SnappedVertex* snapped_of(int64_t view_in_group) const {
    return snapped_.data() + (r_.ranges ? 0 : view_in_group * r_.vertices);
  }

  // ---- Binning ----------------------------------------------------------------------------------------

  void make_chunks() {
    chunks_.clear();
    for (int64_t view = 0; view < views_; ++view) {
      const TriangleRange range = triangles_of(first_view_ + view);
      const int64_t size = std::max(min_triangles_per_chunk, divide_up(range.count, max_chunks_per_view));
      for (int64_t first = 0; first < range.count; first += size) {
        Chunk chunk;
        chunk.view = view;
        chunk.first = range.first + first;
        chunk.count = std::min(size, range.count - first);
        chunks_.push_back(std::move(chunk));
      }
    }
    counts_ = Buffer<uint32_t>(chunks_.size() * tiles_);
  }

  void check_indices(int64_t t, const int32_t* index) const {
    for (int k = 0; k < 3; ++k) {
      if (static_cast<uint64_t>(static_cast<int64_t>(index[k])) >= static_cast<uint64_t>(r_.vertices)) {
        throw InvalidArgument("tri[%lld, %d] is %d, but pos has %lld vertices", static_cast<long long>(t), k,
                              static_cast<int>(index[k]), static_cast<long long>(r_.vertices));
      }
    }
  }

  void bin(int64_t c) {
    Chunk& chunk = chunks_[c];
    uint32_t* counts = counts_.data() + c * tiles_;
    std::memset(counts, 0, sizeof(uint32_t) * tiles_);
    chunk.binned.reserve(chunk.count);
    const SnappedVertex* vertices = snapped_of(chunk.view);
    for (int64_t t = chunk.first; t < chunk.first + chunk.count; ++t) {
      const int32_t* index = r_.tri + 3 * t;
      const uint32_t limit = static_cast<uint32_t>(std::min<int64_t>(r_.vertices, INT32_MAX));
      if (LG_UNLIKELY(static_cast<uint32_t>(index[0]) >= limit || static_cast<uint32_t>(index[1]) >= limit ||
                      static_cast<uint32_t>(index[2]) >= limit)) {
        check_indices(t, index);
      }
      const SnappedVertex &a = vertices[index[0]], &b = vertices[index[1]], &v = vertices[index[2]];
      if (LG_UNLIKELY((a.flags | b.flags | v.flags) != 0)) {
        if ((a.flags & b.flags & v.flags & all_planes) == 0 && !((a.flags | b.flags | v.flags) & not_a_point)) {
          bin_clipped(chunk, counts, t);
        }
      } else {
        bin_one(chunk, counts, a, b, v, static_cast<int32_t>(t));
      }
    }
  }

  // Returns whether the triangle has any pixel to test.
  bool bin_one(Chunk& chunk, uint32_t* counts, const SnappedVertex& a, const SnappedVertex& b,
               const SnappedVertex& c, int32_t source) {
    const PixelBox box = pixel_box(a, b, c, viewport_);
    if (box.empty() || double_area(a, b, c) == 0) return false;
    BinnedTriangle binned;
    binned.source = source;
    binned.tile_x0 = static_cast<uint16_t>(box.x0 / tile_size);
    binned.tile_x1 = static_cast<uint16_t>(box.x1 / tile_size);
    binned.tile_y0 = static_cast<uint16_t>(box.y0 / tile_size);
    binned.tile_y1 = static_cast<uint16_t>(box.y1 / tile_size);
    chunk.binned.push_back(binned);
    for (int64_t ty = binned.tile_y0; ty <= binned.tile_y1; ++ty) {
      for (int64_t tx = binned.tile_x0; tx <= binned.tile_x1; ++tx) ++counts[ty * tiles_x_ + tx];
    }
    return true;
  }

  LG_NOINLINE void bin_clipped(Chunk& chunk, uint32_t* counts, int64_t t) {
    const int64_t base = r_.ranges ? 0 : (first_view_ + chunk.view) * r_.vertices;
    Polygon polygon;
    polygon.count = 3;
    for (int k = 0; k < 3; ++k) polygon.vertex[k] = position(base + r_.tri[3 * t + k]);
    clip_triangle(polygon, viewport_);
    for (int i = 2; i < polygon.count; ++i) {
      ClippedTriangle piece;
      piece.vertex[0] = snap(polygon.vertex[0], viewport_);
      piece.vertex[1] = snap(polygon.vertex[i - 1], viewport_);
      piece.vertex[2] = snap(polygon.vertex[i], viewport_);
      piece.triangle = static_cast<int32_t>(t);
      const auto local = static_cast<int32_t>(chunk.clipped.size());
      if (bin_one(chunk, counts, piece.vertex[0], piece.vertex[1], piece.vertex[2], ~local)) {
        chunk.clipped.push_back(piece);
      }
    }
  }

  // Turns the chunks' counts into places: tile by tile, and within a tile chunk by chunk.
  void place_bins() {
    tile_first_ = Buffer<int64_t>(views_ * tiles_ + 1);
    chunk_first_ = Buffer<int64_t>(chunks_.size() * tiles_);
    int64_t place = 0, clipped = 0;
    size_t c = 0;
    for (int64_t view = 0; view < views_; ++view) {
      size_t end = c;
      while (end < chunks_.size() && chunks_[end].view == view) ++end;
      for (int64_t tile = 0; tile < tiles_; ++tile) {
        tile_first_[view * tiles_ + tile] = place;
        for (size_t k = c; k < end; ++k) {
          chunk_first_[k * tiles_ + tile] = place;
          place += counts_[k * tiles_ + tile];
        }
      }
      c = end;
    }
    tile_first_[views_ * tiles_] = place;
    for (Chunk& chunk : chunks_) {
      chunk.clipped_base = clipped;
      clipped += static_cast<int64_t>(chunk.clipped.size());
    }
    if (static_cast<int64_t>(bins_.size()) < place) bins_ = Buffer<int32_t>(place);
    clipped_.clear();
    clipped_.reserve(clipped);
    for (const Chunk& chunk : chunks_) {
      for (size_t i = 0; i < chunk.clipped.size(); ++i) clipped_.push_back(chunk.clipped[i]);
    }
  }

  void fill_bins(int64_t c) {
    const Chunk& chunk = chunks_[c];
    int64_t* place = chunk_first_.data() + c * tiles_;
    for (size_t i = 0; i < chunk.binned.size(); ++i) {
      const BinnedTriangle& b = chunk.binned[i];
      const int32_t entry =
          b.source >= 0 ? b.source : static_cast<int32_t>(~(~b.source + chunk.clipped_base));
      for (int64_t ty = b.tile_y0; ty <= b.tile_y1; ++ty) {
        for (int64_t tx = b.tile_x0; tx <= b.tile_x1; ++tx) bins_[place[ty * tiles_x_ + tx]++] = entry;
      }
    }
  }

  // ---- Tiles ------------------------------------------------------------------------------------------

  struct alignas(64) TileBuffers {
    int32_t triangle[tile_blocks * block_lanes];
    float depth[tile_blocks * block_lanes];
  };
  // The previous layer of depth peeling, in the tile's layout.
  struct alignas(64) LayerBuffers {
    int32_t triangle[tile_blocks * block_lanes];
    float depth[tile_blocks * block_lanes];
  };

  void rasterize_tile(int64_t task, int worker) {
    const int64_t view = task / tiles_, in_view = task % tiles_;
    Tile tile;
    tile.view = first_view_ + view;
    tile.x = static_cast<int32_t>(in_view % tiles_x_) * tile_size;
    tile.y = static_cast<int32_t>(in_view / tiles_x_) * tile_size;
    tile.width = std::min(tile_size, viewport_.width - tile.x);
    tile.height = std::min(tile_size, viewport_.height - tile.y);
    const int64_t begin = tile_first_[task], end = tile_first_[task + 1];
    tile.empty = begin == end;
    TileBuffers buffers;
    if (!tile.empty) {
      std::fill_n(buffers.triangle, tile_blocks * block_lanes, -1);
      std::fill_n(buffers.depth, tile_blocks * block_lanes, std::numeric_limits<float>::infinity());
      if (r_.after_tri) {
        LayerBuffers layer;
        load_layer(tile, layer);
        draw_bin<true>(tile, view, begin, end, buffers, &layer);
      } else {
        draw_bin<false>(tile, view, begin, end, buffers, nullptr);
      }
    }
    tile.triangle = buffers.triangle;
    tile.depth = buffers.depth;
    sink_.consume(tile, worker);
  }

  void load_layer(const Tile& tile, LayerBuffers& layer) const {
    for (int row = 0; row < tile.height; ++row) {
      const int64_t line = (tile.view * r_.height + tile.y + row) * r_.width + tile.x;
      for (int column = 0; column < tile.width; ++column) {
        const int place = ((row / block_size) * blocks_per_row + column / block_size) * block_lanes +
                          (row % block_size) * block_size + column % block_size;
        layer.triangle[place] = r_.after_tri[line + column];
        layer.depth[place] = r_.after_tri[line + column] < 0 ? std::numeric_limits<float>::infinity()
                                                             : r_.after_zbuffer[line + column];
      }
    }
  }

  template <bool Peeling>
  void draw_bin(const Tile& tile, int64_t view, int64_t begin, int64_t end, TileBuffers& buffers,
                const LayerBuffers* layer) const {
    const SnappedVertex* vertices = snapped_of(view);
    for (int64_t i = begin; i < end; ++i) {
      const int32_t entry = bins_[i];
      if (LG_LIKELY(entry >= 0)) {
        const int32_t* index = r_.tri + 3 * static_cast<int64_t>(entry);
        draw<Peeling>(tile, vertices[index[0]], vertices[index[1]], vertices[index[2]], entry, buffers, layer);
      } else {
        const ClippedTriangle& piece = clipped_[~entry];
        draw<Peeling>(tile, piece.vertex[0], piece.vertex[1], piece.vertex[2], piece.triangle, buffers, layer);
      }
    }
  }

  // An edge within one tile. int32 suffices: an edge whose sign changes in the tile is never further from
  // zero there than its steps across the tile add up to, and any other edge needs no test.
  struct TileEdge {
    int32_t value, step_x, step_y;
  };

  // False where the whole tile is outside the edge.
  static bool localize(const Edge& edge, TileEdge* local) {
    const int64_t across_x = static_cast<int64_t>(edge.step_x) * (tile_size - 1);
    const int64_t across_y = static_cast<int64_t>(edge.step_y) * (tile_size - 1);
    if (edge.value + std::max<int64_t>(0, across_x) + std::max<int64_t>(0, across_y) < 0) return false;
    if (edge.value + std::min<int64_t>(0, across_x) + std::min<int64_t>(0, across_y) >= 0) {
      *local = {0, 0, 0};
    } else {
      *local = {static_cast<int32_t>(edge.value), edge.step_x, edge.step_y};
    }
    return true;
  }

  template <bool Peeling>
  void draw(const Tile& tile, const SnappedVertex& v0, const SnappedVertex& v1, const SnappedVertex& v2,
            int32_t triangle, TileBuffers& buffers, const LayerBuffers* layer) const {
    int64_t area = double_area(v0, v1, v2);
    const bool flip = area < 0;
    const SnappedVertex &a = v0, &b = flip ? v2 : v1, &c = flip ? v1 : v2;
    area = flip ? -area : area;
    const int32_t bits = viewport_.subpixel_bits;
    TileEdge e0, e1, e2;
    if (!localize(make_edge(a, b, tile.x, tile.y, bits), &e0) ||
        !localize(make_edge(b, c, tile.x, tile.y, bits), &e1) ||
        !localize(make_edge(c, a, tile.x, tile.y, bits), &e2)) {
      return;
    }
    const PixelBox box = pixel_box(a, b, c, viewport_);
    const DepthPlane plane = make_depth_plane(a, b, c, area, box, bits);
    const int32_t x0 = std::max(0, box.x0 - tile.x) / block_size;
    const int32_t y0 = std::max(0, box.y0 - tile.y) / block_size;
    const int32_t x1 = std::min(tile_size - 1, box.x1 - tile.x) / block_size;
    const int32_t y1 = std::min(tile_size - 1, box.y1 - tile.y) / block_size;

    alignas(64) int32_t ramp0[block_lanes], ramp1[block_lanes], ramp2[block_lanes];
    for (int l = 0; l < block_lanes; ++l) {
      const int32_t column = l & 3, row = l >> 2;
      ramp0[l] = e0.step_x * column + e0.step_y * row;
      ramp1[l] = e1.step_x * column + e1.step_y * row;
      ramp2[l] = e2.step_x * column + e2.step_y * row;
    }
    for (int32_t y = y0; y <= y1; ++y) {
      for (int32_t x = x0; x <= x1; ++x) {
        const int32_t column = x * block_size, row = y * block_size;
        const int32_t base0 = e0.value + e0.step_x * column + e0.step_y * row;
        const int32_t base1 = e1.value + e1.step_x * column + e1.step_y * row;
        const int32_t base2 = e2.value + e2.step_x * column + e2.step_y * row;
        const float from_x = static_cast<float>(tile.x + column - plane.anchor_x);
        const float from_y = static_cast<float>(tile.y + row - plane.anchor_y);
        const int block = y * blocks_per_row + x;
        int32_t* LG_RESTRICT out_triangle = buffers.triangle + block * block_lanes;
        float* LG_RESTRICT out_depth = buffers.depth + block * block_lanes;
        const int32_t* before = Peeling ? layer->triangle + block * block_lanes : nullptr;
        const float* before_depth = Peeling ? layer->depth + block * block_lanes : nullptr;
        LG_VECTORIZE
        for (int l = 0; l < block_lanes; ++l) {
          const int32_t inside = (base0 + ramp0[l]) | (base1 + ramp1[l]) | (base2 + ramp2[l]);
          const float dx = from_x + static_cast<float>(l & 3), dy = from_y + static_cast<float>(l >> 2);
          float z = (plane.at_anchor + plane.dy * dy) + plane.dx * dx;
          z = z < plane.high ? z : plane.high;
          z = z > plane.low ? z : plane.low;
          bool take = (inside >= 0) & (z <= out_depth[l]);
          if (Peeling) {
            const bool tie = (z == before_depth[l]) & (triangle < before[l]) & !r_.drop_coincident;
            take = take & ((z > before_depth[l]) | tie);
          }
          out_triangle[l] = take ? triangle : out_triangle[l];
          out_depth[l] = take ? z : out_depth[l];
        }
      }
    }
  }

  const VisibilityRequest& r_;
  TileSink& sink_;
  const Viewport viewport_;
  const int64_t tiles_x_, tiles_y_, tiles_;
  int64_t first_view_ = 0, views_ = 0;
  Buffer<SnappedVertex> snapped_;
  std::vector<Chunk> chunks_;
  Buffer<uint32_t> counts_;      // [chunks, tiles]
  Buffer<int64_t> chunk_first_;  // [chunks, tiles]: where the chunk's entries of the tile go
  Buffer<int64_t> tile_first_;   // [views * tiles + 1]
  Buffer<int32_t> bins_;         // triangles, or ~index into clipped_
  Array<ClippedTriangle> clipped_;
};

}  // namespace

void resolve_visibility(const VisibilityRequest& request, TileSink& sink) {
  VisibilityPass(request, sink).run();
}

}  // namespace lg
