// Sort-middle rasterization on the CPU: triangles are binned to 64x64 tiles (triangle_bins_cpu.h), then one task draws
// each tile and passes it to the sink.
#include "surface/visibility_cpu.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/threads.h"
#include "surface/drawing_cpu.h"
#include "surface/triangle_bins_cpu.h"

namespace lg::surface {
namespace {

constexpr int64_t group_work = 1 << 20;  // views are processed together up to this many triangles or pixels / 4

class VisibilityPass {
 public:
  VisibilityPass(int32_t threads, const VisibilityRequest& request, TileSink& sink)
      : threads_(threads), r_(request), sink_(sink), viewport_(request.viewport()), bins_(threads, request) {}

  void run() {
    const ImageSize& image = r_.image;
    const int64_t tiles = bins_.tiles_per_view();
    if (image.views == 0 || tiles == 0) return;
    const int64_t work = std::max<int64_t>({1, r_.mesh.triangles, image.height * image.width / 4});
    const int64_t group = std::min(image.views, std::max<int64_t>(1, group_work / work));
    for (int64_t first = 0; first < image.views; first += group) {
      const int64_t views = std::min(group, image.views - first);
      bins_.fill(first, views);
      parallel_for(threads_, views * tiles, [&](int64_t t, int worker) { rasterize_tile(first, t, worker); });
    }
  }

 private:
  // task: the tile's number in the group of views that begins at first_view.
  void rasterize_tile(int64_t first_view, int64_t task, int worker) {
    const int64_t tiles = bins_.tiles_per_view(), in_view = task % tiles;
    Tile tile;
    tile.view = first_view + task / tiles;
    tile.x = static_cast<int32_t>(in_view % bins_.tiles_x()) * tile_size;
    tile.y = static_cast<int32_t>(in_view / bins_.tiles_x()) * tile_size;
    tile.width = std::min(tile_size, viewport_.width - tile.x);
    tile.height = std::min(tile_size, viewport_.height - tile.y);
    tile.empty = bins_.begin_of(task) == bins_.end_of(task) && bins_.begin_of_tiny(task) == bins_.end_of_tiny(task);
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
      const int64_t line = r_.image.pixel(tile.view, tile.y + row, tile.x);
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
    const int64_t view = task / bins_.tiles_per_view();
    const int32_t* end = bins_.end_of(task);
    SmallTriangles batch;
    for (const int32_t* entry = bins_.begin_of(task); entry < end; ++entry) {
      bins_.prefetch(entry, end, view);
      SnappedTriangle corners;
      const int32_t triangle = bins_.corners_of(*entry, view, &corners);
      if (LG_LIKELY(viewport_.subpixel_bits <= 8 && is_small(corners))) {
        batch.add(corners, tile, viewport_.subpixel_bits, triangle);
        if (batch.count < SmallTriangles::capacity) continue;
        drawing.draw(batch);
      } else {
        drawing.draw(batch);  // earlier fragments are drawn first
        drawing.draw(corners, triangle);
      }
    }
    drawing.draw(batch);
    end = bins_.end_of_tiny(task);
    for (const int32_t* entry = bins_.begin_of_tiny(task); entry < end; ++entry) {
      bins_.prefetch_tiny(entry, end, view);
      drawing.draw(bins_.tiny(view, *entry));
    }
  }

  const int32_t threads_;
  const VisibilityRequest& r_;
  TileSink& sink_;
  const Viewport viewport_;
  TriangleBins bins_;
};

}  // namespace

void resolve_visibility(int32_t threads, const VisibilityRequest& request, TileSink& sink) {
  VisibilityPass(threads, request, sink).run();
}

}  // namespace lg::surface
