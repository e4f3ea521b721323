// Binning the triangles of a group of views. Vertices are snapped, and triangles are sorted into tiles in the order of
// their indices, whatever the number of threads. Tiny triangles are set up during binning, because they rarely touch
// more than one tile; others are set up when a tile draws them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "parallel/for_each.h"
#include "runtime/check_indices.h"
#include "runtime/memory.h"
#include "runtime/threads.h"
#include "surface/candidates_cpu.h"
#include "surface/tile_bins.h"
#include "surface/visibility.h"
#include "surface/visibility_cpu.h"

namespace lg::surface {

class TriangleBins {
 public:
  TriangleBins(int32_t threads, const VisibilityRequest& request)
      : threads_(threads),
        r_(request),
        viewport_(request.viewport()),
        tiles_x_(divide_up(request.image.width, tile_size)),
        tiles_(tiles_x_ * divide_up(request.image.height, tile_size)) {
    check_ranges(r_.ranges, r_.image.views, r_.mesh.triangles);
    if (r_.mesh.shared && r_.image.views > 0 && tiles_ > 0) snap_vertices(0, 1);
  }

  int64_t tiles_per_view() const { return tiles_; }
  int64_t tiles_x() const { return tiles_x_; }

  // Fills the bins of views [first_view, first_view + views).
  void fill(int64_t first_view, int64_t views) {
    first_view_ = first_view;
    views_ = views;
    if (!r_.mesh.shared) snap_vertices(first_view, views);
    make_chunks();
    const auto chunks = static_cast<int64_t>(chunks_.size());
    parallel_for(threads_, chunks, [&](int64_t c, int) { bin(c); });
    place_bins();
    parallel_for(threads_, chunks, [&](int64_t c, int) { fill_bins(c); });
  }

  // The entries of a tile. Tiles are numbered over the views of the group.
  const int32_t* begin_of(int64_t tile) const { return bins_.begin_of(tile); }
  const int32_t* end_of(int64_t tile) const { return bins_.end_of(tile); }
  const int32_t* begin_of_tiny(int64_t tile) const { return tiny_bins_.begin_of(tile); }
  const int32_t* end_of_tiny(int64_t tile) const { return tiny_bins_.end_of(tile); }

  // Fetches the corners of an entry and returns its triangle's number. view: within the group.
  int32_t corners_of(int32_t entry, int64_t view, SnappedTriangle* corners) const {
    if (LG_LIKELY(entry >= 0)) {
      *corners = snapped_triangle(view, entry);
      return entry;
    }
    const ClippedTriangle& piece = clipped_[~entry];
    *corners = piece.corners;
    return piece.triangle;
  }

  const TinyTriangle& tiny(int64_t view, int32_t entry) const {
    return chunks_[first_chunk_[view] + (entry >> tiny_place_bits)].tiny[entry & tiny_place_mask];
  }

  // The triangles of a bin are scattered over the mesh: their indices are prefetched well ahead, their vertices a
  // little later.
  LG_HD void prefetch(const int32_t* entry, const int32_t* end, int64_t view) const {
    if (end - entry > 2 * prefetch_distance && entry[2 * prefetch_distance] >= 0) {
      LG_PREFETCH(r_.mesh.tri + 3 * static_cast<int64_t>(entry[2 * prefetch_distance]));
    }
    if (end - entry > prefetch_distance && entry[prefetch_distance] >= 0) {
      const int32_t* index = r_.mesh.tri + 3 * static_cast<int64_t>(entry[prefetch_distance]);
      for (int k = 0; k < 3; ++k) LG_PREFETCH(snapped_of(view) + index[k]);
    }
  }
  LG_HD void prefetch_tiny(const int32_t* entry, const int32_t* end, int64_t view) const {
    if (entry + prefetch_distance < end) LG_PREFETCH(&tiny(view, entry[prefetch_distance]));
  }

 private:
  static constexpr int64_t prefetch_distance = 12;  // triangles
  static constexpr int64_t min_triangles_per_chunk = 256, max_chunks_per_view = 64;
  // A tiny triangle's entry is its chunk within the view and its place in that chunk. The place takes this many of the
  // 31 bits of an int32.
  static constexpr int tiny_place_bits = 25;
  static constexpr int32_t tiny_place_mask = (1 << tiny_place_bits) - 1;

  // A triangle that may touch pixels. Its corners are those of triangle `source` of tri or, if negative, of clipped
  // triangle ~source of its chunk.
  struct BinnedTriangle {
    int32_t source;
    uint16_t tile_x0, tile_x1, tile_y0, tile_y1;
  };

  struct ClippedTriangle {
    SnappedTriangle corners;
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

  void snap_vertices(int64_t first_view, int64_t views) {
    const int64_t count = views * r_.mesh.vertices;
    if (static_cast<int64_t>(snapped_.size()) < count) snapped_ = Buffer<SnappedVertex>(count);
    for_each(threads_, count, SnapVertices{r_.positions, first_view * r_.mesh.vertices, viewport_, snapped_.data()});
  }

