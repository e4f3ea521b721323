// The reverse of compositing one tile.
//
// Alpha blending goes back to front: what lies behind a primitive is known when it is reached, and the transmittance
// before it is that after it, divided by what it lets through. Weighted sums go in any order.
#pragma once

#include <cstdint>
#include <vector>

#include "splat/forward_cpu.h"

namespace lg {
namespace splat {

// Of one primitive in one tile: position and shape, opacity, payload, depth.
template <class Footprint>
constexpr int64_t record_size(int64_t channels) {
  return Footprint::position + Footprint::shape + channels + 2;
}
// Of one tile: background, fx, fy, cx, cy, gamma.
inline int64_t tile_record_size(int64_t channels) { return channels + 5; }

template <class T>
struct BackwardScratch {
  TilePlaces<T> places;
  alignas(64) T grad_alpha[tile_pixels], grad_depth[tile_pixels];
  alignas(64) T rest[tile_pixels];    // transmittance; softmax: exponent
  alignas(64) T scale[tile_pixels];   // one by the sum of weights
  alignas(64) T behind[tile_pixels];  // gradient times what is behind; weighted sums: times all of it
  alignas(64) T ray[3][tile_pixels];
  // Surfels: gradients of the distortion and of the median's depth; mean depth, sum of weights, spread around the mean.
  alignas(64) T grad_spread[tile_pixels], grad_middle[tile_pixels], mean[tile_pixels], total[tile_pixels];
  alignas(64) T spread[tile_pixels];
  alignas(64) Integer<T> last[tile_pixels], alive[tile_pixels];  // alive: masks, -1 within the image
  Aligned<T> grad_image, payload_sum;
};

template <class T, class Footprint, Blend blend, int Channels>
class BackwardTile {
  using V = Lanes<T>;
  using M = typename V::Mask;
  using S = Sample<V>;

 public:
  BackwardTile(const Scene<T>& scene, const ImageGradients<T>& grads, BackwardScratch<T>& scratch)
      : scene_(scene),
        g_(grads),
        s_(scratch),
        channels_(Channels ? Channels : scene.channels),
        alpha_max_(T(scene.settings.alpha_max)),
        alpha_min_(T(scene.settings.alpha_min)),
        inverse_range_(T(1 / (scene.settings.max_depth - scene.settings.min_depth))),
        min_depth_(T(scene.settings.min_depth)),
        inverse_gamma_(1 / scene.gamma),
        measure_(scene.settings.min_depth, scene.settings.max_depth) {}

  // records: one per entry of the tile's list; tile_record: of the tile.
  void run(const Binned<T>& binned, int64_t tile, T* records, T* tile_record) {
    const TileFrame frame(scene_.tiles, tile);
    const Camera camera = scene_.camera(frame.view);
    begin(frame, camera, tile_record);
    const int64_t first = binned.bins.begin[tile], end = binned.bins.begin[tile + 1];
    const int64_t size = record_size<Footprint>(channels_);
    const int32_t* entry = binned.bins.entry.data() + first;
    const int64_t base = frame.view * scene_.primitives;
    const int64_t count = end - first, used = blend == Blend::softmax ? count : deepest_ + 1;
    std::fill_n(records + used * size, (count - used) * size, T(0));
    for (int64_t e = used - 1; e >= 0; --e) {
      const int64_t p = entry[e];
      if (e >= prefetch_distance) prefetch_row(binned.rows.row(base + entry[e - prefetch_distance]));
      pull_primitive(frame, camera, binned.rows.bound(base + p), p, e, records + e * size);
    }
    finish(frame, camera, tile_record);
  }

 private:
  // Sums over the pixels of one primitive, lane by lane.
  struct Sums {
    V footprint[Footprint::sums];
    V opacity = T(0), depth = T(0);
    V payload[Channels ? Channels : 1];
  };

