// The faces near each tile of a soft image. Bounding boxes, widened by the blur radius, are listed for each tile in the
// order of the faces' indices, whatever the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "parallel/tiles.h"
#include "runtime/check_indices.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "soft/scene.h"

namespace lg::soft {

template <class T>
class Bins {
 public:
  Bins(const Scene<T>& scene, int32_t threads, int64_t tile_size)
      : scene_(scene),
        threads_(threads),
        tile_(tile_size),
        across_(divide_up(scene.image.width, tile_size)),
        tiles_(across_ * divide_up(scene.image.height, tile_size)) {
    check_ranges(scene.ranges, scene.image.views, scene.mesh.triangles);
  }

  int64_t tiles_per_view() const { return tiles_; }

  // The number of views that are binned together: as many as keep the tables small.
  int64_t group() const {
    const int64_t chunks = std::max<int64_t>(1, std::min(max_chunks_per_view, scene_.mesh.triangles / min_chunk));
    return std::max<int64_t>(1, (int64_t{1} << 22) / (chunks * tiles_));
  }

  // Fills the bins of views [first, first + count).
  void build(int64_t first, int64_t count) {
    first_view_ = first;
    if (!scene_.mesh.shared || !projected_) project(first, count);
    projected_ = true;
    make_chunks(count);
    const auto chunks = static_cast<int64_t>(chunks_.size());
    parallel_for(threads_, chunks, [&](int64_t c, int) { bin(c); });
    place(count);
    parallel_for(threads_, chunks, [&](int64_t c, int) { fill(c); });
  }

  // The faces of tile `tile` of the group's view `view`.
  const int32_t* begin(int64_t view, int64_t tile) const { return faces_.data() + first_[view * tiles_ + tile]; }
  const int32_t* end(int64_t view, int64_t tile) const { return faces_.data() + first_[view * tiles_ + tile + 1]; }

 private:
  static constexpr int64_t min_chunk = 1024, max_chunks_per_view = 32, vertices_per_task = 4096;

  struct Chunk {
    int64_t view, first, count;
  };
  struct BinnedFace {
    int32_t face;
    uint16_t x0, y0, x1, y1;  // tiles
  };

  void project(int64_t first, int64_t count) {
    const int64_t vertices = (scene_.mesh.shared ? 1 : count) * scene_.mesh.vertices;
    if (static_cast<int64_t>(screen_.size()) < vertices) screen_ = Buffer<ScreenVertex>(vertices);
    const T* pos = scene_.pos + 4 * (scene_.mesh.shared ? 0 : first * scene_.mesh.vertices);
    parallel_for(threads_, divide_up(vertices, vertices_per_task), [&](int64_t task, int) {
      const int64_t end = std::min(vertices, (task + 1) * vertices_per_task);
      for (int64_t v = task * vertices_per_task; v < end; ++v) {
        screen_[v] = make_screen_vertex(pos + 4 * v, scene_.image.width, scene_.image.height);
      }
    });
  }

  void make_chunks(int64_t views) {
    chunks_.clear();
    for (int64_t view = 0; view < views; ++view) {
      const int64_t* range = scene_.ranges ? scene_.ranges + 2 * (first_view_ + view) : nullptr;
      const int64_t begin = range ? range[0] : 0, count = range ? range[1] : scene_.mesh.triangles;
      const int64_t size = std::max(min_chunk, divide_up(count, max_chunks_per_view));
      for (int64_t i = 0; i < count; i += size) chunks_.push_back({view, begin + i, std::min(size, count - i)});
    }
    while (binned_.size() < chunks_.size()) binned_.emplace_back();
    counts_ = Buffer<int64_t>(chunks_.size() * tiles_);
  }

