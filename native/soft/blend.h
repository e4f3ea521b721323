// The contribution of one face to one pixel of a soft image, and its gradient. The definition is lumigrad.blending.
//
// Of a pixel with faces of probabilities p, nearness s and colours c:
//   T = prod (1 - p)      D = sum w + b    w = p exp((s - m) / gamma)    b = max(exp((eps - m) / gamma), least)
//   m = max(eps, s ...)   color = sum w c / D                            behind = b / D
//
// Without `least`, any m gives the same image. m is then the maximum of eps and of s - gamma x over all faces, where p
// = scale exp(-x): with s alone, a near face that hardly counts here would suppress all others. The exponents of p and
// of the nearness are added, because either may be too small or too large by itself.
#pragma once

#include <cstdint>

#include "math/exp.h"
#include "math/scalar.h"
#include "runtime/config.h"
#include "soft/pixel.h"

namespace lg::soft {

enum Falloff : int32_t { falloff_sigmoid, falloff_exponential };

// A face's probability at a pixel as a function of the distance: p, and 1 - p without cancellation. Outside the face, p
// = scale exp(-dist / sigma).
template <class T>
struct Probability {
  T p, rest, scale;
};

template <class T>
LG_HD Probability<T> probability_of(Falloff falloff, T dist, bool inside, T inverse_sigma) {
  const T e = exponential_decay(-dist * inverse_sigma);
  if (falloff == falloff_exponential) return {inside ? T(1) : e, inside ? T(0) : 1 - e, T(1)};
  const T large = 1 / (1 + e), small = e * large;
  return {inside ? large : small, inside ? small : large, large};
}

// The derivative of the transmittance, the product of all (1 - p), with respect to a face's unsigned squared distance.
template <class T>
LG_HD T transmittance_slope(Falloff falloff, const Probability<T>& at, bool inside, T transmittance, T inverse_sigma) {
  if (falloff == falloff_exponential) {
    const bool exists = !inside & (at.rest > 0);
    return exists ? transmittance * at.p * inverse_sigma / (exists ? at.rest : T(1)) : T(0);
  }
  return transmittance * at.p * (inside ? -inverse_sigma : inverse_sigma);
}

// The nearness of a point: 1 at the near end and 0 at the far end.
template <class T>
struct Nearness {
  bool by_w;  // (far - w) / (far - near), else (1 - z) / 2
  T far, inverse_range;

  LG_HD T operator()(const Weights<T>& at) const {
    return by_w ? (far - at.below) * inverse_range : (1 - at.z) * T(0.5);
  }
  LG_HD T grad_z(T grad) const { return by_w ? T(0) : -grad * T(0.5); }
  LG_HD T grad_below(T grad) const { return by_w ? -grad * inverse_range : T(0); }
};

// ---- Images -------------------------------------------------------------------------------------------------------

template <class T>
struct BlendRequest {
  T inverse_sigma, inverse_gamma, eps, least;
  T nearness_per_dist;  // gamma / sigma, or 0 if there is a least weight
  Nearness<T> nearness;
  const T* attr;  // [attr_views, attr_vertices, channels]
  const int32_t* attr_tri;
  int64_t attr_views, attr_vertices, channels;

  LG_HD bool colors() const { return attr_views > 0; }  // otherwise only the silhouette
  LG_HD int64_t attr_row(int64_t view, int64_t vertex) const {
    return (attr_views == 1 ? 0 : view * attr_vertices) + vertex;
  }

  // The quantity whose maximum is m. outside: the squared distance from the face, 0 inside.
  LG_HD T rank(T nearness_of_face, T outside) const { return nearness_of_face - outside * nearness_per_dist; }

