// Compositing front to back: the effect of one sample on a pixel. V is the value of one pixel or of several.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/exp.h"
#include "splat/blending.h"
#include "splat/footprint.h"

namespace lg {
namespace splat {

// Statistics of depths along a pixel's ray, for footprints with further channels for them.
template <class V, bool Present>
struct Survey {
  LG_HD void begin() {}
  LG_HD Survey<ScalarOf<V>, false> lane(int) const { return {}; }
};
template <class V>
struct Survey<V, true> {
  V total, mean, spread, middle;

  LG_HD void begin() { total = mean = spread = middle = V(0); }

  // Updates the weighted mean and the weighted squared distances from it. Neither is a difference of sums.
  LG_HD void add(const DepthMeasure<ScalarOf<V>>& measure, const MaskOf<V>& used, const MaskOf<V>& crossed,
                 const V& weight, const V& depth) {
    const V m = measure.of(depth), off = m - mean;
    total = total + only(used, weight);
    mean = mean + only(used, weight * off / select(used, total, V(1)));
    spread = spread + only(used, weight * off * (m - mean));
    middle = select(crossed, depth, middle);
  }
  LG_HD Survey<ScalarOf<V>, true> lane(int l) const { return {total[l], mean[l], spread[l], middle[l]}; }
};

// A sample's contribution to a pixel: the sum becomes `scale` times the sum plus `weight` times the sample, where used.
template <class V>
struct Contribution {
  MaskOf<V> used, closed;     // closed: nothing more is added to these pixels
  V weight, scale, exponent;  // exponent: for a softmax, whose weight may still be rescaled
  V strength;
  bool rescale;

  LG_HD V scaled(const V& sum) const { return rescale ? sum * scale : sum; }
  LG_HD V added(const V& sum, const V& value) const { return select(used, sum + weight * value, sum); }
};

// A pixel during compositing.
template <class V, Blend blend, bool Surveyed>
struct ForwardPixel {
  using T = ScalarOf<V>;
  using M = MaskOf<V>;

  V rest;   // transmittance; softmax: the largest exponent so far; merging: nearest depth
  V total;  // sum of weights, background included
  V depth, contributors;
  IndexOf<V> last, median;
  M open;  // more may still be added
  Survey<V, Surveyed> survey;

  // A softmax starts with its background.
  LG_HD void begin(const M& inside, T inverse_gamma) {
    rest = blend == Blend::softmax ? V(T(background_exponent) * inverse_gamma) : V(1);
    total = blend == Blend::softmax ? V(1) : V(0);
    depth = contributors = V(0);
    last = median = IndexOf<V>(-1);
    open = inside;
    survey.begin();
  }

  // Takes a sample of a primitive. False if no pixel uses it. The caller adds to depth, image and lists.
  LG_HD bool take(const Rules<T>& rules, T inverse_gamma, const Sample<V>& sample, T opacity, int32_t primitive,
                  Contribution<V>& out) {
    out.used = sample.reached & open;
    if (!any(out.used)) return false;
    out.strength = opacity * sample.height;
    out.closed = M(false);
    out.rescale = false;
    if constexpr (blend == Blend::softmax) {
      take_softly(rules, inverse_gamma, sample, opacity, out);
    } else {
      const V alpha = minimum(out.strength, V(rules.max_alpha));
      out.used = out.used & (rules.min_alpha <= alpha) & (T(0) < alpha);
      if (!any(out.used)) return false;
      if constexpr (blend == Blend::alpha) take_alpha(rules, sample, alpha, primitive, out);
      if constexpr (blend == Blend::normalised) take_normalised(rules, sample, alpha, out);
      if constexpr (blend == Blend::nearest) take_nearest(out);
    }
    if (rules.counts) contributors = contributors + only(out.used, V(1));
    if (blend != Blend::softmax && rules.max_contributors > 0) {
      out.closed = out.closed | (out.used & (rules.max_contributors <= contributors));
    }
    if (any(out.closed)) open = without(open, out.closed);
    return true;
  }

  // One pixel out of several.
  LG_HD ForwardPixel<T, blend, Surveyed> lane(int l) const {
    return {rest[l],
            total[l],
            depth[l],
            contributors[l],
            static_cast<int32_t>(last[l]),
            static_cast<int32_t>(median[l]),
            open[l] != 0,
            survey.lane(l)};
  }

 private:
  LG_HD void take_softly(const Rules<T>& rules, T inverse_gamma, const Sample<V>& sample, T opacity,
                         Contribution<V>& out) {
    const V z = T(1) - (sample.depth - rules.min_depth) * rules.inverse_range;
    const V before = rest;
    out.exponent = opacity * z * inverse_gamma;
    const V highest = select(out.used, maximum(before, out.exponent), before);
    out.rescale = any((before < highest) & out.used);
    V sum = total;
    if (out.rescale) {
      out.scale = exponential(before - highest);
      rest = highest;
      sum = sum * out.scale;
    }
    out.weight = only(out.used, out.strength * exponential(out.exponent - highest));
    total = sum + out.weight;
  }