  void bin(int64_t c) {
    const Chunk& chunk = chunks_[c];
    check_indices(scene_.mesh.tri, chunk.first, chunk.first + chunk.count, scene_.mesh.vertices);
    Array<BinnedFace>& binned = binned_[c];
    int64_t* counts = counts_.data() + c * tiles_;
    std::memset(counts, 0, sizeof(int64_t) * tiles_);
    binned.clear();
    binned.reserve(chunk.count);
    const ScreenVertex* screen = screen_.data() + (scene_.mesh.shared ? 0 : chunk.view * scene_.mesh.vertices);
    for (int64_t face = chunk.first; face < chunk.first + chunk.count; ++face) {
      const int32_t* index = scene_.mesh.tri + 3 * face;
      const ScreenVertex a = screen[index[0]], b = screen[index[1]], c = screen[index[2]];
      const int32_t flags = a.flags | b.flags | c.flags;
      if (flags & vertex_unusable) continue;
      const Box box = LG_UNLIKELY(flags) ? box_of_cut(first_view_ + chunk.view, face) : box_of(scene_, a, b, c);
      if (box.empty()) continue;
      const BinnedFace entry = {static_cast<int32_t>(face), static_cast<uint16_t>(box.x0 / tile_),
                                static_cast<uint16_t>(box.y0 / tile_), static_cast<uint16_t>(box.x1 / tile_),
                                static_cast<uint16_t>(box.y1 / tile_)};
      binned.push_back(entry);
      for (int64_t y = entry.y0; y <= entry.y1; ++y) {
        for (int64_t x = entry.x0; x <= entry.x1; ++x) ++counts[y * across_ + x];
      }
    }
  }

  LG_NOINLINE Box box_of_cut(int64_t view, int64_t face) const { return box_of_cut_face(scene_, view, face); }

  // Converts the chunks' counts to offsets, ordered by tile, and within a tile by chunk.
  void place(int64_t views) {
    first_.resize(views * tiles_ + 1);
    int64_t place = 0;
    size_t begin = 0;
    for (int64_t view = 0; view < views; ++view) {
      size_t end = begin;
      while (end < chunks_.size() && chunks_[end].view == view) ++end;
      for (int64_t tile = 0; tile < tiles_; ++tile) {
        first_[view * tiles_ + tile] = place;
        for (size_t c = begin; c < end; ++c) {
          const int64_t count = counts_[c * tiles_ + tile];
          counts_[c * tiles_ + tile] = place;
          place += count;
        }
      }
      begin = end;
    }
    first_[views * tiles_] = place;
    if (static_cast<int64_t>(faces_.size()) < place || !faces_.data())
      faces_ = Buffer<int32_t>(std::max<int64_t>(1, place));
  }

  void fill(int64_t c) {
    int64_t* place = counts_.data() + c * tiles_;
    for (size_t i = 0; i < binned_[c].size(); ++i) {
      const BinnedFace& entry = binned_[c][i];
      for (int64_t y = entry.y0; y <= entry.y1; ++y) {
        for (int64_t x = entry.x0; x <= entry.x1; ++x) faces_[place[y * across_ + x]++] = entry.face;
      }
    }
  }

  const Scene<T>& scene_;
  const int32_t threads_;
  const int64_t tile_, across_, tiles_;
  int64_t first_view_ = 0;
  bool projected_ = false;
  Buffer<ScreenVertex> screen_;
  std::vector<Chunk> chunks_;
  std::vector<Array<BinnedFace>> binned_;  // of each chunk
  Buffer<int64_t> counts_;                 // [chunks, tiles]: numbers of faces, then offsets
  std::vector<int64_t> first_;             // [views, tiles] + 1
  Buffer<int32_t> faces_;
};

// Calls body(number of the tile over all views, its pixels, first face, end of faces, worker) for each tile.
template <class T, class Body>
void for_tiles(const Scene<T>& scene, int32_t threads, int64_t tile_size, Body&& body) {
  Bins<T> bins(scene, threads, tile_size);
  const TileGrid grid(scene.image.views, scene.image.height, scene.image.width, tile_size);
  const int64_t tiles = bins.tiles_per_view(), group = bins.group();
  for (int64_t first = 0; first < scene.image.views; first += group) {
    const int64_t count = std::min(group, scene.image.views - first);
    bins.build(first, count);
    parallel_for(threads, count * tiles, [&](int64_t task, int worker) {
      const int64_t number = first * tiles + task;
      body(number, grid[number], bins.begin(task / tiles, task % tiles), bins.end(task / tiles, task % tiles), worker);
    });
  }
}

}  // namespace lg::soft
