// Compositing on CUDA, front to back: a block of threads for each tile, a thread for each pixel.
//
// The block fetches one batch of primitives at a time into shared memory. A warp tests 32 of them at once, one per
// lane, for overlap with its pixels, and goes through those that overlap. A tile is done when all its pixels are. If
// the channels do not fit into registers, the others take further launches.
#include "splat/composite.h"
#include "splat/tile_cuda.h"

namespace lg {
namespace splat {
namespace {

// One pixel, with the channels of one launch.
template <class T, Blend blend, int Group, bool Surveyed>
struct ImagePixel {
  ForwardPixel<T, blend, Surveyed> x;
  T image[Group];

  LG_DEVICE ImagePixel(const Compositing<T>& c, const T* background, T inverse_gamma, bool inside) {
    x.begin(inside, inverse_gamma);
#pragma unroll
    for (int i = 0; i < Group; ++i) {
      const int64_t channel = c.first_channel + i;
      image[i] = blend == Blend::softmax && channel < c.scene.channels ? background[channel] : T(0);
    }
  }

  template <class Footprint>
  LG_DEVICE void composite(const Compositing<T>& c, const Images<T>& out, T inverse_gamma, int64_t pixel,
                           const Stage<T, Footprint, Group>& stage, int at, int32_t place, const Pixels<T>& pixels) {
    const Sample<T> sample = Footprint::sample(stage.item[at], pixels);
    Contribution<T> adds = {};
    if (!x.take(c.rules, inverse_gamma, sample, stage.opacity[at], stage.primitive[at], adds) || !adds.used) return;
    if (adds.rescale) {
      x.depth = adds.scaled(x.depth);
#pragma unroll
      for (int i = 0; i < Group; ++i) image[i] = adds.scaled(image[i]);
    }
    x.depth = adds.added(x.depth, sample.depth);
#pragma unroll
    for (int i = 0; i < Group; ++i) image[i] = adds.added(image[i], stage.features[at][i]);
    x.last = place;
    if (!out.ids) return;
    const auto k = static_cast<int64_t>(x.contributors) - 1;
    list<blend>(out, pixel, k, stage.primitive[at], adds.weight, adds.strength, adds.exponent);
  }

