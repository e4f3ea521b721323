// The reverse of compositing: the gradients of one sample, given those of a pixel. V is the value of one pixel or of
// several.
//
// Alpha blending goes back to front: when a primitive is reached, everything behind it is known, and the transmittance
// in front of it is the one behind it divided by what it lets through. Weighted sums go in any order.
#pragma once

#include <cstdint>

#include "math/exp.h"
#include "math/unrolled.h"
#include "splat/blending.h"
#include "splat/footprint.h"

namespace lg {
namespace splat {

// The layout of one primitive's gradients: those of position and shape, then these.
template <class Footprint>
struct Record {
  static constexpr int shape = Footprint::position, opacity = shape + Footprint::shape, features = opacity + 1;
  static constexpr LG_HD int64_t depth(int64_t channels) { return features + channels; }
  static constexpr LG_HD int64_t size(int64_t channels) { return depth(channels) + 1; }
};

// Sums of pixels' gradients for one primitive.
template <class V, class Footprint, int Channels>
struct Sums {
  V footprint[Footprint::sums], opacity, depth;
  V features[Channels > 0 ? Channels : 1];

  LG_HD void begin() {
    unrolled<Footprint::sums>([&](int k) LG_INLINE_LAMBDA { footprint[k] = V(0); });
    unrolled<Channels>([&](int i) LG_INLINE_LAMBDA { features[i] = V(0); });
    opacity = depth = V(0);
  }
};

// For channels with statistics of depths along a pixel's ray: the gradients and the statistics.
template <class V, bool Present>
struct SurveyGradient {
  LG_HD void begin() {}
};
template <class V>
struct SurveyGradient<V, true> {
  using T = ScalarOf<V>;
  V grad_spread, grad_middle, mean, total, spread;

  LG_HD void begin() { grad_spread = grad_middle = mean = total = spread = V(0); }
  LG_HD void set(int l, const SurveyGradient<T, true>& of_lane) {
    grad_spread.set(l, of_lane.grad_spread);
    grad_middle.set(l, of_lane.grad_middle);
    mean.set(l, of_lane.mean);
    total.set(l, of_lane.total);
    spread.set(l, of_lane.spread);
  }

  // The distortion is A S, where A is the sum of weights and S that of w (m - mean)^2. Its derivative with respect to a
  // weight is the weighted sum of squared distances from m, S + A (m - mean)^2; with respect to m, it is 2 w A (m -
  // mean).
  LG_HD V of_weight(const DepthMeasure<T>& measure, const V& depth) const {
    const V off = measure.of(depth) - mean;
    return grad_spread * (spread + total * off * off);
  }
  LG_HD V of_depth(const DepthMeasure<T>& measure, const MaskOf<V>& crossed, const V& weight, const V& depth) const {
    const V off = measure.of(depth) - mean;
    return T(2) * grad_spread * total * weight * off * measure.slope(depth) + only(crossed, grad_middle);
  }
};

// The gradients that blending passes on to a sample.
template <class V>
struct SampleGradient {
  MaskOf<V> used;
  V weight, height, depth, opacity, gamma;
};

// A pixel in the backward pass.
template <class V, Blend blend, bool Surveyed>
struct BackwardPixel {
  using T = ScalarOf<V>;
  using M = MaskOf<V>;

  V rest;    // transmittance; softmax: exponent
  V behind;  // gradient times everything behind; weighted sums: times the whole sum
  V grad_alpha, grad_depth;
  IndexOf<V> last;  // place of the last primitive to visit
  V scale;          // of weighted sums: 1 / sum of weights
  V ray[3];         // of spheres
  SurveyGradient<V, Surveyed> survey;

  LG_HD void begin() {
    rest = behind = grad_alpha = grad_depth = V(0);
    last = IndexOf<V>(-1);
    if constexpr (blend == Blend::softmax) unrolled<3>([&](int k) LG_INLINE_LAMBDA { ray[k] = V(0); });
    if constexpr (blend == Blend::softmax || blend == Blend::normalised) scale = V(0);
    survey.begin();
  }

  // Undoes the sample of the primitive at `place`. False if no pixel uses it. add_features(seen): returns `seen` plus
  // the gradient times the features.
  template <class AddFeatures>
  LG_HD bool pull(const Rules<T>& rules, T inverse_gamma, const Sample<V>& sample, T opacity, int32_t place,
                  const M& asked, AddFeatures&& add_features, SampleGradient<V>& out) {
    out.used = asked & sample.reached;
    if (!any(out.used)) return false;
    const V strength = opacity * sample.height, alpha = minimum(strength, V(rules.max_alpha));
    if (blend != Blend::softmax) {
      out.used = out.used & (rules.min_alpha <= alpha) & (T(0) < alpha);
      if (!any(out.used)) return false;
    }
    V seen = add_features(grad_alpha + grad_depth * sample.depth);  // the gradient times this primitive's values
    if constexpr (Surveyed) seen = seen + survey.of_weight(rules.measure, sample.depth);
    if constexpr (blend == Blend::softmax) {
      pull_softly(rules, inverse_gamma, sample, opacity, seen, out);
    } else {
      pull_sharply(rules, sample, opacity, strength, alpha, seen, place, out);
    }
    return true;
  }