  const SnappedVertex* snapped_of(int64_t view) const {
    return snapped_.data() + (r_.mesh.shared ? 0 : view * r_.mesh.vertices);
  }
  SnappedTriangle snapped_triangle(int64_t view, int64_t t) const {
    const SnappedVertex* vertices = snapped_of(view);
    const int32_t* index = r_.mesh.tri + 3 * t;
    return {vertices[index[0]], vertices[index[1]], vertices[index[2]]};
  }

  void make_chunks() {
    static_assert(max_chunks_per_view <= 1 << (31 - tiny_place_bits), "chunks need more bits");
    static_assert(max_chunks_per_view << tiny_place_bits >= int64_t{1} << 31, "places need more bits");
    chunks_.clear();
    first_chunk_.clear();
    for (int64_t view = 0; view < views_; ++view) {
      first_chunk_.push_back(static_cast<int64_t>(chunks_.size()));
      const int64_t* range = r_.ranges ? r_.ranges + 2 * (first_view_ + view) : nullptr;
      const int64_t begin = range ? range[0] : 0, count = range ? range[1] : r_.mesh.triangles;
      const int64_t size = std::max(min_triangles_per_chunk, divide_up(count, max_chunks_per_view));
      for (int64_t first = 0; first < count; first += size) {
        Chunk chunk;
        chunk.view = view;
        chunk.first = begin + first;
        chunk.count = std::min(size, count - first);
        chunks_.push_back(std::move(chunk));
      }
    }
    first_chunk_.push_back(static_cast<int64_t>(chunks_.size()));
    bins_.begin(static_cast<int64_t>(chunks_.size()), tiles_);
    tiny_bins_.begin(static_cast<int64_t>(chunks_.size()), tiles_);
  }

  void bin(int64_t c) {
    Chunk& chunk = chunks_[c];
    std::fill_n(bins_.counts(c), tiles_, 0u);
    std::fill_n(tiny_bins_.counts(c), tiles_, 0u);
    for (int64_t first = chunk.first; first < chunk.first + chunk.count; first += CandidateTriangles::capacity) {
      CandidateTriangles batch;
      batch.count =
          static_cast<int>(std::min<int64_t>(CandidateTriangles::capacity, chunk.first + chunk.count - first));
      load_candidates(chunk, first, batch);
      batch.judge(viewport_);
      bin_batch(chunk, first, batch, bins_.counts(c), tiny_bins_.counts(c));
    }
  }

  LG_HD void bin_batch(Chunk& chunk, int64_t first, const CandidateTriangles& batch, uint32_t* counts,
                       uint32_t* tiny_counts) {
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
        bin_one(chunk, counts, snapped_triangle(chunk.view, t), static_cast<int32_t>(t));
      }
    }
  }

  void load_candidates(const Chunk& chunk, int64_t first, CandidateTriangles& batch) const {
    const SnappedVertex* vertices = snapped_of(chunk.view);
    const int32_t* index = r_.mesh.tri + 3 * first;
    check_indices(r_.mesh.tri, first, first + batch.count, r_.mesh.vertices);
    const int64_t left = chunk.first + chunk.count - (first + batch.count);
    prefetch_corners(vertices, 1, index + 3 * batch.count, std::min<int64_t>(CandidateTriangles::capacity, left));
    batch.load(vertices, index);
  }

  LG_NOINLINE void bin_flagged(Chunk& chunk, uint32_t* counts, int64_t t) {
    const SnappedTriangle s = snapped_triangle(chunk.view, t);
    const uint32_t any = s.a.flags | s.b.flags | s.c.flags, all = s.a.flags & s.b.flags & s.c.flags;
    if (needs_clipping(any, all)) bin_clipped(chunk, counts, t);
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

  // Returns whether the triangle has pixels to test.
  bool bin_one(Chunk& chunk, uint32_t* counts, const SnappedTriangle& corners, int32_t source) {
    const PixelBox box = corners.box(viewport_);
    if (box.empty() || corners.area() == 0) return false;
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
    const int64_t base = r_.mesh.first_row(first_view_ + chunk.view);
    Polygon polygon;
    polygon.count = 3;
    for (int k = 0; k < 3; ++k) polygon.vertex[k] = r_.positions[base + r_.mesh.tri[3 * t + k]];
    clip_triangle(polygon, viewport_);
    for (int i = 0; i + 2 < polygon.count; ++i) {
      const ClippedTriangle piece = {piece_of(polygon, i, viewport_), static_cast<int32_t>(t)};
      const auto local = static_cast<int32_t>(chunk.clipped.size());
      if (bin_one(chunk, counts, piece.corners, ~local)) chunk.clipped.push_back(piece);
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

  const int32_t threads_;
  const VisibilityRequest& r_;
  const Viewport viewport_;
  const int64_t tiles_x_, tiles_;
  int64_t first_view_ = 0, views_ = 0;
  Buffer<SnappedVertex> snapped_;
  std::vector<Chunk> chunks_;
  std::vector<int64_t> first_chunk_;  // [views + 1]
  TileBins bins_;                     // triangles, or ~index into clipped_
  TileBins tiny_bins_;                // see tiny()
  Array<ClippedTriangle> clipped_;
};

}  // namespace lg::surface
