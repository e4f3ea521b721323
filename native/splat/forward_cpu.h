// Compositing of one tile, front to back.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "splat/blending.h"
#include "splat/surfel.h"
#include "splat/tile.h"

namespace lg {
namespace splat {

constexpr int64_t prefetch_distance = 16;  // entries of a tile's list

template <class T>
LG_INLINE void prefetch_row(const T* row) {
  LG_PREFETCH(row);
  LG_PREFETCH(row + 16);
}

template <class T>
struct ForwardScratch {
  TilePlaces<T> places;
  alignas(64) T rest[tile_pixels];   // transmittance; softmax: the largest exponent so far; merging: nearest depth
  alignas(64) T total[tile_pixels];  // sum of weights, background included
  alignas(64) T depth[tile_pixels];
  alignas(64) T count[tile_pixels];
  alignas(64) T mean[tile_pixels], spread[tile_pixels], middle[tile_pixels];  // of depth, for surfels
  alignas(64) Integer<T> last[tile_pixels], median[tile_pixels];
  alignas(64) Integer<T> alive[tile_pixels];  // masks: -1 where something may still be added
  Aligned<T> image;
  std::vector<T> weights;
  std::vector<int32_t> ids;
};

template <class T, class Footprint, Blend blend, int Channels>
class ForwardTile {
  using V = Lanes<T>;
  using M = typename V::Mask;
  using S = Sample<V>;

 public:
  ForwardTile(const Scene<T>& scene, const Images<T>& out, ForwardScratch<T>& scratch)
      : scene_(scene),
        out_(out),
        s_(scratch),
        channels_(Channels ? Channels : scene.channels),
        alpha_max_(T(scene.settings.alpha_max)),
        alpha_min_(T(scene.settings.alpha_min)),
        stop_(stop_below<T>(scene.settings)),
        limit_(T(scene.settings.limit)),
        inverse_range_(T(1 / (scene.settings.max_depth - scene.settings.min_depth))),
        min_depth_(T(scene.settings.min_depth)),
        inverse_gamma_(1 / scene.gamma),
        merge_(T(scene.settings.merge)),
        measure_(scene.settings.min_depth, scene.settings.max_depth) {}

  void run(const Binned<T>& binned, int64_t tile) {
    const TileFrame frame(scene_.tiles, tile);
    const Camera camera = scene_.camera(frame.view);
    begin(frame, camera);
    const int64_t first = binned.bins.begin[tile], end = binned.bins.begin[tile + 1];
    const int32_t* entry = binned.bins.entry.data();
    const int64_t base = frame.view * scene_.primitives;
    for (int64_t e = first; e < end && alive_; ++e) {
      const int64_t p = entry[e];
      if (e + prefetch_distance < end) prefetch_row(binned.rows.row(base + entry[e + prefetch_distance]));
      uint64_t met = blocks_met(binned.rows.bound(base + p), frame.window()) & alive_;
      if (!met) continue;
      const auto item = Primitives<T, Footprint>::load(scene_, camera, frame.view, p, frame.window());
      if constexpr (blend == Blend::softmax) {
        if ((e - first) % 32 == 31) retire(item.t - item.radius, end - e);
      }
      const T opacity = *scene_.opacity.at(frame.view, p);
      const T* payload = scene_.payload.at(frame.view, p);
      for (; met; met &= met - 1) {
        const int b = lowest_block(met);
        const auto pixels = s_.places.template block<Footprint::needs_plane>(b);
        const S sample = Footprint::sample(item, pixels);
        composite(b, sample, opacity, payload, static_cast<int32_t>(p), static_cast<int32_t>(e - first));
      }
    }
    finish(frame);
  }

  static int lowest_block(uint64_t bits) {
    const auto low = static_cast<uint32_t>(bits);
    return low ? lowest_lane(low) : 32 + lowest_lane(static_cast<uint32_t>(bits >> 32));
  }

