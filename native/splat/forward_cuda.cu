// Compositing on CUDA, front to back: a block of threads for each tile, a thread for each pixel.
//
// The block fetches a batch of primitives at a time into shared memory. A warp asks 32 of them at once, one per lane,
// whether they meet its pixels, and goes through those that do. A tile is done when all its pixels are. Channels beyond
// those that fit registers take further launches.
#include <type_traits>

#include "splat/tile_cuda.h"

namespace lg {
namespace splat {
namespace {

// Depths along one pixel's ray, of footprints with further channels for them.
template <class T, bool Present>
struct Survey {};
template <class T>
struct Survey<T, true> {
  T total = 0, mean = 0, spread = 0, middle = 0;

  // The weighted mean so far and the weighted squares of distances from it, neither a difference of sums.
  LG_DEVICE void add(const DepthMeasure<T>& measure, T weight, T depth, bool crossed) {
    const T m = measure.of(depth), off = m - mean;
    total += weight;
    mean += weight * off / total;
    spread += weight * off * (m - mean);
    if (crossed) middle = depth;
  }
};

// One pixel while it is being composited.
template <class T, Blend blend, int Group, bool Surveyed>
struct ForwardPixel {
  T rest;   // transmittance; softmax: the largest exponent so far; merging: nearest depth
  T total;  // sum of weights, background included
  T depth, image[Group];
  Survey<T, Surveyed> survey;
  int32_t contributors, last, median;
  bool open;

  LG_DEVICE ForwardPixel(const Compositing<T>& c, const T* background, T inverse_gamma, bool inside) {
    const bool soft = blend == Blend::softmax;  // the background is there from the start
    rest = soft ? T(background_exponent) * inverse_gamma : T(1);
    total = soft ? T(1) : T(0);
    depth = 0;
#pragma unroll
    for (int i = 0; i < Group; ++i) {
      image[i] = soft && c.first_channel + i < c.scene.channels ? background[c.first_channel + i] : T(0);
    }
    contributors = 0;
    last = median = -1;
    open = inside;
  }

  LG_DEVICE void add(T weight, T of_depth, const T (&payload)[Group]) {
    depth += weight * of_depth;
#pragma unroll
    for (int i = 0; i < Group; ++i) image[i] += weight * payload[i];
  }
  LG_DEVICE void scale_by(T factor) {
    total *= factor;
    depth *= factor;
#pragma unroll
    for (int i = 0; i < Group; ++i) image[i] *= factor;
  }