  // A face's weight in the colour. nearest: m.
  LG_HD T weight(const Probability<T>& at, T nearness_of_face, T outside, T nearest) const {
    const T exponent = (nearness_of_face - nearest) * inverse_gamma - outside * inverse_sigma;
    return at.scale * exponential_decay(minimum(exponent, T(0)));
  }
  LG_HD T weight_behind(T nearest) const { return maximum(exponential_decay((eps - nearest) * inverse_gamma), least); }
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
          static_cast<T>(least > 0 ? 0 : gamma / sigma),
          {by_w, static_cast<T>(far), static_cast<T>(by_w ? 1 / (far - near) : 0)},
          static_cast<const T*>(attr),
          attr_tri,
          attr_views,
          attr_vertices,
          channels};
}

// Images with one entry per pixel. Without attributes, only the transmittance exists.
template <class T>
struct BlendImages {
  T *transmittance, *color, *behind, *nearest, *total;

  // Writes a pixel's values other than transmittance and colour, given m and D. Returns 1 / D, the factor of the sums
  // of colours.
  LG_HD T write_total(const BlendRequest<T>& r, int64_t pixel, T nearest_face, T total_weight) const {
    const T inverse = total_weight > 0 ? 1 / total_weight : T(0);
    nearest[pixel] = nearest_face;
    total[pixel] = total_weight;
    behind[pixel] = r.weight_behind(nearest_face) * inverse;
    return inverse;
  }
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
  T *pos, *attr;                            // either may be null
};

template <class T>
BlendGradients<T> make_blend_gradients(const void* transmittance, const void* color, const void* behind, void* pos,
                                       void* attr) {
  return {static_cast<const T*>(transmittance), static_cast<const T*>(color), static_cast<const T*>(behind),
          static_cast<T*>(pos), static_cast<T*>(attr)};
}

// ---- One pixel ----------------------------------------------------------------------------------------------------

// The inputs of the backward pass at one pixel.
template <class T>
struct BlendPixel {
  T transmittance, grad;     // over all faces, and its gradient
  T nearest, inverse_total;  // m; 1 / total
  T base;                    // subtracted from the products of faces' colours with the gradient
  T grad_nearest;            // of `nearest`; zero once a face has taken it, so that only the first of equals does
  bool live;                 // has any nonzero gradient
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
  // The nearness of the nearest face matters by itself only if the background's weight is at its minimum.
  const bool least = r.least > 0 && exponential_decay((r.eps - out.nearest) * r.inverse_gamma) <= r.least;
  out.grad_nearest = least ? -r.inverse_gamma * behind * (mean - grad_behind * (1 - behind)) : T(0);
  return out;
}

// ---- One face at one pixel ----------------------------------------------------------------------------------------

// A channel of the face's colour, interpolated between its corners.
template <class T>
LG_HD T mix_corners(const T bary[3], T a0, T a1, T a2) {
  return (bary[0] * a0 + bary[1] * a1) + bary[2] * a2;
}

// The values of a face at a pixel that it contributes to.
template <class T>
struct FaceBlend {
  bool inside;
  Probability<T> at;
  T nearness, weight;
};

template <class T>
struct FaceBlendGradient {
  T dist, nearness;  // with respect to the unsigned squared distance and the nearness
};

// dot: the gradient of the face's own colour minus the pixel's base.
template <class T>
LG_HD FaceBlendGradient<T> blend_gradient(const BlendRequest<T>& r, Falloff falloff, const FaceBlend<T>& face,
                                          const BlendPixel<T>& pixel, T dot) {
  const T grad_weight = dot * pixel.inverse_total;
  const T slope = transmittance_slope(falloff, face.at, face.inside, pixel.transmittance, r.inverse_sigma);
  const T slope_weight = face.weight * face.at.rest * (face.inside ? r.inverse_sigma : -r.inverse_sigma);
  const T grad_nearest = face.nearness == pixel.nearest ? pixel.grad_nearest : T(0);
  return {pixel.grad * slope + grad_weight * slope_weight, grad_weight * face.weight * r.inverse_gamma + grad_nearest};
}

}  // namespace lg::soft