  void begin(const TileFrame& frame, const Camera& camera, T* tile_record) {
    s_.places.begin(frame, camera, Footprint::needs_plane);
    s_.grad_image.resize(tile_pixels * channels_);
    std::fill_n(s_.grad_image.data(), tile_pixels * channels_, T(0));
    s_.payload_sum.resize(16 * channels_);
    std::fill_n(s_.grad_alpha, tile_pixels, T(0));
    std::fill_n(s_.grad_depth, tile_pixels, T(0));
    std::fill_n(s_.rest, tile_pixels, T(0));
    std::fill_n(s_.scale, tile_pixels, T(0));
    std::fill_n(s_.behind, tile_pixels, T(0));
    std::fill_n(s_.last, tile_pixels, -1);
    for (int k = 0; k < 3; ++k) std::fill_n(s_.ray[k], tile_pixels, T(0));
    if constexpr (Footprint::extras > 0) {
      for (T* values : {s_.grad_spread, s_.grad_middle, s_.mean, s_.total, s_.spread}) {
        std::fill_n(values, tile_pixels, T(0));
      }
    }
    std::fill_n(s_.alive, tile_pixels, 0);
    std::fill_n(tile_record, tile_record_size(channels_), T(0));
    deepest_ = -1;
    frame.for_pixels([&](int i, int64_t pixel) { begin_pixel(frame, i, pixel, tile_record); });
  }

  void begin_pixel(const TileFrame& frame, int i, int64_t pixel, T* tile_record) {
    const T* background = scene_.background_of(frame.view);
    const T a = g_.state[2 * pixel], b = g_.state[2 * pixel + 1];
    T* grad = s_.grad_image.data() + i / 16 * channels_ * 16 + i % 16;
    T on_background = 0, on_all = 0, rest = a;
    if (g_.image) {
      const int64_t first = pixel * (channels_ + Footprint::extras);
      for (int64_t c = 0; c < channels_; ++c) {
        const T value = g_.image[first + c];
        grad[c * 16] = value;
        on_background += value * background[c];
        on_all += value * g_.out_image[first + c];
      }
      if constexpr (Footprint::extras > 0) {
        s_.grad_spread[i] = g_.image[first + channels_];
        s_.grad_middle[i] = g_.image[first + channels_ + 1];
        s_.mean[i] = b;
        s_.total[i] = 1 - a;
        if (a < 1) s_.spread[i] = g_.out_image[first + channels_] / (1 - a);
      }
    }
    if (g_.alpha) s_.grad_alpha[i] = g_.alpha[pixel];
    if (g_.depth) s_.grad_depth[i] = g_.depth[pixel];
    if (g_.alpha) on_all += g_.alpha[pixel] * g_.out_alpha[pixel];
    if (g_.depth) on_all += g_.depth[pixel] * g_.out_depth[pixel];
    s_.rest[i] = a;
    s_.behind[i] = on_background;
    if (blend == Blend::softmax) {
      const T empty = T(background_exponent) * inverse_gamma_;
      rest = exponential(empty - a) / b;
      s_.scale[i] = 1 / b;
      s_.behind[i] = on_all;
      tile_record[channels_ + 4] -= rest * (on_background - on_all) * empty * inverse_gamma_;
    } else if (blend == Blend::normalised) {
      s_.scale[i] = 1 / std::max(b, T(least_sum));
      if (b >= T(least_sum)) s_.behind[i] = on_all;
    }
    for (int64_t c = 0; c < channels_; ++c) tile_record[c] += rest * grad[c * 16];
    s_.last[i] = g_.last[pixel];
    deepest_ = std::max(deepest_, g_.last[pixel]);
    s_.alive[i] = -1;
  }

  void pull_primitive(const TileFrame& frame, const Camera& camera, const Bound& bound, int64_t p, int64_t e,
                      T* record) {
    const auto item = Primitives<T, Footprint>::load(scene_, camera, frame.view, p, frame.window());
    const T opacity = *scene_.opacity.at(frame.view, p);
    const T* payload = scene_.payload.at(frame.view, p);
    Sums sums;
    for (V& value : sums.footprint) value = T(0);
    for (V& value : sums.payload) value = T(0);
    if (!Channels) std::fill_n(s_.payload_sum.data(), 16 * channels_, T(0));
    for (uint64_t met = blocks_met(bound, frame.window()); met; met &= met - 1) {
      const int b = ForwardTile<T, Footprint, blend, Channels>::lowest_block(met);
      M used = load(s_.alive + b * 16);
      if (blend != Blend::softmax) used &= M(e) <= load(s_.last + b * 16);
      if (!any(used)) continue;
      pull_block(b, item, used, opacity, payload, static_cast<int32_t>(e), sums);
    }
    constexpr int geometry = Footprint::position + Footprint::shape;
    T plain[Footprint::sums];
    for (int k = 0; k < Footprint::sums; ++k) plain[k] = sum(sums.footprint[k]);
    Footprint::finish(item, plain, record);
    record[geometry] = sum(sums.opacity);
    for (int64_t c = 0; c < channels_; ++c) {
      record[geometry + 1 + c] = sum(Channels ? sums.payload[c] : load(s_.payload_sum.data() + c * 16));
    }
    record[geometry + 1 + channels_] = sum(sums.depth);
  }

