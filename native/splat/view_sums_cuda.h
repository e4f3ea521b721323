// Gradients of what belongs to a whole view on CUDA: its lens, gamma, background and matrix. They are summed in double
// precision, first over a block, then with atomics.
#pragma once

#include "parallel/gradients_cuda.h"
#include "splat/pull_back.h"
#include "splat/tile_cuda.h"

namespace lg {
namespace splat {

// Sums over a view, in this order: 4 of the lens, gamma, background; and, separately, 12 of its matrix.
constexpr int lens_values = 4, gamma_value = 4, background_value = 5, matrix_values = 12;

struct ViewSums {
  double* data;  // [views, stride]; null if not wanted
  int64_t stride;
};

// A block's sums by warp, in shared memory.
template <class T, int Group>
using WarpSums = T[tile_warps][background_value + Group];

// Adds the block's sums for its view. ray, gamma and background: those of this thread's pixel.
template <class T, class Footprint, int Group>
LG_DEVICE void add_view(const Compositing<T>& c, const GradientSum<double>& sum, const ViewSums& to,
                        const TilePlace& tile, const Camera& camera, const Pixels<T>& pixels, const T* ray, T gamma,
                        const T (&background)[Group], WarpSums<T, Group>& of_warps) {
  constexpr int count = background_value + Group;
  T values[count] = {};
  if constexpr (Footprint::needs_plane) {
    if (tile.inside) pull_lens<Footprint>(pixels, ray, T(1 / camera.fx), T(1 / camera.fy), values);
  }
  values[gamma_value] = gamma;
#pragma unroll
  for (int i = 0; i < Group; ++i) values[background_value + i] = background[i];
  add_up_warp(values);
  const auto lane = static_cast<int>(lane_id()), warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int k = 0; k < count; ++k) {
    if (lane == k) of_warps[warp][k] = values[k];
  }
  __syncthreads();
  const bool of_channel = lane >= background_value;
  if (warp != 0 || lane >= count || (of_channel && c.first_channel + lane - background_value >= c.scene.channels))
    return;
  double total = 0;
  for (int w = 0; w < tile_warps; ++w) total += double(of_warps[w][lane]);
  const int64_t place = tile.view * to.stride + lane + (of_channel ? c.first_channel : 0);
  sum.add(to.data + place, place, total);
}

// Converts gradients of points in camera space (in_view [views, primitives, 3]) to those of points in the world and of
// the views' matrices (matrices [views, matrix_values]). A thread processes the same primitives in all views.
template <class T>
__global__ void __launch_bounds__(128) pull_places(const __grid_constant__ Scene<T> scene, const T* in_view, T* out,
                                                   GradientSum<double> sum, double* matrices) {
  const bool shared = scene.positions.views <= 1;
  for (int64_t v = 0; v < scene.tiles.views; ++v) {
    const Camera camera = scene.camera(v);
    double values[matrix_values] = {};
    for (int64_t p = first_item(); p < scene.primitives; p += item_step()) {
      const T* g = in_view + 3 * (v * scene.primitives + p);
      const bool any = g[0] != 0 || g[1] != 0 || g[2] != 0;  // otherwise its position may not be a number
      const T* x = scene.positions.at(v, p);
      for (int j = 0; j < 3; ++j) {
        double world = 0;
        for (int k = 0; k < 3 && any; ++k) {
          world += double(g[k]) * camera.rotation[3 * k + j];
          values[4 * k + j] += double(g[k]) * double(x[j]);
        }
        if (!out) continue;
        T* to = out + 3 * ((shared ? 0 : v * scene.primitives) + p) + j;
        *to = shared && v > 0 ? *to + T(world) : T(world);
      }
      for (int k = 0; k < 3; ++k) values[4 * k + 3] += double(g[k]);
    }
    if (!matrices) continue;
    add_up_warp(values);
    if (lane_id() != 0) continue;
    for (int k = 0; k < matrix_values; ++k) {
      const double sign = k / 4 == 2 ? -1 : 1;  // as in Scene::camera
      sum.add(matrices + v * matrix_values + k, v * matrix_values + k, sign * values[k]);
    }
  }
}

template <class T>
struct ViewOutputs {
  T *background, *matrix, *intrinsics, *gamma;
};

// One thread for each value of one view, or of the sum over views if they share it.
template <class T>
__global__ void __launch_bounds__(items_per_block)
    write_views(const __grid_constant__ Scene<T> scene, ViewSums sums, const double* matrices, ViewOutputs<T> out) {
  const int64_t views = scene.tiles.views, channels = scene.channels;
  const int64_t backgrounds = scene.background_views * channels;
  for (int64_t i = first_item(); i < backgrounds && out.background; i += item_step()) {
    double total = 0;
    for (int64_t v = i / channels; v < views; v += scene.background_views) {
      total += sums.data[v * sums.stride + background_value + i % channels];
    }
    out.background[i] = T(total);
  }
  for (int64_t i = first_item(); i < views * lens_values && out.intrinsics; i += item_step()) {
    out.intrinsics[i] = T(sums.data[i / lens_values * sums.stride + i % lens_values]);
  }
  for (int64_t i = first_item(); i < 16 * views && out.matrix; i += item_step()) {
    out.matrix[i] = T(i % 16 < matrix_values ? matrices[i / 16 * matrix_values + i % 16] : 0.0);
  }
  if (first_item() == 0 && out.gamma) {
    double total = 0;
    for (int64_t v = 0; v < views; ++v) total += sums.data[v * sums.stride + gamma_value];
    *out.gamma = T(total);
  }
}

}  // namespace splat
}  // namespace lg
