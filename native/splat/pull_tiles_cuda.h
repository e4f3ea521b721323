// The reverse of compositing a tile on CUDA: a block of threads for each tile, a thread for each pixel.
//
// Tiles go through their primitives backwards, from the last one that any of their pixels has taken.
#pragma once

#include "splat/targets_cuda.h"
#include "splat/view_sums_cuda.h"

namespace lg {
namespace splat {

// One pixel in the backward pass, with the channels of one launch.
template <class T, class Footprint, Blend blend, int Group>
struct GradientPixel {
  static constexpr bool surveyed = Footprint::extras > 0;
  BackwardPixel<T, blend, surveyed> x;
  T grad_image[Group], background[Group], gamma;

  LG_DEVICE GradientPixel(const Compositing<T>& c, const ImageGradients<T>& g, const TilePlace& tile, T inverse_gamma) {
    x.begin();
    gamma = 0;
#pragma unroll
    for (int i = 0; i < Group; ++i) grad_image[i] = background[i] = 0;
    if (tile.inside) begin(c, g, tile, inverse_gamma);
  }

  // False if the primitive does not contribute to the pixel at all.
  LG_DEVICE bool pull(const Compositing<T>& c, T inverse_gamma, const Stage<T, Footprint, Group>& stage, int at,
                      int32_t place, const Pixels<T>& pixels, Sums<T, Footprint, Group>& sums) {
    const auto& item = stage.item[at];
    const Sample<T> sample = Footprint::sample(item, pixels);
    const auto add_features = [&](T seen) LG_INLINE_LAMBDA {
#pragma unroll
      for (int i = 0; i < Group; ++i) seen += grad_image[i] * stage.features[at][i];
      return seen;
    };
    SampleGradient<T> gradient;
    if (!x.pull(c.rules, inverse_gamma, sample, stage.opacity[at], place, true, add_features, gradient)) return false;
    if (blend == Blend::softmax) gamma -= gradient.gamma;
    T* ray = Footprint::needs_plane ? x.ray : nullptr;
    add_sample<blend, Footprint, Group>(item, pixels, sample, gradient, grad_image, sums, ray);
    return true;
  }

 private:
  LG_DEVICE void begin(const Compositing<T>& c, const ImageGradients<T>& g, const TilePlace& tile, T inverse_gamma) {
    const T *behind = c.scene.background_of(tile.view), *state = g.state + 2 * tile.pixel;
    const int64_t channels = c.scene.channels + Footprint::extras;  // of the image
    const bool first = c.first_channel == 0;                        // the one with alpha, depth and depth statistics
    T on_background = 0, on_all = 0;
#pragma unroll
    for (int i = 0; i < Group; ++i) {
      const int64_t channel = c.first_channel + i, at = tile.pixel * channels + channel;
      if (!g.image || channel >= c.scene.channels) continue;
      grad_image[i] = g.image[at];
      on_background += grad_image[i] * behind[channel];
      on_all += grad_image[i] * g.out_image[at];
    }
    if (first && g.alpha) {
      x.grad_alpha = g.alpha[tile.pixel];
      on_all += x.grad_alpha * g.out_alpha[tile.pixel];
    }
    if (first && g.depth) {
      x.grad_depth = g.depth[tile.pixel];
      on_all += x.grad_depth * g.out_depth[tile.pixel];
    }
    if constexpr (surveyed) {
      const int64_t at = tile.pixel * channels + c.scene.channels;
      if (first && g.image) x.survey = survey_of(state, g.image + at, g.out_image + at);
    }
    const BackwardStart<T> start = start_of<blend>(state, on_background, on_all, inverse_gamma);
    x.rest = start.rest;
    x.behind = start.behind;
    x.scale = start.scale;
    x.last = g.last[tile.pixel];
    gamma = start.gamma;
#pragma unroll
    for (int i = 0; i < Group; ++i) background[i] = start.share * grad_image[i];
  }
};

template <class T>
struct Pulling {
  ImageGradients<T> images;
  Targets<T> targets;
  ViewSums views;
  GradientSum<T> sum;
  GradientSum<double> view_sum;
};

// Shared by a block. deepest: the place of the last primitive that any of its pixels has taken.
template <class T, class Footprint, int Group>
struct PullShared {
  Stage<T, Footprint, Group> stage;
  WarpSums<T, Group> of_warps;
  int32_t deepest;
};

template <class T, class Footprint, Blend blend, int Group>
LG_DEVICE void pull_tile(const Compositing<T>& c, const Pulling<T>& g, int64_t tile_number,
                         PullShared<T, Footprint, Group>& s) {
  constexpr int size = Stage<T, Footprint, Group>::size;
  const TilePlace tile(c.scene.tiles, c.lists, tile_number);
  const Sequence sequence(c.lists, tile_number);
  if (threadIdx.x == 0) {
    s.stage.camera = c.scene.camera(tile.view);
    s.deepest = -1;
  }
  __syncthreads();
  const auto pixels = tile.pixels<T, Footprint::needs_plane>(s.stage.camera);
  const T inverse_gamma = c.inverse_gamma();
  const LaneTarget<T, Footprint, Group> to(g.targets, c, tile.view);
  GradientPixel<T, Footprint, blend, Group> pixel(c, g.images, tile, inverse_gamma);
  const int32_t last = pixel.x.last;
  if (last >= 0) atomic_max(&s.deepest, last);
  __syncthreads();
  for (int64_t first = s.deepest / size * size; first >= 0 && s.deepest >= 0; first -= size) {
    __syncthreads();
    const auto k = static_cast<int>(threadIdx.x);
    if (k < size) s.stage.load(c, tile, sequence, first + k, k);
    __syncthreads();
    for (int part = size - 32; part >= 0; part -= 32) {
      if (!warp_any(last >= first + part)) continue;
      uint32_t any;
      const uint32_t met = s.stage.met(tile, part, &any);
      while (any) {
        const int i = highest_bit(any), at = part + i;
        any &= ~(1u << i);
        const auto place = static_cast<int32_t>(first + at);
        Sums<T, Footprint, Group> sums;
        sums.begin();
        const bool asked = (met >> i & 1) && last >= place;
        if (!warp_any(asked && pixel.pull(c, inverse_gamma, s.stage, at, place, pixels, sums))) continue;
        to.add(g.sum, s.stage, at, sums);
      }
    }
  }
  if (!g.views.data) return;
  add_view<T, Footprint>(c, g.view_sum, g.views, tile, s.stage.camera, pixels, pixel.x.ray, pixel.gamma,
                         pixel.background, s.of_warps);
}

template <class T, class Footprint, Blend blend, int Group>
__global__ void __launch_bounds__(tile_threads)
    pull_tiles(const __grid_constant__ Compositing<T> c, const __grid_constant__ Pulling<T> g, int64_t tiles) {
  __shared__ PullShared<T, Footprint, Group> shared;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    __syncthreads();
    pull_tile<T, Footprint, blend, Group>(c, g, tile, shared);
  }
}

}  // namespace splat
}  // namespace lg
