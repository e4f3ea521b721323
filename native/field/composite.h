// Emission and absorption of samples evaluated by the caller, ray by ray, and the gradient.
//
// The gradient goes from back to front without divisions. With h_i the derivative of the loss with respect to the
// weight of sample i, and S_i that with respect to the transmittance behind it, dL/da_i = T_i (h_i - S_i) and S_{i-1} =
// a_i h_i + (1 - a_i) S_i. The T_i that this needs are kept in place of the samples' weights until they are reached
// again.
#pragma once

#include <cstdint>

#include "field/absorption.h"
#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::field {

template <class T>
struct PackedSamples {
  const T *density, *features, *t_start, *t_end, *norms;
  const int64_t* offsets;
  int64_t samples, channels;
  bool opacity;  // density is alpha

  // The samples of a ray. Invalid offsets have none.
  LG_HD int64_t begin(int64_t ray) const { return within(offsets[ray]); }
  LG_HD int64_t end(int64_t ray) const { return within(offsets[ray + 1]); }

  LG_HD T middle(int64_t i) const { return T(0.5) * (t_start[i] + t_end[i]); }

 private:
  LG_HD int64_t within(int64_t i) const { return i > 0 ? (i < samples ? i : samples) : 0; }
};

// The absorption of some consecutive samples: several at a time on the CPU, one on a GPU.
#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)
constexpr int64_t stretch_size = 1;
#else
constexpr int64_t stretch_size = 16;
#endif

template <class T>
struct Stretch {
  T passed[stretch_size] = {}, absorbed[stretch_size] = {};
  T counts[stretch_size] = {};  // 0 if the absorption is NaN

  // For samples `first` to `end`.
  LG_HD void absorb_all(const PackedSamples<T>& samples, int64_t first, int64_t end, T norm) {
    const T *density = samples.density + first, *from = samples.t_start + first, *to = samples.t_end + first;
    const int64_t count = end - first;
    if (samples.opacity) {
      for (int64_t i = 0; i < count; ++i) set(i, {1 - density[i], density[i]}, is_finite(density[i]));
    } else if (count < stretch_size) {
      for (int64_t i = 0; i < count; ++i) set(i, density[i] * norm * (to[i] - from[i]));
    } else {
      T tau[stretch_size];
      LG_VECTORIZE
      for (int64_t i = 0; i < stretch_size; ++i) {
        tau[i] = density[i] * norm * (to[i] - from[i]);
        const Absorption<T> absorption = absorb(tau[i]);
        passed[i] = absorption.passed;
        absorbed[i] = absorption.absorbed;
      }
      LG_VECTORIZE
      for (int64_t i = 0; i < stretch_size; ++i) {
        counts[i] = tau[i] > T(0) ? T(1) : tau[i] - tau[i] == 0 ? T(1) : T(0);
        passed[i] = counts[i] > T(0) ? passed[i] : T(1);
        absorbed[i] = counts[i] > T(0) ? absorbed[i] : T(0);
      }
    }
  }

 private:
  LG_HD void set(int64_t i, T tau) { set(i, absorb(tau), tau > 0 || is_finite(tau)); }

  LG_HD void set(int64_t i, const Absorption<T>& absorption, bool good) {
    passed[i] = good ? absorption.passed : T(1);
    absorbed[i] = good ? absorption.absorbed : T(0);
    counts[i] = good ? T(1) : T(0);
  }
};

template <class T>
struct CompositeForward {
  PackedSamples<T> samples;
  T *features, *alpha, *depth, *weights;

  LG_HD void operator()(int64_t ray) const {
    const int64_t channels = samples.channels;
    T* out = features + ray * channels;
    for (int64_t c = 0; c < channels; ++c) out[c] = 0;
    const T norm = samples.norms[ray];
    T passed = 1, sum_t = 0;
    const int64_t end = samples.end(ray);
    Stretch<T> stretch;
    for (int64_t first = samples.begin(ray); first < end; first += stretch_size) {
      const int64_t last = first + stretch_size < end ? first + stretch_size : end;
      stretch.absorb_all(samples, first, last, norm);
      for (int64_t i = first; i < last; ++i) {
        const T weight = passed * stretch.absorbed[i - first];
        weights[i] = weight;
        if (weight != 0) {
          const T* values = samples.features + i * channels;
          for (int64_t c = 0; c < channels; ++c) out[c] += weight * values[c];
          sum_t += weight * samples.middle(i);
        }
        passed *= stretch.passed[i - first];
      }
    }
    alpha[ray] = 1 - passed;
    depth[ray] = sum_t;
  }
};

