// Compositing one tile on the CPU, front to back.
#pragma once

#include <algorithm>
#include <cstdint>

#include "splat/composite.h"
#include "splat/rows_cpu.h"
#include "splat/tile_cpu.h"

namespace lg {
namespace splat {

// Channels: 0 for any number.
template <class T, class Footprint, Blend blend, int Channels>
class ForwardTile {
  using V = Lanes<T>;
  static constexpr bool surveyed = Footprint::extras > 0;

 public:
  // max_opacity: of the primitives, and 1.
  ForwardTile(const Scene<T>& scene, const Images<T>& out, double max_opacity)
      : scene_(scene),
        out_(out),
        rules_(scene.settings, out.ids != nullptr, out.median != nullptr),
        channels_(Channels ? Channels : scene.channels),
        inverse_gamma_(1 / scene.gamma),
        max_opacity_(max_opacity),
        image_(tile_blocks * channels_) {}

  void run(const Binned<T>& binned, int64_t tile) {
    const TileFrame frame(scene_.tiles, tile);
    const Camera camera = scene_.camera(frame.view);
    begin(frame, camera);
    const int64_t first = binned.bins.begin[tile], end = binned.bins.begin[tile + 1];
    const int32_t* entry = binned.bins.entry.data();
    const int64_t base = frame.view * scene_.primitives;
    for (int64_t e = first; e < end && open_; ++e) {
      const int64_t p = entry[e];
      if (e + prefetch_distance < end) prefetch_row(binned.rows.row(base + entry[e + prefetch_distance]));
      const uint64_t met = blocks_met(binned.rows.bound(base + p), frame.window()) & open_;
      if (!met) continue;
      const auto item = Primitives<T, Footprint>::load(scene_, camera, frame.view, p, frame.window());
      if constexpr (blend == Blend::softmax) {
        if ((e - first) % 32 == 31) retire(item.t - item.radius, end - e);
      }
      composite(frame, met, item, p, static_cast<int32_t>(e - first));
    }
    finish(frame);
  }

 private:
  void begin(const TileFrame& frame, const Camera& camera) {
    places_.begin(frame, camera);
    inside_.begin(frame);
    open_ = 0;
    const T* background = scene_.background_of(frame.view);
    for (int b = 0; b < tile_blocks; ++b) {
      pixels_[b].begin(mask_of<T>(inside_.bits(b)), inverse_gamma_);
      open_ |= uint64_t{inside_.bits(b) != 0} << b;
      for (int64_t c = 0; c < channels_; ++c) {
        image_[b * channels_ + c] = V(blend == Blend::softmax ? background[c] : T(0));
      }
    }
  }

  // Closes blocks to which nothing behind `front` can add anything.
  void retire(T front, int64_t left) {
    const T most = T(closing_exponent<T>(double(front), scene_.settings.min_depth, double(rules_.inverse_range),
                                         double(inverse_gamma_), max_opacity_, double(left)));
    for (uint64_t blocks = open_; blocks; blocks &= blocks - 1) {
      const int b = lowest_bit(blocks);
      const auto& x = pixels_[b];
      const auto gaining = (x.rest < most + T(closing_margin)) | (x.total < T(closing_sum));
      if (!any(gaining & x.open)) open_ &= ~(uint64_t{1} << b);
    }
  }

  void composite(const TileFrame& frame, uint64_t met, const typename Footprint::Item& item, int64_t p, int32_t place) {
    const T opacity = *scene_.opacities.at(frame.view, p);
    const T* features = scene_.features.at(frame.view, p);
    for (; met; met &= met - 1) {
      const int b = lowest_bit(met);
      auto& x = pixels_[b];
      const Sample<V> sample = Footprint::sample(item, places_.block(b));
      Contribution<V> c;
      if (!x.take(rules_, inverse_gamma_, sample, opacity, static_cast<int32_t>(p), c)) continue;
      V* image = image_.data() + b * channels_;
      unrolled_or<Channels>(channels_,
                            [&](int64_t k) LG_INLINE_LAMBDA { image[k] = c.added(c.scaled(image[k]), features[k]); });
      if (out_.depth) x.depth = c.added(c.scaled(x.depth), sample.depth);
      if (blend != Blend::softmax) x.last = select(c.used, IndexOf<V>(place), x.last);
      if (out_.ids) list_block(frame, b, static_cast<int32_t>(p), c);
      if (any(c.closed) && !any(x.open)) open_ &= ~(uint64_t{1} << b);
    }
  }

  void list_block(const TileFrame& frame, int b, int32_t p, const Contribution<V>& c) {
    for (uint32_t lanes = bits_of(c.used); lanes; lanes &= lanes - 1) {
      const int l = lowest_lane(lanes);
      const auto k = static_cast<int64_t>(pixels_[b].contributors[l]) - 1;
      if (k >= out_.contributors) continue;
      list<blend>(out_, frame.pixel(b, l), k, p, c.weight[l], c.strength[l], c.exponent[l]);
    }
  }

  void finish(const TileFrame& frame) const {
    const T* background = scene_.background_of(frame.view);
    frame.for_pixels([&](int b, int l, int64_t pixel) {
      const auto x = pixels_[b].lane(l);
      const PixelEnd<T> end = end_of(x, inverse_gamma_);
      T* to = out_.image + pixel * (channels_ + Footprint::extras);
      for (int64_t c = 0; c < channels_; ++c) {
        to[c] = colour_of<blend>(end, image_[b * channels_ + c][l], background[c]);
      }
      write_pixel(out_, pixel, channels_, end, x);
    });
  }

  const Scene<T>& scene_;
  const Images<T>& out_;
  const Rules<T> rules_;
  const int64_t channels_;
  const T inverse_gamma_;
  const double max_opacity_;
  TilePlaces<T, Footprint::needs_plane> places_;
  TileInside inside_;
  ForwardPixel<V, blend, surveyed> pixels_[tile_blocks];
  Buffer<V> image_;    // [blocks, channels]
  uint64_t open_ = 0;  // blocks with open pixels
};

}  // namespace splat
}  // namespace lg