  // Notes a contributor; a softmax's weight is completed at the end, from its exponent.
  LG_DEVICE void list(const Images<T>& out, int64_t pixel, int32_t p, T weight) {
    if (contributors < out.contributors) {
      out.ids[pixel * out.contributors + contributors] = p;
      out.weights[pixel * out.contributors + contributors] = weight;
    }
    ++contributors;
  }
};

template <class T, int Group>
LG_DEVICE void composite_softly(const Compositing<T>& c, const Images<T>& out, T inverse_gamma, int64_t pixel,
                                const Sample<T>& sample, T opacity, const T (&payload)[Group], int32_t p, int32_t place,
                                ForwardPixel<T, Blend::softmax, Group, false>& x) {
  const T strength = opacity * sample.height, z = T(1) - (sample.depth - c.min_depth) * c.inverse_range;
  const T exponent = opacity * z * inverse_gamma;
  if (x.rest < exponent) {
    x.scale_by(exponential(x.rest - exponent));
    x.rest = exponent;
  }
  const T weight = strength * exponential(exponent - x.rest);
  x.total += weight;
  x.add(weight, sample.depth, payload);
  x.last = place;
  if (out.ids) x.list(out, pixel, p, T(std::log(strength)) + exponent);
}

template <class T, Blend blend, int Group, bool Surveyed>
LG_DEVICE void composite(const Compositing<T>& c, const Images<T>& out, T, int64_t pixel, const Sample<T>& sample,
                         T opacity, const T (&payload)[Group], int32_t p, int32_t place,
                         ForwardPixel<T, blend, Group, Surveyed>& x) {
  const T alpha = minimum(opacity * sample.height, c.alpha_max);
  if (!(c.alpha_min <= alpha && T(0) < alpha)) return;
  T weight = alpha;
  if (blend == Blend::alpha) {
    const T before = x.rest, after = before * maximum(T(1) - alpha, least_rest<T>());
    if (after <= c.stop) {
      x.open = false;
      return;
    }
    weight = before * alpha;
    x.rest = after;
    const bool crossed = T(0.5) <= before && after < T(0.5);
    if (crossed) x.median = p;
    if constexpr (Surveyed) x.survey.add(c.measure, weight, sample.depth, crossed);
  } else if (blend == Blend::nearest) {
    weight = 1;
    x.rest = 0;
    x.open = false;
  } else {
    if (c.merge > 0) {  // what is nearest has come first
      if (!(x.total > 0)) x.rest = sample.depth;
      if (x.rest + c.merge < sample.depth) {
        x.open = false;
        return;
      }
    }
    x.total += alpha;
  }
  x.add(weight, sample.depth, payload);
  x.last = place;
  if (out.ids) {
    x.list(out, pixel, p, weight);
  } else {
    ++x.contributors;
  }
  const int64_t limit = c.scene.settings.limit;
  if (limit > 0 && x.contributors >= limit) x.open = false;
}

// From how large an exponent on a pixel has nothing to gain from up to `left` spheres behind `front`. exp(-7) < 1e-3.
template <class T>
LG_DEVICE T closing_exponent(const Compositing<T>& c, T inverse_gamma, T front, int64_t left) {
  const T opacity = maximum(T(1), T(bits_float(*c.lists.largest_opacity)));
  const T z = maximum(T(1) - (front - c.min_depth) * c.inverse_range, T(0));
  return z * inverse_gamma * opacity + T(std::log(T(left) * opacity / T(negligible<T>()))) + T(7);
}

template <class T, Blend blend, int Group, bool Surveyed>
LG_DEVICE void write_pixel(const Compositing<T>& c, const Images<T>& out, T inverse_gamma, const T* background,
                           int64_t pixel, const ForwardPixel<T, blend, Group, Surveyed>& x) {
  const int64_t channels = c.scene.channels + (Surveyed ? 2 : 0);  // of the image
  T scale = 1, rest = x.rest, state[2] = {x.rest, 0};
  if (blend == Blend::softmax) {
    scale = 1 / x.total;
    rest = exponential(T(background_exponent) * inverse_gamma - x.rest) * scale;
    state[1] = x.total;
  } else if (blend == Blend::normalised) {
    scale = 1 / maximum(x.total, T(least_sum));
    state[0] = rest = 1 - x.total * scale;
    state[1] = x.total;
  }
  for (int i = 0; i < Group; ++i) {
    const int64_t channel = c.first_channel + i;
    if (channel >= c.scene.channels) break;
    const T behind = blend == Blend::softmax ? T(0) : rest * background[channel];
    out.image[pixel * channels + channel] = x.image[i] * scale + behind;
  }
  if (c.first_channel > 0) return;
  if constexpr (Surveyed) {
    state[1] = x.survey.mean;
    out.image[pixel * channels + c.scene.channels] = x.survey.total * x.survey.spread;
    out.image[pixel * channels + c.scene.channels + 1] = x.survey.middle;
  }
  out.alpha[pixel] = 1 - rest;
  out.state[2 * pixel] = state[0];
  out.state[2 * pixel + 1] = state[1];
  out.last[pixel] = x.last;
  if (out.depth) out.depth[pixel] = x.depth * scale;
  if (out.median) out.median[pixel] = x.median;
  if (!out.ids) return;
  for (int64_t k = 0; k < out.contributors; ++k) {
    const int64_t at = pixel * out.contributors + k;
    if (k < x.contributors) {
      const T weight = out.weights[at];
      out.weights[at] = scale * (blend == Blend::softmax ? T(std::exp(weight - x.rest)) : weight);
    } else {
      out.ids[at] = -1;
      out.weights[at] = 0;
    }
  }
}

// The block's view of which of its pixels are open: they say so, batch by batch, in one of two flags.
struct OpenFlags {
  int32_t flag[2];
};

template <class T, class Footprint, Blend blend, int Group>
LG_DEVICE void composite_tile(const Compositing<T>& c, const Images<T>& out, int64_t tile_number,
                              Stage<T, Footprint, Group>& stage, OpenFlags& open, T& closing) {
  constexpr int size = Stage<T, Footprint, Group>::size;
  const TilePlace tile(c.scene.tiles, c.lists, tile_number);
  const Sequence sequence(c.lists, tile_number);
  if (threadIdx.x == 0) {
    stage.camera = c.scene.camera(tile.view);
    open.flag[0] = 1;
  }
  __syncthreads();
  const auto pixels = tile.pixels<T, Footprint::needs_plane>(stage.camera);
  const T* background = c.scene.background_of(tile.view);
  const T inverse_gamma = c.inverse_gamma();
  ForwardPixel<T, blend, Group, (Footprint::extras > 0)> x(c, background, inverse_gamma, tile.inside);
  int now = 0;
  for (int64_t first = 0; !sequence.is_over(c.lists, first); first += size, now = 1 - now) {
    __syncthreads();
    if (!open.flag[now]) break;
    const auto k = static_cast<int>(threadIdx.x);
    if (k == 0) open.flag[1 - now] = 0;
    if (k < size) stage.load(c, tile, sequence, first + k, k);
    if constexpr (blend == Blend::softmax) {
      if (k == 0) {
        const bool known = stage.bound[0].half_height >= 0;
        const T front = known ? stage.item[0].t - stage.item[0].radius : c.min_depth;
        closing = closing_exponent(c, inverse_gamma, front, sequence.length - first);
      }
    }
    __syncthreads();
    if constexpr (blend == Blend::softmax) {
      const bool all_listed = x.contributors >= out.contributors;
      if (x.rest >= closing && x.total >= T(1e-3) && all_listed) x.open = false;
    }
    for (int part = 0; part < size && warp_any(x.open); part += 32) {
      uint32_t any;
      const uint32_t met = stage.met(tile, part, &any);
      for (; any; any &= any - 1) {
        const int i = lowest_bit(any), at = part + i;
        if (!(met >> i & 1) || !x.open) continue;
        const auto sample = Footprint::sample(stage.item[at], pixels);
        if (!sample.reached) continue;
        const auto place = static_cast<int32_t>(first + at);
        if constexpr (blend == Blend::softmax) {
          composite_softly(c, out, inverse_gamma, tile.pixel, sample, stage.opacity[at], stage.payload[at],
                           stage.primitive[at], place, x);
        } else {
          composite(c, out, inverse_gamma, tile.pixel, sample, stage.opacity[at], stage.payload[at],
                    stage.primitive[at], place, x);
        }
      }
    }
    if (warp_any(x.open) && lane_id() == 0) open.flag[1 - now] = 1;
  }
  if (tile.inside) write_pixel(c, out, inverse_gamma, background, tile.pixel, x);
}

template <class T, class Footprint, Blend blend, int Group>
__global__ void __launch_bounds__(tile_threads)
    composite_tiles(const __grid_constant__ Compositing<T> c, Images<T> out, int64_t tiles) {
  __shared__ Stage<T, Footprint, Group> stage;
  __shared__ OpenFlags open;
  __shared__ T closing;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    __syncthreads();
    composite_tile<T, Footprint, blend, Group>(c, out, tile, stage, open, closing);
  }
}

template <class T>
struct Forward {
  Scene<T> scene;
  Images<T> out;
  const T* gamma;
  int32_t footprint, blend;
  BinningPass binning;