  LG_HD void take_alpha(const Rules<T>& rules, const Sample<V>& sample, const V& alpha, int32_t primitive,
                        Contribution<V>& out) {
    const V before = rest, after = before * maximum(T(1) - alpha, V(min_rest<T>()));
    out.closed = out.used & (after <= rules.stop);
    out.used = without(out.used, out.closed);
    out.weight = before * alpha;
    rest = select(out.used, after, before);
    const M crossed = out.used & (T(0.5) <= before) & (after < T(0.5));
    if constexpr (Surveyed) survey.add(rules.measure, out.used, crossed, out.weight, sample.depth);
    if (rules.median) median = select(crossed, IndexOf<V>(primitive), median);
  }

  LG_HD void take_normalised(const Rules<T>& rules, const Sample<V>& sample, const V& alpha, Contribution<V>& out) {
    if (rules.merge > 0) {  // the nearest has come first
      const V nearest = select(T(0) < total, rest, sample.depth);
      out.closed = out.used & (nearest + rules.merge < sample.depth);
      out.used = without(out.used, out.closed);
      rest = select(out.used, nearest, rest);
    }
    out.weight = alpha;
    total = total + only(out.used, alpha);
  }

  LG_HD void take_nearest(Contribution<V>& out) {
    out.weight = V(1);
    out.closed = out.used;
    rest = select(out.used, V(0), rest);
  }
};

// The exponent from which a pixel cannot gain from up to `left` spheres behind `front`, minus the 7 that its sum may
// have lost: exp(-7) < 1e-3. S: the type for the calculation.
template <class T, class S>
LG_HD S closing_exponent(S front, S min_depth, S inverse_range, S inverse_gamma, S max_opacity, S left) {
  const S z = S(1) - (front - min_depth) * inverse_range;
  return maximum(z, S(0)) * inverse_gamma * max_opacity + std::log(left * max_opacity / S(negligible<T>()));
}
constexpr double closing_margin = 7, closing_sum = 1e-3;

// ---- One pixel, when all primitives have been taken --------------------------------------------------------

template <class T>
struct PixelEnd {
  T scale;  // scales its sums
  T rest;   // the background's weight
};

template <class T, Blend blend, bool Surveyed>
LG_HD PixelEnd<T> end_of(const ForwardPixel<T, blend, Surveyed>& x, T inverse_gamma) {
  if (blend == Blend::softmax) {
    const T scale = 1 / x.total;
    return {scale, exponential(T(background_exponent) * inverse_gamma - x.rest) * scale};
  }
  if (blend == Blend::normalised) {
    const T scale = 1 / maximum(x.total, T(min_sum));
    return {scale, 1 - x.total * scale};
  }
  return {T(1), x.rest};
}

template <Blend blend, class T>
LG_HD T colour_of(const PixelEnd<T>& end, T sum, T background) {
  return blend == Blend::softmax ? sum * end.scale : sum * end.scale + end.rest * background;
}

// Records contributor number `k` of a pixel. The weight of a softmax is completed at the end, from its exponent.
template <Blend blend, class T>
LG_HD void list(const Images<T>& out, int64_t pixel, int64_t k, int32_t primitive, T weight, T strength, T exponent) {
  if (k >= out.contributors) return;
  out.ids[pixel * out.contributors + k] = primitive;
  out.weights[pixel * out.contributors + k] = blend == Blend::softmax ? T(std::log(strength)) + exponent : weight;
}

// Writes all outputs of a pixel except its channels.
template <class T, Blend blend, bool Surveyed>
LG_HD void write_pixel(const Images<T>& out, int64_t pixel, int64_t channels, const PixelEnd<T>& end,
                       const ForwardPixel<T, blend, Surveyed>& x) {
  T* state = out.state + 2 * pixel;
  state[0] = blend == Blend::normalised ? end.rest : x.rest;
  state[1] = blend == Blend::softmax || blend == Blend::normalised ? x.total : T(0);
  if constexpr (Surveyed) {
    state[1] = x.survey.mean;
    T* further = out.image + pixel * (channels + 2) + channels;
    further[0] = x.survey.total * x.survey.spread;
    further[1] = x.survey.middle;
  }
  out.alpha[pixel] = 1 - end.rest;
  out.last[pixel] = x.last;
  if (out.depth) out.depth[pixel] = x.depth * end.scale;
  if (out.median) out.median[pixel] = x.median;
  if (!out.ids) return;
  const auto contributors = static_cast<int64_t>(x.contributors);
  for (int64_t k = 0; k < out.contributors; ++k) {
    int32_t& id = out.ids[pixel * out.contributors + k];
    T& weight = out.weights[pixel * out.contributors + k];
    if (k < contributors) {
      weight = end.scale * (blend == Blend::softmax ? T(std::exp(weight - x.rest)) : weight);
    } else {
      id = -1;
      weight = 0;
    }
  }
}

}  // namespace splat
}  // namespace lg