template <class T>
struct CompositeBackward {
  PackedSamples<T> samples;
  const T *grad_features_out, *grad_alpha, *grad_depth, *grad_weights;       // null: zero
  T *grad_density, *grad_features, *grad_t_start, *grad_t_end, *grad_norms;  // null: not wanted; density is never null

  LG_HD void operator()(int64_t ray) const {
    const int64_t begin = samples.begin(ray), end = samples.end(ray);
    const T* given = grad_features_out ? grad_features_out + ray * samples.channels : nullptr;
    const T of_alpha = grad_alpha ? grad_alpha[ray] : T(0), of_depth = grad_depth ? grad_depth[ray] : T(0);
    const T norm = samples.norms[ray];
    T passed = 1, behind = 0, sum_norm = 0;
    Stretch<T> stretch;
    for (int64_t first = begin; first < end; first += stretch_size) {
      const int64_t last = first + stretch_size < end ? first + stretch_size : end;
      stretch.absorb_all(samples, first, last, norm);
      for (int64_t i = first; i < last; ++i) {
        grad_density[i] = passed;
        passed *= stretch.passed[i - first];
      }
    }
    for (int64_t last = end; last > begin; last -= stretch_size) {
      const int64_t first = last - begin > stretch_size ? last - stretch_size : begin;
      stretch.absorb_all(samples, first, last, norm);
      for (int64_t i = last; i-- > first;) {
        const Absorption<T> absorption = {stretch.passed[i - first], stretch.absorbed[i - first]};
        const bool counts = stretch.counts[i - first] != 0;
        pull(i, absorption, counts, given, of_alpha, of_depth, norm, &behind, &sum_norm);
      }
    }
    if (grad_norms) grad_norms[ray] = sum_norm;
  }

 private:
  LG_HD void pull(int64_t i, const Absorption<T>& absorption, bool counts, const T* given, T of_alpha, T of_depth,
                  T norm, T* behind, T* sum_norm) const {
    const int64_t channels = samples.channels;
    const T reaches = grad_density[i], weight = reaches * absorption.absorbed;
    T gain = of_alpha + finite(of_depth * samples.middle(i)) + (grad_weights ? grad_weights[i] : T(0));
    for (int64_t c = 0; c < channels && given; ++c) gain += finite(given[c] * samples.features[i * channels + c]);
    for (int64_t c = 0; c < channels && grad_features; ++c) {
      grad_features[i * channels + c] = given ? finite(weight * given[c]) : T(0);
    }
    const T change = counts ? reaches * (gain - *behind) : T(0);
    *behind = absorption.absorbed * gain + absorption.passed * *behind;
    T of_length = 0;
    if (samples.opacity) {
      grad_density[i] = finite(change);
    } else {
      const T of_tau = absorption.passed * change, length = samples.t_end[i] - samples.t_start[i];
      grad_density[i] = finite(of_tau * norm * length);
      of_length = finite(of_tau * norm * samples.density[i]);
      *sum_norm += finite(of_tau * samples.density[i] * length);
    }
    const T of_middle = T(0.5) * weight * of_depth;
    if (grad_t_start) grad_t_start[i] = finite(of_middle - of_length);
    if (grad_t_end) grad_t_end[i] = finite(of_middle + of_length);
  }
};

template <class T>
PackedSamples<T> make_packed_samples(const void* density, const void* features, const void* t_start, const void* t_end,
                                     const void* norms, const int64_t* offsets, int64_t samples, int64_t channels,
                                     int32_t opacity) {
  return {static_cast<const T*>(density),
          static_cast<const T*>(features),
          static_cast<const T*>(t_start),
          static_cast<const T*>(t_end),
          static_cast<const T*>(norms),
          offsets,
          samples,
          channels,
          opacity != 0};
}

}  // namespace lg::field
