// The position gradient of edge_gradient on the CPU: every tile looks at the borders to the right of and below
// its pixels.
#include "surface/edge_gradient.h"

#include "lumigrad.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "surface/surface_image.h"

namespace lg::surface {
namespace {

template <class T>
using Records = TriangleGradients<T>;

template <class T>
class TileWork {
 public:
  TileWork(const SurfaceImage<T>& image, const T* bary, const PixelTile& tile, Records<T>& records, int worker)
      : image_(image),
        bary_(bary),
        tile_(tile),
        records_(records),
        worker_(worker),
        width_(static_cast<double>(image.width)),
        height_(static_cast<double>(image.height)) {}

  void run() {
    for (int64_t row = tile_.y0; row < tile_.y1; ++row) {
      const int64_t line = (tile_.view * image_.height + row) * image_.width;
      const int32_t* seen = image_.frag_tri + line;
      const bool below = row + 1 < image_.height;
      for (int64_t col = tile_.x0; col < tile_.x1; ++col) {
        if (col + 1 < image_.width && differ(seen[col], seen[col + 1])) border(row, col, 0);
        if (below && differ(seen[col], seen[col + image_.width])) border(row, col, 1);
      }
    }
  }

 private:
  static bool differ(int32_t a, int32_t b) { return a != b && (a >= 0 || b >= 0); }

  BorderSide side(int64_t row, int64_t col) const {
    BorderSide out;
    pixel_centre(col, row, width_, height_, &out);
    const int32_t seen = image_.frag_tri[(tile_.view * image_.height + row) * image_.width + col];
    out.surface = seen >= 0;
    if (out.surface) {
      const auto corner = image_.corners(tile_.view, seen);
      out.triangle = screen_triangle(corner[0], corner[1], corner[2]);
    }
    return out;
  }

  // The pixel at (row, col) and the one to the right of it (axis 0) or below it (axis 1).
  void border(int64_t row, int64_t col, int axis) {
    const int64_t step = axis == 0 ? 1 : image_.width;
    const int64_t first = (tile_.view * image_.height + row) * image_.width + col;
    const double pull = border_pull(image_.color, image_.grad, first, step, image_.channels);
    if (pull == 0) return;
    double motion[2][3];
    const BorderSide a = side(row, col), b = side(row + axis, col + 1 - axis);
    const int moves = border_motion(a, b, axis, pull, width_, height_, motion);
    if (moves & 1) add(first, motion[0]);
    if (moves & 2) add(first + step, motion[1]);
  }

  // Adds the gradient of the motion of the point seen at a pixel to the triangle's three vertices.
  void add(int64_t pixel, const double* motion) {
    const auto corner = image_.corners(tile_.view, image_.frag_tri[pixel]);
    T value[12];
    if (!motion_to_corners(motion, bary_[2 * pixel], bary_[2 * pixel + 1], corner[0], corner[1], corner[2], width_,
                           height_, value)) {
      return;
    }
    T* sum = records_.values(worker_, records_.find(worker_, image_.frag_tri[pixel]));
    for (int k = 0; k < 12; ++k) sum[k] += value[k];
  }

  const SurfaceImage<T>& image_;
  const T* bary_;
  const PixelTile tile_;
  Records<T>& records_;
  const int worker_;
  const double width_, height_;
};

template <class T>
void backward(int32_t threads, const SurfaceImage<T>& image, const T* bary, T* grad_pos) {
  const TileGrid tiles(image.views, image.height, image.width);
  Records<T> records(threads, tiles.count(), 12);
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    const PixelTile tile = tiles[i];
    records.begin_chunk(i, worker, tile.view);
    TileWork<T>(image, bary, tile, records, worker).run();
    records.end_chunk(i, worker);
  });
  records.scatter(threads, image.tri, image.vertices, image.views, image.shared, 4, grad_pos);
}

}  // namespace
}  // namespace lg::surface

int32_t lg_edge_gradient(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri, const void* bary,
                         const void* pos, const int32_t* tri, int32_t shared_positions, int64_t views, int64_t vertices,
                         int64_t triangles, int64_t height, int64_t width, int64_t channels, const void* grad_out,
                         void* grad_pos) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::surface::SurfaceImage<T> image = {static_cast<const T*>(color),
                                                static_cast<const T*>(grad_out),
                                                frag_tri,
                                                static_cast<const T*>(pos),
                                                tri,
                                                shared_positions != 0,
                                                views,
                                                vertices,
                                                triangles,
                                                height,
                                                width,
                                                channels};
    lg::surface::backward<T>(call->threads, image, static_cast<const T*>(bary), static_cast<T*>(grad_pos));
  });
}
