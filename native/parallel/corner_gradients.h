// One body for every pixel, which contributes gradients to the corners of triangles: summed in tiles and their records
// on the CPU, and in warps on CUDA.
//
// A body is a struct with
//   template <class Give>
//   LG_HD void operator()(const ImagePixel& at, const Give& give) const
// It calls give(view, triangle, value) with the gradients of the x, y, z, w of the triangle's three corners, or with
// triangle -1 for nothing. All pixels, including those outside the image, must call it equally often, because on CUDA
// the lanes of a warp sum together. give.any(condition) says whether the condition holds for any pixel of the warp (on
// the CPU: for this pixel): where it does not, all of them may skip the same calls.
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"

#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#else
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/threads.h"
#endif

namespace lg {

struct ImagePixel {
  int64_t view, row, column;
  bool inside;
};

#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)

template <class T>
struct GiveInWarp {
  const MeshIndex& mesh;
  const GradientSum<T>& sum;
  T* grad_pos;

  LG_DEVICE bool any(bool condition) const { return warp_any(condition); }

  LG_DEVICE void operator()(int64_t view, int32_t triangle, T (&value)[12]) const {
    if (!warp_any(triangle >= 0)) return;
    const uint32_t peers = warp_match(triangle);
    add_up_peers(peers, value);
    int64_t row[3];
    if (is_lowest(peers) && mesh.rows(view, triangle, row)) add_to_corners(sum, grad_pos, row, value);
  }
};

template <class T, class Body>
__global__ void __launch_bounds__(image_block_pixels)
    give_corner_gradients(const __grid_constant__ Body body, const __grid_constant__ MeshIndex mesh,
                          const __grid_constant__ ImageSize image, const __grid_constant__ GradientSum<T> sum,
                          T* grad_pos) {
  const PixelPlace place = pixel_place(image);
  for (int64_t view = blockIdx.z; view < image.views; view += gridDim.z) {
    body(ImagePixel{view, place.row, place.column, place.inside}, GiveInWarp<T>{mesh, sum, grad_pos});
  }
}

// gives: the maximum number of times that the body calls give() for a pixel.
template <class T, class Body>
int32_t sum_corner_gradients(lg_call* call, const MeshIndex& mesh, const ImageSize& image, int64_t gives,
                             const Body& body, T* grad_pos) {
  return run_position_gradients(call, mesh.rows_in(image.views), 3 * gives * image.pixels(), grad_pos,
                                [&](Queue& queue, const GradientSum<T>& sum) {
                                  queue.launch(give_corner_gradients<T, Body>, image_grid(image), image_block(), body,
                                               mesh, image, sum, grad_pos);
                                });
}

#else

template <class T>
struct GiveToRecords {
  TriangleGradients<T>& records;
  int worker;

  LG_HD bool any(bool condition) const { return condition; }

  LG_HD void operator()(int64_t, int32_t triangle, const T (&value)[12]) const {
    if (triangle < 0) return;
    T* sum = records.values(worker, records.find(worker, triangle));
    for (int k = 0; k < 12; ++k) sum[k] += value[k];
  }
};

template <class T, class Body>
void sum_corner_gradients(int32_t threads, const MeshIndex& mesh, const ImageSize& image, const Body& body,
                          T* grad_pos) {
  const TileGrid tiles(image.views, image.height, image.width);
  TriangleGradients<T> records(threads, tiles.count(), 12);
  parallel_for(threads, tiles.count(), [&](int64_t i, int worker) {
    const PixelTile tile = tiles[i];
    const Body own = body;  // a local copy stays in registers
    const GiveToRecords<T> give = {records, worker};
    records.begin_chunk(i, worker, tile.view);
    for (int64_t row = tile.y0; row < tile.y1; ++row) {
      for (int64_t column = tile.x0; column < tile.x1; ++column) own(ImagePixel{tile.view, row, column, true}, give);
    }
    records.end_chunk(i, worker);
  });
  records.scatter(threads, mesh.tri, mesh.vertices, image.views, mesh.shared, 4, grad_pos);
}

#endif

}  // namespace lg
