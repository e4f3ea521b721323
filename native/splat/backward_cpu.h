// The reverse of compositing one tile, on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "splat/pull_back.h"
#include "splat/rows_cpu.h"
#include "splat/tile_cpu.h"

namespace lg {
namespace splat {

// Of one tile: background, fx, fy, cx, cy, gamma.
inline int64_t tile_record_size(int64_t channels) { return channels + 5; }

// Channels: 0 for any number.
template <class T, class Footprint, Blend blend, int Channels>
class BackwardTile {
  using V = Lanes<T>;
  using S = Sums<V, Footprint, Channels>;
  static constexpr bool surveyed = Footprint::extras > 0;

 public:
  BackwardTile(const Scene<T>& scene, const ImageGradients<T>& grads)
      : scene_(scene),
        g_(grads),
        rules_(scene.settings, false, false),
        channels_(Channels ? Channels : scene.channels),
        inverse_gamma_(1 / scene.gamma),
        grad_image_(tile_blocks * channels_),
        feature_sums_(channels_) {}

  // records: one per entry of the tile's list; tile_record: of the tile.
  void run(const Binned<T>& binned, int64_t tile, T* records, T* tile_record) {
    const TileFrame frame(scene_.tiles, tile);
    const Camera camera = scene_.camera(frame.view);
    begin(frame, camera, tile_record);
    const int64_t first = binned.bins.begin[tile], count = binned.bins.begin[tile + 1] - first;
    const int64_t size = Record<Footprint>::size(channels_);
    const int32_t* entry = binned.bins.entry.data() + first;
    const int64_t base = frame.view * scene_.primitives;
    const int64_t used = blend == Blend::softmax ? count : deepest_ + 1;
    std::fill_n(records + used * size, (count - used) * size, T(0));
    for (int64_t e = used - 1; e >= 0; --e) {
      const int64_t p = entry[e];
      if (e >= prefetch_distance) prefetch_row(binned.rows.row(base + entry[e - prefetch_distance]));
      pull_primitive(frame, camera, binned.rows.bound(base + p), p, static_cast<int32_t>(e), records + e * size);
    }
    tile_record[channels_ + 4] += sum(gamma_);
    if constexpr (Footprint::needs_plane) {
      if (g_.want_camera) finish_camera(frame, camera, tile_record + channels_);
    }
  }

 private:
  void begin(const TileFrame& frame, const Camera& camera, T* tile_record) {
    places_.begin(frame, camera);
    for (auto& x : pixels_) x.begin();
    std::fill_n(grad_image_.data(), tile_blocks * channels_, V(0));
    std::fill_n(tile_record, tile_record_size(channels_), T(0));
    gamma_ = V(0);
    deepest_ = -1;
    frame.for_pixels([&](int b, int l, int64_t pixel) { begin_pixel(frame, b, l, pixel, tile_record); });
  }

  void begin_pixel(const TileFrame& frame, int b, int l, int64_t pixel, T* tile_record) {
    auto& x = pixels_[b];
    const T* background = scene_.background_of(frame.view);
    const T* state = g_.state + 2 * pixel;
    const int64_t first = pixel * (channels_ + Footprint::extras);
    T on_background = 0, on_all = 0;
    for (int64_t c = 0; g_.image && c < channels_; ++c) {
      const T value = g_.image[first + c];
      grad_image_[b * channels_ + c].set(l, value);
      on_background += value * background[c];
      on_all += value * g_.out_image[first + c];
    }
    if (g_.alpha) x.grad_alpha.set(l, g_.alpha[pixel]);
    if (g_.depth) x.grad_depth.set(l, g_.depth[pixel]);
    if (g_.alpha) on_all += g_.alpha[pixel] * g_.out_alpha[pixel];
    if (g_.depth) on_all += g_.depth[pixel] * g_.out_depth[pixel];
    const BackwardStart<T> start = start_of<blend>(state, on_background, on_all, inverse_gamma_);
    x.rest.set(l, start.rest);
    x.behind.set(l, start.behind);
    x.scale.set(l, start.scale);
    // A softmax visits every primitive.
    x.last.set(l, blend == Blend::softmax ? std::numeric_limits<int32_t>::max() : g_.last[pixel]);
    deepest_ = std::max(deepest_, g_.last[pixel]);
    for (int64_t c = 0; g_.image && c < channels_; ++c) tile_record[c] += start.share * g_.image[first + c];
    tile_record[channels_ + 4] += start.gamma;
    if constexpr (surveyed) {
      if (!g_.image) return;
      const auto s = survey_of(state, g_.image + first + channels_, g_.out_image + first + channels_);
      x.survey.set(l, s);
    }
  }