  void pull_block(int b, const typename Footprint::Item& item, M used, T opacity, const T* payload, int32_t e,
                  Sums& sums) {
    const auto pixels = s_.places.template block<Footprint::needs_plane>(b);
    const S sample = Footprint::sample(item, pixels);
    used &= sample.reached;
    if (!any(used)) return;
    const V strength = opacity * sample.height, one = T(1), zero = T(0);
    const V grad_depth = load(s_.grad_depth + b * 16);
    V alpha = minimum(strength, alpha_max_);
    if (blend != Blend::softmax) {
      used &= (alpha_min_ <= alpha) & (zero < alpha);
      if (!any(used)) return;
    }
    V seen = load(s_.grad_alpha + b * 16) + grad_depth * sample.depth;  // gradient times what this one shows
    const T* grad = s_.grad_image.data() + b * channels_ * 16;
    for (int64_t c = 0; c < channels_; ++c) seen = seen + load(grad + c * 16) * payload[c];

    V weight, grad_height, depth_gradient;
    if constexpr (Footprint::extras > 0) seen = seen + on_distortion(b, sample.depth);
    if (blend == Blend::softmax) {
      const V z = one - (sample.depth - min_depth_) * inverse_range_;
      const V power = opacity * z * inverse_gamma_;
      const V per_height = only(used, opacity * exponential(power - load(s_.rest + b * 16)) * load(s_.scale + b * 16));
      const V difference = only(used, seen - load(s_.behind + b * 16));
      weight = per_height * sample.height;
      grad_height = per_height * difference;
      const V grad_power = weight * difference;
      sums.opacity = sums.opacity + grad_power * (1 / opacity + z * inverse_gamma_);
      depth_gradient = only(used, weight * grad_depth) - grad_power * (opacity * inverse_gamma_ * inverse_range_);
      gamma_ = gamma_ - grad_power * power * inverse_gamma_;
    } else {
      V grad_alpha = zero;
      if (blend == Blend::alpha) {
        const V through = maximum(one - alpha, least_rest<T>()), after = load(s_.rest + b * 16);
        const V behind = load(s_.behind + b * 16), before = after / through;
        weight = only(used, before * alpha);
        grad_alpha = before * (seen - behind);
        store(s_.rest + b * 16, select(used, before, after));
        store(s_.behind + b * 16, select(used, alpha * seen + (one - alpha) * behind, behind));
      } else if (blend == Blend::nearest) {
        weight = only(used & (load(s_.last + b * 16) < M(e + 1)), one);
      } else {
        const V scale = load(s_.scale + b * 16);
        weight = only(used, alpha * scale);
        grad_alpha = scale * (seen - load(s_.behind + b * 16));
      }
      // Nothing moves alpha where it is held at its maximum.
      grad_alpha = only(used & (strength <= alpha_max_), grad_alpha);
      sums.opacity = sums.opacity + grad_alpha * only(used, sample.height);
      grad_height = grad_alpha * opacity;
      depth_gradient = only(used, weight * grad_depth);
      if constexpr (Footprint::extras > 0) {
        depth_gradient = depth_gradient + only(used, pull_survey(b, weight, alpha, sample.depth));
      }
      sums.depth = sums.depth + depth_gradient;
    }
    pull_payload(weight, grad, sums);
    if (blend == Blend::nearest) return;
    S at = sample;
    at.height = only(used, sample.height);
    pull_footprint(b, item, pixels, at, grad_height, depth_gradient, sums);
  }