  void plan(Workspace& workspace) { binning.plan(workspace); }

  void run(Queue& queue) {
    Compositing<T> c = compositing_of(scene, binning.run(queue, scene, footprint), gamma);
    const dim3 grid(static_cast<unsigned>(binning.tiles()));
    choose<T>(footprint, blend, scene.channels, [&](auto shape, auto blending, auto group) {
      using Footprint = typename decltype(shape)::type;
      do {
        Images<T> now = out;
        if (c.first_channel > 0) now.ids = nullptr, now.contributors = 0;
        queue.launch(composite_tiles<T, Footprint, blending.value, group.value>, grid, dim3(tile_threads), c, now,
                     binning.tiles());
        c.first_channel += group.value;
      } while (c.first_channel < scene.channels);
    });
  }
};

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_forward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, int64_t contributors, void* image,
                         void* alpha, void* depth, int32_t* median, int32_t* ids, void* weights, void* state,
                         int32_t* last) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    using namespace lg::splat;
    const Scene<T> of_call = make_scene<T>(*scene);
    const int32_t status = check_splats<T>(of_call, scene->footprint, scene->blend);
    if (status != LG_OK) return status;
    const Images<T> out = {static_cast<T*>(image),   static_cast<T*>(alpha), static_cast<T*>(depth), median, ids,
                           static_cast<T*>(weights), contributors,           static_cast<T*>(state), last};
    return lg::run_op(call, Forward<T>{of_call,
                                       out,
                                       static_cast<const T*>(scene->gamma),
                                       scene->footprint,
                                       scene->blend,
                                       {of_call.tiles.views * of_call.primitives, of_call.tiles}});
  });
}