  void pull_primitive(const TileFrame& frame, const Camera& camera, const Bound& bound, int64_t p, int32_t e,
                      T* record) {
    const auto item = Primitives<T, Footprint>::load(scene_, camera, frame.view, p, frame.window());
    const T opacity = *scene_.opacities.at(frame.view, p);
    const T* features = scene_.features.at(frame.view, p);
    S sums;
    sums.begin();
    if (!Channels) std::fill_n(feature_sums_.data(), channels_, V(0));
    for (uint64_t met = blocks_met(bound, frame.window()); met; met &= met - 1) {
      const int b = lowest_bit(met);
      const auto asked = IndexOf<V>(e) <= pixels_[b].last;
      if (any(asked)) pull_block(b, item, asked, opacity, features, e, sums);
    }
    write_record(item, sums, record);
  }

  void pull_block(int b, const typename Footprint::Item& item, const MaskOf<V>& asked, T opacity, const T* features,
                  int32_t e, S& sums) {
    auto& x = pixels_[b];
    const auto pixels = places_.block(b);
    const Sample<V> sample = Footprint::sample(item, pixels);
    const V* grad = grad_image_.data() + b * channels_;
    const auto add_features = [&](V seen) LG_INLINE_LAMBDA {
      unrolled_or<Channels>(channels_, [&](int64_t c) LG_INLINE_LAMBDA { seen = seen + grad[c] * features[c]; });
      return seen;
    };
    SampleGradient<V> g;
    if (!x.pull(rules_, inverse_gamma_, sample, opacity, e, asked, add_features, g)) return;
    if (blend == Blend::softmax) gamma_ = gamma_ - g.gamma;
    for (int64_t c = 0; !Channels && c < channels_; ++c) feature_sums_[c] = feature_sums_[c] + g.weight * grad[c];
    add_sample<blend, Footprint, Channels>(item, pixels, sample, g, grad, sums, g_.want_camera ? x.ray : nullptr);
  }

  void write_record(const typename Footprint::Item& item, const S& sums, T* record) const {
    using R = Record<Footprint>;
    T plain[Footprint::sums];
    for (int k = 0; k < Footprint::sums; ++k) plain[k] = sum(sums.footprint[k]);
    Footprint::finish(item, plain, record);
    record[R::opacity] = sum(sums.opacity);
    for (int64_t c = 0; c < channels_; ++c) {
      record[R::features + c] = sum(Channels ? sums.features[c] : feature_sums_[c]);
    }
    record[R::depth(channels_)] = sum(sums.depth);
  }

  void finish_camera(const TileFrame& frame, const Camera& camera, T* out) const {
    const T ix = T(1 / camera.fx), iy = T(1 / camera.fy);
    V grads[tile_blocks][4];
    for (int b = 0; b < tile_blocks; ++b) pull_lens<Footprint>(places_.block(b), pixels_[b].ray, ix, iy, grads[b]);
    frame.for_pixels([&](int b, int l, int64_t) {
      for (int k = 0; k < 4; ++k) out[k] += grads[b][k][l];
    });
  }

  const Scene<T>& scene_;
  const ImageGradients<T>& g_;
  const Rules<T> rules_;
  const int64_t channels_;
  const T inverse_gamma_;
  TilePlaces<T, Footprint::needs_plane> places_;
  BackwardPixel<V, blend, surveyed> pixels_[tile_blocks];
  Buffer<V> grad_image_;    // [blocks, channels]
  Buffer<V> feature_sums_;  // of the current primitive, if Channels is 0
  V gamma_;
  int32_t deepest_ = -1;
};

}  // namespace splat
}  // namespace lg
