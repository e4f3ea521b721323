// What one face adds to one pixel of a soft image, and the way back. The definition is lumigrad.blending.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/config.h"
#include "soft/soft.h"

namespace lg::soft {

template <class T>
struct SoftBits;
template <>
struct SoftBits<float> {
  using Int = int32_t;
  static constexpr int mantissa = 23, bias = 127, terms = 7;
  static constexpr float lowest = -87.0f;
};
template <>
struct SoftBits<double> {
  using Int = int64_t;
  static constexpr int mantissa = 52, bias = 1023, terms = 13;
  static constexpr double lowest = -708.0;
};

// e^x for x <= 0, to some units in the last place; below `lowest` zero. The maths library's keeps loops from being
// vectorised, and differs from machine to machine.
template <class T>
LG_HD T soft_exp(T x) {
  using Int = typename SoftBits<T>::Int;
  const T magic = T(1.5) * T(Int(1) << SoftBits<T>::mantissa);  // adding it rounds to an integer
  const T limited = x > SoftBits<T>::lowest ? x : SoftBits<T>::lowest;
  const T shifted = limited * T(1.4426950408889634074) + magic;
  const T n = shifted - magic;
  const T r = (limited - n * T(0.693145751953125)) - n * T(1.42860682030941723212e-6);
  T sum = 1;
  for (int k = SoftBits<T>::terms; k > 0; --k) sum = 1 + sum * r * (T(1) / T(k));
  const Int bits = (static_cast<Int>(n) + SoftBits<T>::bias) << SoftBits<T>::mantissa;
  T scale;
  memcpy(&scale, &bits, sizeof scale);
  return x < SoftBits<T>::lowest ? T(0) : sum * scale;
}

enum SoftFalloff : int32_t { soft_sigmoid, soft_exponential };

// How a face's probability falls off with distance: p, and 1 - p without cancellation.
template <class T>
struct SoftProbability {
  T p, rest;
};

template <SoftFalloff Falloff, class T>
LG_HD SoftProbability<T> soft_probability(T dist, bool inside, T inverse_sigma) {
  const T e = soft_exp(-dist * inverse_sigma);
  if (Falloff == soft_exponential) return {inside ? T(1) : e, inside ? T(0) : 1 - e};
  const T large = 1 / (1 + e), small = e * large;
  return {inside ? large : small, inside ? small : large};
}

// How the transmittance, the product of all (1 - p), depends on a face's unsigned squared distance.
template <SoftFalloff Falloff, class T>
LG_HD T soft_transmittance_slope(const SoftProbability<T>& at, bool inside, T transmittance, T inverse_sigma) {
  if (Falloff == soft_exponential) {
    const bool exists = !inside & (at.rest > 0);
    return exists ? transmittance * at.p * inverse_sigma / (exists ? at.rest : T(1)) : T(0);
  }
  return transmittance * at.p * (inside ? -inverse_sigma : inverse_sigma);
}

// Nearness of a point: 1 at the near end and 0 at the far one.
template <class T>
struct SoftNearness {
  bool by_w;  // (far - w) / (far - near), else (1 - z) / 2
  T far, inverse_range;

  LG_HD T operator()(const SoftWeights<T>& at) const {
    return by_w ? (far - at.below) * inverse_range : (1 - at.z) * T(0.5);
  }
  LG_HD T grad_z(T grad) const { return by_w ? T(0) : -grad * T(0.5); }
  LG_HD T grad_below(T grad) const { return by_w ? -grad * inverse_range : T(0); }
};

// ---- Images -------------------------------------------------------------------------------------------------------

template <class T>
struct BlendRequest {
  T inverse_sigma, inverse_gamma, eps, least;
  SoftNearness<T> nearness;
  const T* attr;  // [attr_views, attr_vertices, channels]
  const int32_t* attr_tri;
  int64_t attr_views, attr_vertices, channels;

  LG_HD bool colors() const { return attr_views > 0; }  // else the silhouette alone
  LG_HD int64_t attr_row(int64_t view, int64_t vertex) const {
    return (attr_views == 1 ? 0 : view * attr_vertices) + vertex;
  }
  LG_HD T weight_behind(T nearest) const { return soft_max(soft_exp((eps - nearest) * inverse_gamma), least); }
};

template <class T>
BlendRequest<T> make_blend_request(double sigma, double gamma, double eps, double least, double near, double far,
                                   const void* attr, const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices,
                                   int64_t channels) {
  const bool by_w = near < far;
  return {static_cast<T>(1 / sigma),
          static_cast<T>(1 / gamma),
          static_cast<T>(eps),
          static_cast<T>(least),
          {by_w, static_cast<T>(far), static_cast<T>(by_w ? 1 / (far - near) : 0)},
          static_cast<const T*>(attr),
          attr_tri,
          attr_views,
          attr_vertices,
          channels};
}

// Per pixel; all but the transmittance only with attributes.
template <class T>
struct BlendImages {
  T *transmittance, *color, *behind, *nearest, *total;
};

template <class T>
BlendImages<T> make_blend_images(const void* transmittance, const void* color, const void* behind, const void* nearest,
                                 const void* total) {
  const auto as = [](const void* image) { return static_cast<T*>(const_cast<void*>(image)); };
  return {as(transmittance), as(color), as(behind), as(nearest), as(total)};
}

template <class T>
struct BlendGradients {
  const T *transmittance, *color, *behind;  // any may be null
  T *pos, *attr;                            // attr may be null
};

// What the backward pass has to know of a pixel.
template <class T>
struct BlendPixel {
  T transmittance, grad;     // of all faces; its gradient
  T nearest, inverse_total;  // the nearest face's nearness; 1 / total
  T base, grad_nearest;      // what every colour is compared with; gradient of `nearest`
  bool live;                 // has any gradient
};

template <class T>
LG_HD BlendPixel<T> read_blend_pixel(const BlendRequest<T>& r, const BlendImages<T>& images,
                                     const BlendGradients<T>& grads, int64_t pixel) {
  BlendPixel<T> out = {
      images.transmittance[pixel], grads.transmittance ? grads.transmittance[pixel] : T(0), 0, 0, 0, 0, false};
  out.live = out.grad * out.transmittance != 0;
  if (!r.colors()) return out;
  const T total = images.total[pixel], behind = images.behind[pixel];
  const T grad_behind = grads.behind ? grads.behind[pixel] : T(0);
  out.nearest = images.nearest[pixel];
  out.inverse_total = total > 0 ? 1 / total : T(0);
  out.live |= grad_behind != 0;
  T mean = 0;
  for (int64_t c = 0; c < r.channels && grads.color; ++c) {
    const T g = grads.color[pixel * r.channels + c];
    mean += g * images.color[pixel * r.channels + c];
    out.live |= g != 0;
  }
  out.base = mean + grad_behind * behind;
  // Only where the background's weight is at its least does the nearest face's nearness count by itself.
  const bool least = r.least > 0 && soft_exp((r.eps - out.nearest) * r.inverse_gamma) <= r.least;
  out.grad_nearest = least ? -r.inverse_gamma * behind * (mean - grad_behind * (1 - behind)) : T(0);
  return out;
}

}  // namespace lg::soft
