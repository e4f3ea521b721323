// Sort-middle rasterization on the CPU: snap vertices, bin triangles to 64x64 tiles in index order, then
// rasterize tile by tile. Every phase is a parallel_for; the order in which a tile sees its triangles is their
// index order, whatever the number of threads. Tiny triangles are set up as they are binned, since they rarely
// meet more than one tile; others when a tile draws them.
#include "surface/visibility_cpu.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "runtime/check_indices.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "surface/candidates_cpu.h"
#include "surface/coverage.h"
#include "surface/drawing_cpu.h"
#include "surface/tile_bins.h"

namespace lg::surface {
namespace {

constexpr int64_t vertices_per_task = 1024;
constexpr int64_t prefetch_distance = 12;  // triangles
constexpr int64_t min_triangles_per_chunk = 256;
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
  Array<TinyTriangle> tiny;
  Array<ClippedTriangle> clipped;
  int64_t clipped_base = 0;  // where its clipped triangles start in the group's list
};

// Where a tiny triangle is kept: a chunk of its view and a place in it.
constexpr int tiny_place_bits = 25;  // of the 31 that int32 has; see make_chunks
constexpr int32_t tiny_place_mask = (1 << tiny_place_bits) - 1;

struct TriangleRange {
  int64_t first, count;
};

// ---- The passes over a whole image ----------------------------------------------------------------------

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
    check_ranges();
    if (r_.views == 0 || tiles_ == 0) return;
    if (r_.ranges) snap_vertices(0, 1);
    const int64_t work = std::max<int64_t>({1, r_.triangles, r_.height * r_.width / 4});
    const int64_t group = std::min(r_.views, std::max<int64_t>(1, group_work / work));
    for (int64_t first = 0; first < r_.views; first += group) {
      run_group(first, std::min(group, r_.views - first));
    }
  }

 private:
  void check_ranges() const {
    for (int64_t view = 0; r_.ranges && view < r_.views; ++view) {
      const TriangleRange range = triangles_of(view);
      if (range.first < 0 || range.count < 0 || range.first > r_.triangles - range.count) {
        throw InvalidArgument("ranges[%lld] is (%lld, %lld), but tri has %lld triangles", static_cast<long long>(view),
                              static_cast<long long>(range.first), static_cast<long long>(range.count),
                              static_cast<long long>(r_.triangles));
      }
    }
  }

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
    static_assert(max_chunks_per_view <= 1 << (31 - tiny_place_bits), "chunks need more bits");
    static_assert(max_chunks_per_view << tiny_place_bits >= int64_t{1} << 31, "places need more bits");
    chunks_.clear();
    first_chunk_.clear();
    for (int64_t view = 0; view < views_; ++view) {
      first_chunk_.push_back(static_cast<int64_t>(chunks_.size()));
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
    first_chunk_.push_back(static_cast<int64_t>(chunks_.size()));
    bins_.begin(static_cast<int64_t>(chunks_.size()), tiles_);
    tiny_bins_.begin(static_cast<int64_t>(chunks_.size()), tiles_);
  }

  void bin(int64_t c) {
    Chunk& chunk = chunks_[c];
    uint32_t *counts = bins_.counts(c), *tiny_counts = tiny_bins_.counts(c);
    std::fill_n(counts, tiles_, 0u);
    std::fill_n(tiny_counts, tiles_, 0u);
    for (int64_t first = chunk.first; first < chunk.first + chunk.count; first += CandidateTriangles::capacity) {
      CandidateTriangles batch;
      batch.count =
          static_cast<int>(std::min<int64_t>(CandidateTriangles::capacity, chunk.first + chunk.count - first));
      load_candidates(chunk, first, batch);
      batch.judge(viewport_);
      for (int l = 0; l < batch.count; ++l) {
        const int64_t t = first + l;
        if (LG_LIKELY(batch.verdict[l] == CandidateTriangles::drop)) continue;
        if (LG_LIKELY(batch.verdict[l] == CandidateTriangles::keep_tiny)) {
          chunk.tiny.push_back(batch.tiny(l, static_cast<int32_t>(t)));
          for_tiles(batch.x0[l], batch.y0[l], [&](int64_t tile) { ++tiny_counts[tile]; });
        } else if (batch.verdict[l] == CandidateTriangles::keep) {
          push_binned(chunk, counts, {batch.x0[l], batch.y0[l], batch.x1[l], batch.y1[l]}, static_cast<int32_t>(t));
        } else if (batch.flags[l]) {
          bin_flagged(chunk, counts, t);
        } else {
          const SnappedVertex* vertices = snapped_of(chunk.view);
          const int32_t* index = r_.tri + 3 * t;
          bin_one(chunk, counts, vertices[index[0]], vertices[index[1]], vertices[index[2]], static_cast<int32_t>(t));
        }
      }
    }
  }

  void load_candidates(const Chunk& chunk, int64_t first, CandidateTriangles& batch) const {
    const SnappedVertex* vertices = snapped_of(chunk.view);
    const int32_t* index = r_.tri + 3 * first;
    check_indices(r_.tri, first, first + batch.count, r_.vertices);
    const int64_t left = chunk.first + chunk.count - (first + batch.count);
    prefetch_corners(vertices, 1, index + 3 * batch.count, std::min<int64_t>(CandidateTriangles::capacity, left));
    batch.load(vertices, index);
  }

  LG_NOINLINE void bin_flagged(Chunk& chunk, uint32_t* counts, int64_t t) {
    const SnappedVertex* vertices = snapped_of(chunk.view);
    const int32_t* index = r_.tri + 3 * t;
    const uint32_t a = vertices[index[0]].flags, b = vertices[index[1]].flags, c = vertices[index[2]].flags;
    const bool outside_one_plane = (a & b & c & all_planes) != 0, unusable = ((a | b | c) & not_a_point) != 0;
    if (!outside_one_plane && !unusable) bin_clipped(chunk, counts, t);
  }

  // Calls use(tile) for the tiles that a box of 4x4 pixels at (x, y) touches.
  template <class Use>
  void for_tiles(int32_t x, int32_t y, Use&& use) const {
    const int32_t tx = x / tile_size, ty = y / tile_size;
    const int32_t end_x = std::min<int32_t>(viewport_.width - 1, x + 3) / tile_size;
    const int32_t end_y = std::min<int32_t>(viewport_.height - 1, y + 3) / tile_size;
    const int64_t tile = ty * tiles_x_ + tx;
    use(tile);
    if (LG_UNLIKELY(end_x > tx)) use(tile + 1);
    if (LG_UNLIKELY(end_y > ty)) {
      use(tile + tiles_x_);
      if (end_x > tx) use(tile + tiles_x_ + 1);
    }
  }

  // Returns whether the triangle has any pixel to test.
  bool bin_one(Chunk& chunk, uint32_t* counts, const SnappedVertex& a, const SnappedVertex& b, const SnappedVertex& c,
               int32_t source) {
    const PixelBox box = pixel_box(a, b, c, viewport_);
    if (box.empty() || double_area(a, b, c) == 0) return false;
    push_binned(chunk, counts, box, source);
    return true;
  }

  void push_binned(Chunk& chunk, uint32_t* counts, const PixelBox& box, int32_t source) const {
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
  }

  LG_NOINLINE void bin_clipped(Chunk& chunk, uint32_t* counts, int64_t t) {
    const int64_t base = r_.ranges ? 0 : (first_view_ + chunk.view) * r_.vertices;
    Polygon polygon;
    polygon.count = 3;
    for (int k = 0; k < 3; ++k) polygon.vertex[k] = position(base + r_.tri[3 * t + k]);
    clip_triangle(polygon, viewport_);
    for (int i = 2; i < polygon.count; ++i) {
      ClippedTriangle piece;
      piece.vertex[0] = snap_clipped(polygon.vertex[0], viewport_);
      piece.vertex[1] = snap_clipped(polygon.vertex[i - 1], viewport_);
      piece.vertex[2] = snap_clipped(polygon.vertex[i], viewport_);
      piece.triangle = static_cast<int32_t>(t);
      const auto local = static_cast<int32_t>(chunk.clipped.size());
      if (bin_one(chunk, counts, piece.vertex[0], piece.vertex[1], piece.vertex[2], ~local)) {
        chunk.clipped.push_back(piece);
      }
    }
  }

  void place_bins() {
    bins_.place(first_chunk_.data(), views_);
    tiny_bins_.place(first_chunk_.data(), views_);
    int64_t clipped = 0;
    for (Chunk& chunk : chunks_) {
      chunk.clipped_base = clipped;
      clipped += static_cast<int64_t>(chunk.clipped.size());
    }
    clipped_.clear();
    clipped_.reserve(clipped);
    for (const Chunk& chunk : chunks_) {
      for (size_t i = 0; i < chunk.clipped.size(); ++i) clipped_.push_back(chunk.clipped[i]);
    }
  }

  void fill_bins(int64_t c) {
    const Chunk& chunk = chunks_[c];
    for (size_t i = 0; i < chunk.binned.size(); ++i) {
      const BinnedTriangle& b = chunk.binned[i];
      const int32_t entry = b.source >= 0 ? b.source : static_cast<int32_t>(~(~b.source + chunk.clipped_base));
      for (int64_t ty = b.tile_y0; ty <= b.tile_y1; ++ty) {
        for (int64_t tx = b.tile_x0; tx <= b.tile_x1; ++tx) bins_.add(c, ty * tiles_x_ + tx, entry);
      }
    }
    const auto chunk_in_view = static_cast<int32_t>(c - first_chunk_[chunk.view]);
    for (size_t i = 0; i < chunk.tiny.size(); ++i) {
      const int32_t entry = chunk_in_view << tiny_place_bits | static_cast<int32_t>(i);
      for_tiles(chunk.tiny[i].x, chunk.tiny[i].y, [&](int64_t tile) { tiny_bins_.add(c, tile, entry); });
    }
  }

  // ---- Tiles ------------------------------------------------------------------------------------------

  void rasterize_tile(int64_t task, int worker) {
    const int64_t in_view = task % tiles_;
    Tile tile;
    tile.view = first_view_ + task / tiles_;
    tile.x = static_cast<int32_t>(in_view % tiles_x_) * tile_size;
    tile.y = static_cast<int32_t>(in_view / tiles_x_) * tile_size;
    tile.width = std::min(tile_size, viewport_.width - tile.x);
    tile.height = std::min(tile_size, viewport_.height - tile.y);
    tile.empty = bins_.begin_of(task) == bins_.end_of(task) && tiny_bins_.begin_of(task) == tiny_bins_.end_of(task);
    TileBuffers buffers;
    if (!tile.empty) {
      std::fill_n(buffers.triangle, tile_blocks * block_lanes, -1);
      std::fill_n(buffers.depth, tile_blocks * block_lanes, std::numeric_limits<float>::infinity());
      if (r_.after_tri) {
        TileBuffers layer;
        load_layer(tile, layer);
        draw_bins<true>(tile, task, buffers, &layer);
      } else {
        draw_bins<false>(tile, task, buffers, nullptr);
      }
    }
    tile.triangle = buffers.triangle;
    tile.depth = buffers.depth;
    sink_.consume(tile, worker);
  }

  void load_layer(const Tile& tile, TileBuffers& layer) const {
    for (int row = 0; row < tile.height; ++row) {
      const int64_t line = (tile.view * r_.height + tile.y + row) * r_.width + tile.x;
      for (int column = 0; column < tile.width; ++column) {
        const int place = ((row / block_size) * blocks_per_row + column / block_size) * block_lanes +
                          (row % block_size) * block_size + column % block_size;
        layer.triangle[place] = r_.after_tri[line + column];
        layer.depth[place] =
            r_.after_tri[line + column] < 0 ? std::numeric_limits<float>::infinity() : r_.after_zbuffer[line + column];
      }
    }
  }

  template <bool Peeling>
  void draw_bins(const Tile& tile, int64_t task, TileBuffers& buffers, const TileBuffers* layer) const {
    const Drawing<Peeling> drawing(viewport_, r_.drop_coincident, tile, buffers, layer);
    const int64_t view = task / tiles_;
    const int32_t* end = bins_.end_of(task);
    SmallTriangles batch;
    for (const int32_t* entry = bins_.begin_of(task); entry < end; ++entry) {
      prefetch(entry, end, view);
      Corners corners;
      const int32_t triangle = corners_of(*entry, view, &corners);
      if (LG_LIKELY(viewport_.subpixel_bits <= 8 && is_small(corners))) {
        batch.add(corners, tile, viewport_.subpixel_bits, triangle);
        if (batch.count < SmallTriangles::capacity) continue;
        drawing.draw(batch);
      } else {
        drawing.draw(batch);  // what came before goes first
        drawing.draw(corners, triangle);
      }
    }
    drawing.draw(batch);
    for (const int32_t *entry = tiny_bins_.begin_of(task), *last = tiny_bins_.end_of(task); entry < last; ++entry) {
      if (entry + prefetch_distance < last) LG_PREFETCH(&tiny(view, entry[prefetch_distance]));
      drawing.draw(tiny(view, *entry));
    }
  }

  const TinyTriangle& tiny(int64_t view, int32_t entry) const {
    return chunks_[first_chunk_[view] + (entry >> tiny_place_bits)].tiny[entry & tiny_place_mask];
  }

  // A bin's triangles are scattered over the mesh: ask for indices well ahead, and for vertices a little later.
  LG_HD void prefetch(const int32_t* entry, const int32_t* end, int64_t view) const {
    if (end - entry > 2 * prefetch_distance && entry[2 * prefetch_distance] >= 0) {
      LG_PREFETCH(r_.tri + 3 * static_cast<int64_t>(entry[2 * prefetch_distance]));
    }
    if (end - entry > prefetch_distance && entry[prefetch_distance] >= 0) {
      const int32_t* index = r_.tri + 3 * static_cast<int64_t>(entry[prefetch_distance]);
      for (int k = 0; k < 3; ++k) LG_PREFETCH(snapped_of(view) + index[k]);
    }
  }

  // Fetches the corners of a bin's entry and returns the number of its triangle.
  int32_t corners_of(int32_t entry, int64_t view, Corners* corners) const {
    if (LG_LIKELY(entry >= 0)) {
      const SnappedVertex* vertices = snapped_of(view);
      const int32_t* index = r_.tri + 3 * static_cast<int64_t>(entry);
      *corners = {vertices[index[0]], vertices[index[1]], vertices[index[2]]};
      return entry;
    }
    const ClippedTriangle& piece = clipped_[~entry];
    *corners = {piece.vertex[0], piece.vertex[1], piece.vertex[2]};
    return piece.triangle;
  }

  const VisibilityRequest& r_;
  TileSink& sink_;
  const Viewport viewport_;
  const int64_t tiles_x_, tiles_y_, tiles_;
  int64_t first_view_ = 0, views_ = 0;
  Buffer<SnappedVertex> snapped_;
  std::vector<Chunk> chunks_;
  std::vector<int64_t> first_chunk_;  // [views + 1]
  TileBins bins_;                     // triangles, or ~index into clipped_
  TileBins tiny_bins_;                // see tiny()
  Array<ClippedTriangle> clipped_;
};

}  // namespace

void resolve_visibility(const VisibilityRequest& request, TileSink& sink) { VisibilityPass(request, sink).run(); }

}  // namespace lg::surface