 private:
  void begin(const TileFrame& frame, const Camera& camera) {
    s_.places.begin(frame, camera, Footprint::needs_plane);
    alive_ = 0;
    std::fill_n(s_.alive, tile_pixels, 0);
    frame.for_pixels([&](int i, int64_t) {
      s_.alive[i] = -1;
      alive_ |= uint64_t{1} << i / 16;
    });
    const bool soft = blend == Blend::softmax;
    const T empty = T(background_exponent) * inverse_gamma_;
    std::fill_n(s_.rest, tile_pixels, soft ? empty : T(1));
    std::fill_n(s_.total, tile_pixels, soft ? T(1) : T(0));
    std::fill_n(s_.depth, tile_pixels, T(0));
    std::fill_n(s_.count, tile_pixels, T(0));
    if constexpr (Footprint::extras > 0) {
      for (T* values : {s_.mean, s_.spread, s_.middle}) std::fill_n(values, tile_pixels, T(0));
    }
    std::fill_n(s_.last, tile_pixels, -1);
    std::fill_n(s_.median, tile_pixels, -1);
    s_.image.resize(tile_pixels * channels_);
    const T* background = scene_.background_of(frame.view);
    for (int b = 0; b < tile_blocks; ++b) {  // the softmax's background is there from the start
      for (int64_t c = 0; c < channels_; ++c) {
        store(s_.image.data() + (b * channels_ + c) * 16, V(soft ? background[c] : T(0)));
      }
    }
    if (out_.ids) {
      s_.ids.assign(static_cast<size_t>(tile_pixels * out_.contributors), -1);
      s_.weights.assign(static_cast<size_t>(tile_pixels * out_.contributors), T(0));
    }
  }

  // Gives up blocks to which nothing behind `front` can add any more. exp(-7) < 1e-3.
  void retire(T front, int64_t left) {
    const double z = 1 - (double(front) - scene_.settings.min_depth) * double(inverse_range_);
    const T most = T(std::max(z, 0.0) * double(inverse_gamma_) * max_opacity_ +
                     std::log(double(left) * max_opacity_ / negligible<T>()));
    for (uint64_t blocks = alive_; blocks; blocks &= blocks - 1) {
      const int b = lowest_block(blocks);
      const M open = (load(s_.rest + b * 16) < most + T(7)) | (load(s_.total + b * 16) < T(1e-3));
      if (!any(open & load(s_.alive + b * 16))) alive_ &= ~(uint64_t(1) << b);
    }
  }

  LG_INLINE void add(int b, const V& weight, const V& scale, const M& used, const S& sample, const T* payload,
                     bool rescale) {
    T* image = s_.image.data() + b * channels_ * 16;
    for (int64_t c = 0; c < channels_; ++c) {
      V sum = load(image + c * 16);
      if (rescale) sum = sum * scale;
      store(image + c * 16, select(used, sum + weight * payload[c], sum));
    }
    if (out_.depth) {
      V sum = load(s_.depth + b * 16);
      if (rescale) sum = sum * scale;
      store(s_.depth + b * 16, select(used, sum + weight * sample.depth, sum));
    }
  }

  LG_INLINE void composite(int b, const S& sample, T opacity, const T* payload, int32_t p, int32_t place) {
    M used = sample.reached & load(s_.alive + b * 16);
    if (!any(used)) return;
    T* rest = s_.rest + b * 16;
    T* total = s_.total + b * 16;
    const V strength = opacity * sample.height;
    if (blend == Blend::softmax) {
      const V z = T(1) - (sample.depth - min_depth_) * inverse_range_;
      const V exponent = opacity * z * inverse_gamma_, before = load(rest);
      const V highest = select(used, maximum(before, exponent), before);
      const bool rescale = any((before < highest) & used);
      V scale = T(1), sum = load(total);
      if (rescale) {
        scale = exponential(before - highest);
        store(rest, highest);
        sum = sum * scale;
      }
      const V weight = only(used, strength * exponential(exponent - highest));
      store(total, sum + weight);
      add(b, weight, scale, used, sample, payload, rescale);
      if (out_.ids) list(b, used, strength, exponent, p);
      return;
    }
    const V alpha = minimum(strength, alpha_max_);
    used &= (alpha_min_ <= alpha) & (T(0) < alpha);
    if (!any(used)) return;
    V weight = alpha;
    M done(0);
    if (blend == Blend::alpha) {
      const V before = load(rest), after = before * maximum(T(1) - alpha, least_rest<T>());
      done = used & (after <= stop_);
      used = without(used, done);
      weight = before * alpha;
      store(rest, select(used, after, before));
      const M crossed = used & (T(0.5) <= before) & (after < T(0.5));
      if constexpr (Footprint::extras > 0) survey(b, used, crossed, weight, sample.depth);
      if (out_.median) {
        store(s_.median + b * 16, select(crossed, M(p), load(s_.median + b * 16)));
      }
    } else if (blend == Blend::nearest) {
      weight = T(1);
      store(rest, select(used, T(0), load(rest)));
      done = used;
    } else {
      if (merge_ > 0) {  // what is nearest has come first
        const V nearest = select(T(0) < load(total), load(rest), sample.depth);
        done = used & (nearest + merge_ < sample.depth);
        used = without(used, done);
        store(rest, select(used, nearest, load(rest)));
      }
      store(total, load(total) + only(used, alpha));
    }
    add(b, weight, T(1), used, sample, payload, false);
    for_last(b, used, place);
    if (out_.ids) list(b, used, weight, T(0), p);
    if (limit_ > 0) {
      const V count = load(s_.count + b * 16) + only(used, V(T(1)));
      if (!out_.ids) store(s_.count + b * 16, count);
      done |= (limit_ <= (out_.ids ? load(s_.count + b * 16) : count)) & used;
    }
    if (any(done)) {
      const M alive = without(load(s_.alive + b * 16), done);
      store(s_.alive + b * 16, alive);
      if (!any(alive)) alive_ &= ~(uint64_t(1) << b);
    }
  }

