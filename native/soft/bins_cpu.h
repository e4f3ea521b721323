// Which faces come near which tile of soft rasterization: bounding boxes widened by the blur radius, listed for
// each tile in the order of the faces' numbers, whatever the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/memory.h"
#include "common/parallel.h"
#include "common/status.h"
#include "common/tiles.h"
#include "soft/soft.h"

namespace lg {

// What is drawn, and how.
template <class T>
struct SoftScene {
  const T* pos;
  const int32_t* tri;
  const int64_t* ranges;
  int64_t views, vertices, triangles, height, width;
  bool shared;  // one set of positions for all views
  double blur;  // squared, in isotropic units
  int32_t flags;
  SoftViewport viewport;

  void corners(int64_t view, int64_t face, double p[3][4]) const {
    const int32_t* index = tri + 3 * face;
    for (int k = 0; k < 3; ++k) {
      const T* corner = pos + 4 * ((shared ? 0 : view * vertices) + index[k]);
      for (int c = 0; c < 4; ++c) p[k][c] = corner[c];
    }
  }
  double reach() const { return std::sqrt(blur) / viewport.step; }  // pixels
};

template <class T>
SoftScene<T> make_soft_scene(const void* pos, const int32_t* tri, const int64_t* ranges, bool shared, int64_t views,
                             int64_t vertices, int64_t triangles, int64_t height, int64_t width, double blur,
                             int32_t flags) {
  return {static_cast<const T*>(pos), tri,    ranges, views, vertices, triangles, height, width, shared, blur, flags,
          make_soft_viewport(width, height)};
}

// Pixels [x0, x1] x [y0, y1], which may be none.
struct SoftBox {
  int32_t x0, y0, x1, y1;
  bool empty() const { return x0 > x1 || y0 > y1; }
};

// Of the centres of the pixels within `reach` of [x_low, x_high] x [y_low, y_high], in pixels, limited to the image.
inline SoftBox soft_box(double x_low, double y_low, double x_high, double y_high, double reach, int32_t width,
                        int32_t height) {
  const auto first = [&](double low, int32_t size) {
    return static_cast<int32_t>(std::min<double>(size, std::max(0.0, std::ceil(low - reach - 0.5 - 1e-3))));
  };
  const auto last = [&](double high, int32_t size) {
    return static_cast<int32_t>(std::max(-1.0, std::min<double>(size - 1, std::floor(high + reach - 0.5 + 1e-3))));
  };
  return {first(x_low, width), first(y_low, height), last(x_high, width), last(y_high, height)};
}

// The extent on the screen of a frame's visible part, in pixels; the anchor is the centre of pixel (0, 0).
inline SoftBox soft_frame_box(const SoftFrame& f, const SoftViewport& view, double reach) {
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  for (int e = 0; e < f.edges; ++e) {
    for (int k = 0; k < 2 && soft_edge_present(f, e); ++k) {
      double point[3], t;
      soft_end_point(f, f.end[e][k], point, &t);
      const double place[2] = {0.5 + point[0] / point[2] / view.step, 0.5 - point[1] / point[2] / view.step};
      for (int c = 0; c < 2; ++c) {
        low[c] = std::min(low[c], place[c]);
        high[c] = std::max(high[c], place[c]);
      }
    }
  }
  return soft_box(low[0], low[1], high[0], high[1], reach, view.width, view.height);
}

template <class T>
class SoftBins {
 public:
  SoftBins(const SoftScene<T>& scene, int32_t threads, int64_t tile_size)
      : scene_(scene), threads_(threads), tile_(tile_size), across_(divide_up(scene.width, tile_size)),
        tiles_(across_ * divide_up(scene.height, tile_size)) {
    check_ranges();
  }

  int64_t tiles_per_view() const { return tiles_; }

  // Views that are binned together: as many as keep the tables small.
  int64_t group() const {
    const int64_t chunks = std::max<int64_t>(1, std::min(max_chunks_per_view, scene_.triangles / min_chunk));
    return std::max<int64_t>(1, (int64_t{1} << 22) / (chunks * tiles_));
  }