 private:
  LG_HD void pull_softly(const Rules<T>& rules, T inverse_gamma, const Sample<V>& sample, T opacity, const V& seen,
                         SampleGradient<V>& out) const {
    const V z = T(1) - (sample.depth - rules.min_depth) * rules.inverse_range;
    const V power = opacity * z * inverse_gamma;
    const V per_strength = only(out.used, exponential(power - rest) * scale), per_height = opacity * per_strength;
    const V difference = only(out.used, seen - behind);
    out.weight = per_height * sample.height;
    out.height = per_height * difference;
    const V grad_power = out.weight * difference;
    // Without dividing by the opacity, which may be tiny.
    out.opacity = per_strength * sample.height * difference + grad_power * (z * inverse_gamma);
    out.depth = only(out.used, out.weight * grad_depth) - grad_power * (opacity * inverse_gamma * rules.inverse_range);
    out.gamma = grad_power * power * inverse_gamma;
  }

  LG_HD void pull_sharply(const Rules<T>& rules, const Sample<V>& sample, T opacity, const V& strength, const V& alpha,
                          const V& seen, int32_t place, SampleGradient<V>& out) {
    V grad = V(0), of_survey = V(0);
    if constexpr (blend == Blend::alpha) {
      const V through = maximum(T(1) - alpha, V(min_rest<T>())), after = rest, before = after / through;
      out.weight = only(out.used, before * alpha);
      grad = before * (seen - behind);
      if constexpr (Surveyed) {
        const M crossed = (T(0.5) <= before) & (before * through < T(0.5));
        of_survey = only(out.used, survey.of_depth(rules.measure, crossed, out.weight, sample.depth));
      }
      rest = select(out.used, before, after);
      behind = select(out.used, alpha * seen + (T(1) - alpha) * behind, behind);
    } else if constexpr (blend == Blend::nearest) {
      out.weight = only(out.used & (last <= IndexOf<V>(place)), V(1));
    } else {
      out.weight = only(out.used, alpha * scale);
      grad = scale * (seen - behind);
    }
    // Where alpha is held at its maximum, it has no gradient.
    grad = only(out.used & (strength <= rules.max_alpha), grad);
    out.opacity = grad * only(out.used, sample.height);
    out.height = grad * opacity;
    out.depth = only(out.used, out.weight * grad_depth);
    if constexpr (Surveyed) out.depth = out.depth + of_survey;
  }
};

// Adds the pixels' gradients for a primitive. grad_image: gradients of the channels. ray: three sums per pixel for the
// gradient of its ray, or null.
template <Blend blend, class Footprint, int Channels, class V>
LG_HD void add_sample(const typename Footprint::Item& item, const Pixels<V>& pixels, const Sample<V>& sample,
                      const SampleGradient<V>& g, const V* grad_image, Sums<V, Footprint, Channels>& sums, V* ray) {
  sums.opacity = sums.opacity + g.opacity;
  unrolled<Channels>([&](int i) LG_INLINE_LAMBDA { sums.features[i] = sums.features[i] + g.weight * grad_image[i]; });
  if (blend != Blend::softmax) sums.depth = sums.depth + g.depth;
  if (blend == Blend::nearest) return;
  Sample<V> at = sample;
  at.height = only(g.used, sample.height);
  Footprint::pull(item, pixels, at, g.height, g.depth, sums.footprint, ray);
}

// ---- One pixel, before the first primitive -----------------------------------------------------------------

// on_background: the pixel's gradients times the background; on_all: times its outputs.
template <class T>
struct BackwardStart {
  T rest, behind, scale, share, gamma;  // share: the background's weight
};

template <Blend blend, class T>
LG_HD BackwardStart<T> start_of(const T* state, T on_background, T on_all, T inverse_gamma) {
  const T a = state[0], b = state[1];
  if (blend == Blend::softmax) {
    const T empty = T(background_exponent) * inverse_gamma, share = exponential(empty - a) / b;
    return {a, on_all, 1 / b, share, -(share * (on_background - on_all) * empty * inverse_gamma)};
  }
  if (blend == Blend::normalised) {
    return {a, b >= T(min_sum) ? on_all : on_background, 1 / maximum(b, T(min_sum)), a, T(0)};
  }
  return {a, on_background, T(0), a, T(0)};
}

// For channels with statistics of depths. grads and channels: of the two further channels.
template <class T>
LG_HD SurveyGradient<T, true> survey_of(const T* state, const T* grads, const T* channels) {
  const T total = 1 - state[0];
  return {grads[0], grads[1], state[1], total, state[0] < 1 ? channels[0] / total : T(0)};
}

// Converts a pixel's sums for its ray to the gradients of fx, fy, cx and cy: x = (column - cx) / fx, y = (cy - row) /
// fy. ix, iy: 1 / fx, 1 / fy.
template <class Footprint, class V>
LG_HD void pull_lens(const Pixels<V>& pixels, const V* ray, ScalarOf<V> ix, ScalarOf<V> iy, V* out) {
  V grad_x, grad_y;
  Footprint::pull_plane(pixels, ray, &grad_x, &grad_y);
  out[0] = -(grad_x * pixels.x * ix);
  out[1] = -(grad_y * pixels.y * iy);
  out[2] = -(grad_x * ix);
  out[3] = grad_y * iy;
}

}  // namespace splat
}  // namespace lg