  // The distortion is A S, A the sum of weights, S that of w (m - mean)^2. Its derivative by a weight is the weighted
  // sum of squared distances from m, S + A (m - mean)^2; by m it is 2 w A (m - mean).
  LG_INLINE V on_distortion(int b, const V& depth) const {
    const V off = measure_.of(depth) - load(s_.mean + b * 16);
    return load(s_.grad_spread + b * 16) * (load(s_.spread + b * 16) + load(s_.total + b * 16) * off * off);
  }
  // Of a depth, to distortion and median. `rest` is already that before this one.
  LG_INLINE V pull_survey(int b, const V& weight, const V& alpha, const V& depth) const {
    const V off = measure_.of(depth) - load(s_.mean + b * 16), before = load(s_.rest + b * 16);
    const V after = before * maximum(T(1) - alpha, least_rest<T>());
    const M crossed = (T(0.5) <= before) & (after < T(0.5));
    const V by_spread = T(2) * load(s_.grad_spread + b * 16) * load(s_.total + b * 16) * weight * off;
    return by_spread * measure_.slope(depth) + only(crossed, load(s_.grad_middle + b * 16));
  }

  LG_INLINE void pull_payload(const V& weight, const T* grad, Sums& sums) {
    for (int64_t c = 0; c < channels_; ++c) {
      const V part = weight * load(grad + c * 16);
      if (Channels) {
        sums.payload[c] = sums.payload[c] + part;
      } else {
        T* target = s_.payload_sum.data() + c * 16;
        store(target, load(target) + part);
      }
    }
  }

  LG_INLINE void pull_footprint(int b, const typename Footprint::Item& item, const Pixels<V>& pixels, const S& at,
                                const V& grad_height, const V& grad_depth, Sums& sums) {
    if (!g_.want_camera) {
      Footprint::pull(item, pixels, at, grad_height, grad_depth, sums.footprint, (V*)nullptr);
      return;
    }
    V ray[3];
    for (int k = 0; k < 3; ++k) ray[k] = load(s_.ray[k] + b * 16);
    Footprint::pull(item, pixels, at, grad_height, grad_depth, sums.footprint, ray);
    for (int k = 0; k < 3; ++k) store(s_.ray[k] + b * 16, ray[k]);
  }

  void finish(const TileFrame& frame, const Camera& camera, T* tile_record) {
    T* out = tile_record + channels_;
    out[4] += sum(gamma_);
    gamma_ = T(0);
    if constexpr (Footprint::needs_plane) {
      if (g_.want_camera) finish_camera(frame, camera, out);
    }
  }

  void finish_camera(const TileFrame& frame, const Camera& camera, T* out) {
    const T ix = T(1 / camera.fx), iy = T(1 / camera.fy);
    alignas(64) T grad_x[tile_pixels], grad_y[tile_pixels], x[tile_pixels], y[tile_pixels];
    for (int b = 0; b < tile_blocks; ++b) {
      const auto pixels = s_.places.template block<true>(b);
      V ray[3], gx, gy;
      for (int k = 0; k < 3; ++k) ray[k] = load(s_.ray[k] + b * 16);
      Footprint::pull_plane(pixels, ray, &gx, &gy);
      store(grad_x + b * 16, gx);
      store(grad_y + b * 16, gy);
      store(x + b * 16, pixels.x);
      store(y + b * 16, pixels.y);
    }
    // x = (column - cx) / fx, y = (cy - row) / fy
    frame.for_pixels([&](int i, int64_t) {
      out[0] -= grad_x[i] * x[i] * ix;
      out[1] -= grad_y[i] * y[i] * iy;
      out[2] -= grad_x[i] * ix;
      out[3] += grad_y[i] * iy;
    });
  }

  const Scene<T>& scene_;
  const ImageGradients<T>& g_;
  BackwardScratch<T>& s_;
  const int64_t channels_;
  const T alpha_max_, alpha_min_, inverse_range_, min_depth_, inverse_gamma_;
  const DepthMeasure<T> measure_;
  V gamma_ = T(0);
  int32_t deepest_ = -1;
};

}  // namespace splat
}  // namespace lg