  // Fills the bins of views [first, first + count).
  void build(int64_t first, int64_t count) {
    first_view_ = first;
    if (!scene_.shared || !projected_) project(first, count);
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

  enum VertexFlag : int32_t { vertex_behind = 1, vertex_unusable = 2 };
  struct ScreenVertex {
    float x, y;  // pixels
    int32_t flags;
  };
  struct Chunk {
    int64_t view, first, count;
  };
  struct BinnedFace {
    int32_t face;
    uint16_t x0, y0, x1, y1;  // tiles
  };

  void check_ranges() const {
    for (int64_t view = 0; scene_.ranges && view < scene_.views; ++view) {
      const int64_t first = scene_.ranges[2 * view], count = scene_.ranges[2 * view + 1];
      if (first < 0 || count < 0 || first > scene_.triangles - count) {
        throw InvalidArgument("ranges[%lld] is (%lld, %lld), but tri has %lld triangles",
                              static_cast<long long>(view), static_cast<long long>(first),
                              static_cast<long long>(count), static_cast<long long>(scene_.triangles));
      }
    }
  }

  void project(int64_t first, int64_t count) {
    const int64_t vertices = (scene_.shared ? 1 : count) * scene_.vertices;
    if (static_cast<int64_t>(screen_.size()) < vertices) screen_ = Buffer<ScreenVertex>(vertices);
    const T* pos = scene_.pos + 4 * (scene_.shared ? 0 : first * scene_.vertices);
    parallel_for(threads_, divide_up(vertices, vertices_per_task), [&](int64_t task, int) {
      const int64_t end = std::min(vertices, (task + 1) * vertices_per_task);
      for (int64_t v = task * vertices_per_task; v < end; ++v) {
        const T* p = pos + 4 * v;
        const T w = p[3], inverse = 1 / w;
        const T x = (p[0] * inverse + 1) * (T(scene_.width) / 2), y = (1 - p[1] * inverse) * (T(scene_.height) / 2);
        const bool finite = soft_finite(p[0]) && soft_finite(p[1]) && soft_finite(p[2]) && soft_finite(p[3]);
        // Wherever float32 pixels are too coarse, the face is looked at more closely.
        const bool coarse = !(std::abs(x) < T(1 << 16) && std::abs(y) < T(1 << 16) && w > 0);
        screen_[v] = {static_cast<float>(x), static_cast<float>(y),
                      (coarse || p[2] + w < 0 ? vertex_behind : 0) | (finite ? 0 : vertex_unusable)};
      }
    });
  }

  void make_chunks(int64_t views) {
    chunks_.clear();
    for (int64_t view = 0; view < views; ++view) {
      const int64_t* range = scene_.ranges ? scene_.ranges + 2 * (first_view_ + view) : nullptr;
      const int64_t begin = range ? range[0] : 0, count = range ? range[1] : scene_.triangles;
      const int64_t size = std::max(min_chunk, divide_up(count, max_chunks_per_view));
      for (int64_t i = 0; i < count; i += size) chunks_.push_back({view, begin + i, std::min(size, count - i)});
    }
    while (binned_.size() < chunks_.size()) binned_.emplace_back();
    counts_ = Buffer<int64_t>(chunks_.size() * tiles_);
  }

  void bin(int64_t c) {
    const Chunk& chunk = chunks_[c];
    Array<BinnedFace>& binned = binned_[c];
    int64_t* counts = counts_.data() + c * tiles_;
    std::memset(counts, 0, sizeof(int64_t) * tiles_);
    binned.clear();
    binned.reserve(chunk.count);
    const ScreenVertex* screen = screen_.data() + (scene_.shared ? 0 : chunk.view * scene_.vertices);
    const double reach = scene_.reach();
    for (int64_t face = chunk.first; face < chunk.first + chunk.count; ++face) {
      const int32_t* index = scene_.tri + 3 * face;
      check_indices(face, index);
      const ScreenVertex a = screen[index[0]], b = screen[index[1]], c = screen[index[2]];
      const int32_t flags = a.flags | b.flags | c.flags;
      if (flags & vertex_unusable) continue;
      const SoftBox box =
          LG_UNLIKELY(flags) ? box_of_cut(chunk.view, face)
                             : soft_box(std::min({a.x, b.x, c.x}), std::min({a.y, b.y, c.y}), std::max({a.x, b.x, c.x}),
                                        std::max({a.y, b.y, c.y}), reach, scene_.viewport.width,
                                        scene_.viewport.height);
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

  LG_NOINLINE SoftBox box_of_cut(int64_t view, int64_t face) const {
    double p[3][4];
    scene_.corners(first_view_ + view, face, p);
    SoftFrame frame;
    if (!make_soft_frame(p, 0, 0, scene_.viewport, scene_.flags, frame)) return {0, 0, -1, -1};
    return soft_frame_box(frame, scene_.viewport, scene_.reach());
  }

  void check_indices(int64_t face, const int32_t* index) const {
    for (int k = 0; k < 3; ++k) {
      if (LG_UNLIKELY(index[k] < 0 || index[k] >= scene_.vertices)) {
        throw InvalidArgument("tri[%lld, %d] is %d, but pos has %lld vertices", static_cast<long long>(face), k,
                              static_cast<int>(index[k]), static_cast<long long>(scene_.vertices));
      }
    }
  }

  // Turns the chunks' counts into places: tile by tile, and within a tile chunk by chunk.
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
    if (static_cast<int64_t>(faces_.size()) < place || !faces_.data()) faces_ = Buffer<int32_t>(std::max<int64_t>(1, place));
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

  const SoftScene<T>& scene_;
  const int32_t threads_;
  const int64_t tile_, across_, tiles_;
  int64_t first_view_ = 0;
  bool projected_ = false;
  Buffer<ScreenVertex> screen_;
  std::vector<Chunk> chunks_;
  std::vector<Array<BinnedFace>> binned_;  // of each chunk
  Buffer<int64_t> counts_;                 // [chunks, tiles]: numbers of faces, then places
  std::vector<int64_t> first_;             // [views, tiles] + 1
  Buffer<int32_t> faces_;
};

// Runs body(view, tile as numbered over all views, its pixels, faces, end of faces, worker) for every tile.
template <class T, class Body>
void for_soft_tiles(const SoftScene<T>& scene, int32_t threads, int64_t tile_size, Body&& body) {
  SoftBins<T> bins(scene, threads, tile_size);
  const TileGrid grid(scene.views, scene.height, scene.width, tile_size);
  const int64_t tiles = bins.tiles_per_view(), group = bins.group();
  for (int64_t first = 0; first < scene.views; first += group) {
    const int64_t count = std::min(group, scene.views - first);
    bins.build(first, count);
    parallel_for(threads, count * tiles, [&](int64_t task, int worker) {
      const int64_t number = first * tiles + task;
      body(number, grid[number], bins.begin(task / tiles, task % tiles), bins.end(task / tiles, task % tiles), worker);
    });
  }
}

}  // namespace lg