  LG_DEVICE void write(const Compositing<T>& c, const Images<T>& out, T inverse_gamma, const T* background,
                       int64_t pixel) const {
    const PixelEnd<T> end = end_of(x, inverse_gamma);
    T* to = out.image + pixel * (c.scene.channels + (Surveyed ? 2 : 0)) + c.first_channel;
#pragma unroll
    for (int i = 0; i < Group; ++i) {
      const int64_t channel = c.first_channel + i;
      if (channel < c.scene.channels) to[i] = colour_of<blend>(end, image[i], background[channel]);
    }
    if (c.first_channel == 0) write_pixel(out, pixel, c.scene.channels, end, x);
  }
};

// Shared by a block: a batch of primitives; two flags, used by turns, that say whether any pixel is still open; and the
// exponent that closes a pixel of a softmax.
template <class T, class Footprint, int Group>
struct Shared {
  Stage<T, Footprint, Group> stage;
  int32_t open[2];
  T closing;
};

// The exponent that closes a pixel to everything in this batch and behind it.
template <class T, class Footprint, int Group>
LG_DEVICE T closing_exponent_of(const Compositing<T>& c, T inverse_gamma, const Stage<T, Footprint, Group>& stage,
                                int64_t left) {
  const bool known = stage.bound[0].half_height >= 0;
  const T front = known ? stage.item[0].t - stage.item[0].radius : c.rules.min_depth;
  const T max_opacity = maximum(T(1), T(bits_float(c.lists.number[TileLists::max_opacity])));
  return T(closing_margin) +
         closing_exponent<T>(front, c.rules.min_depth, c.rules.inverse_range, inverse_gamma, max_opacity, T(left));
}

template <class T, class Footprint, Blend blend, int Group>
LG_DEVICE void composite_tile(const Compositing<T>& c, const Images<T>& out, int64_t tile_number,
                              Shared<T, Footprint, Group>& s) {
  constexpr int size = Stage<T, Footprint, Group>::size;
  const TilePlace tile(c.scene.tiles, c.lists, tile_number);
  const Sequence sequence(c.lists, tile_number);
  if (threadIdx.x == 0) {
    s.stage.camera = c.scene.camera(tile.view);
    s.open[0] = 1;
  }
  __syncthreads();
  const auto pixels = tile.pixels<T, Footprint::needs_plane>(s.stage.camera);
  const T* background = c.scene.background_of(tile.view);
  const T inverse_gamma = c.inverse_gamma();
  ImagePixel<T, blend, Group, (Footprint::extras > 0)> pixel(c, background, inverse_gamma, tile.inside);
  auto& x = pixel.x;
  int now = 0;
  for (int64_t first = 0; !sequence.is_over(c.lists, first); first += size, now = 1 - now) {
    __syncthreads();
    if (!s.open[now]) break;
    const auto k = static_cast<int>(threadIdx.x);
    if (k == 0) s.open[1 - now] = 0;
    if (k < size) s.stage.load(c, tile, sequence, first + k, k);
    if constexpr (blend == Blend::softmax) {
      if (k == 0) s.closing = closing_exponent_of(c, inverse_gamma, s.stage, sequence.length - first);
    }
    __syncthreads();
    if constexpr (blend == Blend::softmax) {
      const bool all_listed = static_cast<int64_t>(x.contributors) >= out.contributors;
      if (x.rest >= s.closing && x.total >= T(closing_sum) && all_listed) x.open = false;
    }
    for (int part = 0; part < size && warp_any(x.open); part += 32) {
      uint32_t any;
      const uint32_t met = s.stage.met(tile, part, &any);
      for (; any; any &= any - 1) {
        const int i = lowest_bit(any), at = part + i;
        if (!(met >> i & 1) || !x.open) continue;
        pixel.composite(c, out, inverse_gamma, tile.pixel, s.stage, at, static_cast<int32_t>(first + at), pixels);
      }
    }
    if (warp_any(x.open) && lane_id() == 0) s.open[1 - now] = 1;
  }
  if (tile.inside) pixel.write(c, out, inverse_gamma, background, tile.pixel);
}

template <class T, class Footprint, Blend blend, int Group>
__global__ void __launch_bounds__(tile_threads)
    composite_tiles(const __grid_constant__ Compositing<T> c, Images<T> out, int64_t tiles) {
  __shared__ Shared<T, Footprint, Group> shared;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    __syncthreads();
    composite_tile<T, Footprint, blend, Group>(c, out, tile, shared);
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
    const Rules<T> rules(scene.settings, out.ids != nullptr, out.median != nullptr);
    const TileLists& lists = binning.lists();
    binning.run(queue, scene, footprint);
    Compositing<T> c = {scene, lists, gamma, rules, 0};
    const dim3 grid(static_cast<unsigned>(lists.tiles));
    choose<T>(footprint, blend, scene.channels, [&](auto shape, auto blending, auto group) {
      using Footprint = typename decltype(shape)::type;
      do {
        Images<T> now = out;
        if (c.first_channel > 0) now.ids = nullptr, now.contributors = 0;
        queue.launch(composite_tiles<T, Footprint, blending.value, group.value>, grid, dim3(tile_threads), c, now,
                     lists.tiles);
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
    const auto* gamma = static_cast<const T*>(scene->gamma);
    const TileLists lists(last, of_call.tiles.views * of_call.primitives, of_call.tiles);
    const BinningPass binning(lists, of_call.tiles);
    return lg::run_op(call, Forward<T>{of_call, out, gamma, scene->footprint, scene->blend, binning});
  });
}