  // The weighted mean of depths so far and the weighted squares of distances from it, neither a difference of sums.
  LG_INLINE void survey(int b, const M& used, const M& crossed, const V& weight, const V& depth) {
    T *total = s_.total + b * 16, *mean = s_.mean + b * 16, *spread = s_.spread + b * 16, *middle = s_.middle + b * 16;
    const V sum = load(total) + only(used, weight), old = load(mean), off = measure_.of(depth) - old;
    const V now = old + only(used, weight * off / select(used, sum, T(1)));
    store(total, sum);
    store(mean, now);
    store(spread, load(spread) + only(used, weight * off * (measure_.of(depth) - now)));
    store(middle, select(crossed, depth, load(middle)));
  }

  LG_INLINE void for_last(int b, const M& used, int32_t place) {
    Integer<T>* last = s_.last + b * 16;
    store(last, select(used, M(place), load(last)));
  }

  // Notes contributors; a softmax's weight is completed at the end, from its exponent.
  void list(int b, const M& used, const V& weight, const V& exponent, int32_t p) {
    alignas(64) T w[16], x[16];
    store(w, weight);
    store(x, exponent);
    for_lanes_of(used, [&](int l) {
      const int i = b * 16 + l;
      const auto k = static_cast<int64_t>(s_.count[i]);
      s_.count[i] += 1;
      if (k >= out_.contributors) return;
      s_.ids[i * out_.contributors + k] = p;
      s_.weights[i * out_.contributors + k] = blend == Blend::softmax ? std::log(w[l]) + x[l] : w[l];
    });
  }

  void finish(const TileFrame& frame) {
    const T* background = scene_.background_of(frame.view);
    frame.for_pixels([&](int i, int64_t pixel) {
      T scale = 1, rest = s_.rest[i];
      T* state = out_.state + 2 * pixel;
      if (blend == Blend::softmax) {
        scale = 1 / s_.total[i];
        rest = exponential(T(background_exponent) * inverse_gamma_ - s_.rest[i]) * scale;
        state[0] = s_.rest[i];
        state[1] = s_.total[i];
      } else if (blend == Blend::normalised) {
        scale = 1 / std::max(s_.total[i], T(least_sum));
        rest = 1 - s_.total[i] * scale;
        state[0] = rest;
        state[1] = s_.total[i];
      } else {
        state[0] = rest;
        state[1] = Footprint::extras > 0 ? s_.mean[i] : T(0);
      }
      const T* from = s_.image.data() + (i / 16 * channels_) * 16 + i % 16;
      T* to = out_.image + pixel * (channels_ + Footprint::extras);
      for (int64_t c = 0; c < channels_; ++c) {
        to[c] = from[c * 16] * scale;
        if (blend != Blend::softmax) to[c] += rest * background[c];
      }
      if constexpr (Footprint::extras > 0) {
        to[channels_] = s_.total[i] * s_.spread[i];
        to[channels_ + 1] = s_.middle[i];
      }
      out_.alpha[pixel] = 1 - rest;
      out_.last[pixel] = static_cast<int32_t>(s_.last[i]);
      if (out_.depth) out_.depth[pixel] = s_.depth[i] * scale;
      if (out_.median) out_.median[pixel] = static_cast<int32_t>(s_.median[i]);
      for (int64_t k = 0; out_.ids && k < out_.contributors; ++k) {
        const int64_t from_k = i * out_.contributors + k, to_k = pixel * out_.contributors + k;
        const T w = s_.weights[from_k];
        out_.ids[to_k] = s_.ids[from_k];
        if (s_.ids[from_k] < 0)
          out_.weights[to_k] = 0;
        else
          out_.weights[to_k] = scale * (blend == Blend::softmax ? std::exp(w - s_.rest[i]) : w);
      }
    });
  }

  const Scene<T>& scene_;
  const Images<T>& out_;
  ForwardScratch<T>& s_;
  const int64_t channels_;
  const T alpha_max_, alpha_min_, stop_, limit_, inverse_range_, min_depth_, inverse_gamma_, merge_;
  const DepthMeasure<T> measure_;
  uint64_t alive_ = 0;

 public:
  double max_opacity_ = 1;
};

}  // namespace splat
}  // namespace lg
