// The size of a pixel's footprint in a texture, the mip levels that it selects, and the number of taps of an
// anisotropic lookup. Nothing here branches, so that loops over lookups are vectorised.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "runtime/config.h"

namespace lg::texture {

// Derivatives of the texel position (s, t), in texels of the base level, with respect to the pixel position (X, Y).
template <class T>
struct Footprint {
  T s_x, s_y, t_x, t_y;
};

template <class T>
struct FloatBits;
template <>
struct FloatBits<float> {
  using Int = int32_t;
  static constexpr int mantissa = 23;
  static constexpr Int root_half = 0x3f3504f3;
  static constexpr float integers_from = 8388608.0f;  // all values beyond are integers
};
template <>
struct FloatBits<double> {
  using Int = int64_t;
  static constexpr int mantissa = 52;
  static constexpr Int root_half = 0x3fe6a09e667f3bcdLL;
  static constexpr double integers_from = 4503599627370496.0;
};

// Floor of any finite value, by rounding to the nearest integer first. std::floor is a call on some instruction sets,
// which would prevent vectorisation.
template <class T>
LG_HD T floor_of(T x) {
  const T magnitude = std::fabs(x), shift = std::copysign(FloatBits<T>::integers_from, x);
  const T nearest = (x + shift) - shift;
  const T below = nearest > x ? nearest - 1 : nearest;
  return magnitude < FloatBits<T>::integers_from ? below : x;
}

// artanh(s) / s for s^2 = x <= 0.0295: the series 1 + x/3 + x^2/5 + ..., written out because a nested loop would
// prevent the vectorisation of loops over lookups.
LG_HD float artanh_series(float x) { return 1 + x * (1.f / 3 + x * (1.f / 5 + x * (1.f / 7 + x * (1.f / 9)))); }
LG_HD double artanh_series(double x) {
  const double tail = 1. / 13 + x * (1. / 15 + x * (1. / 17 + x * (1. / 19 + x * (1. / 21))));
  return 1 + x * (1. / 3 + x * (1. / 5 + x * (1. / 7 + x * (1. / 9 + x * (1. / 11 + x * tail)))));
}

// Base 2 logarithm of a positive normal value, to about one unit in the last place. The results of maths libraries
// differ between instruction sets; these do not. With x = m 2^e and m in [sqrt(1/2), sqrt(2)), log2 m = 2/ln 2 *
// artanh((m-1)/(m+1)).
template <class T>
LG_HD T log2_of(T x) {
  using Bits = FloatBits<T>;
  using Int = typename Bits::Int;
  Int bits;
  std::memcpy(&bits, &x, sizeof bits);
  const Int exponent = (bits - Bits::root_half) >> Bits::mantissa;
  bits -= exponent * (Int{1} << Bits::mantissa);
  T m;
  std::memcpy(&m, &bits, sizeof m);
  const T s = (m - 1) / (m + 1);
  return T(exponent) + T(2.885390081777926815) * (s * artanh_series(s * s));
}

// The squared length of the footprint's major axis, which is the larger eigenvalue of J^T J, and the terms that its
// gradient needs. It is limited to a range in which its logarithm exists.
template <class T>
struct Extent {
  T squared;
  T half_difference, cross, radius;  // of the eigenvalue formula (A-B)/2, C, sqrt(((A-B)/2)^2 + C^2)
  bool moves;                        // false where `squared` is at a bound
};

template <class T>
LG_HD Extent<T> footprint_extent(const Footprint<T>& j) {
  const T a = j.s_x * j.s_x + j.t_x * j.t_x, b = j.s_y * j.s_y + j.t_y * j.t_y;
  const T low = T(8.673617379884035e-19), high = T(1.152921504606847e18);  // 2^-60 and 2^60
  Extent<T> e;
  e.cross = j.s_x * j.s_y + j.t_x * j.t_y;
  e.half_difference = T(0.5) * (a - b);
  e.radius = std::sqrt(e.half_difference * e.half_difference + e.cross * e.cross);
  const T squared = T(0.5) * (a + b) + e.radius;
  e.moves = squared > low && squared < high;
  const T bounded = squared < high ? squared : high;  // also if the squares have overflowed to NaN
  e.squared = bounded > low ? bounded : low;
  return e;
}

// Adds grad * d(squared) to the footprint's gradient. If both axes are equally long, the eigenvalue has a kink, and
// each axis gets half.
template <class T>
LG_HD void add_extent_gradient(const Footprint<T>& j, const Extent<T>& e, T grad, Footprint<T>* out) {
  const T inverse = e.radius > 0 ? 1 / e.radius : T(0);
  const T tilt = T(0.5) * (e.half_difference * inverse), to_cross = grad * (e.cross * inverse);
  const T to_a = grad * (1 + 2 * tilt), to_b = grad * (1 - 2 * tilt);  // twice the derivative: squares follow
  out->s_x += to_a * j.s_x + to_cross * j.s_y;
  out->t_x += to_a * j.t_x + to_cross * j.t_y;
  out->s_y += to_b * j.s_y + to_cross * j.s_x;
  out->t_y += to_b * j.t_y + to_cross * j.t_x;
}

// The levels of one lookup.
template <class T>
struct LevelChoice {
  int32_t base;   // the finer level used
  int32_t moves;  // 1 if a change of the level changes the result, else 0
  T fraction;     // weight of the next coarser level
};

// between_levels: 1 to interpolate between two levels, 0 to use only the finer one. It is a factor, because conditions
// would become branches.
template <class T>
LG_HD LevelChoice<T> choose_level(T level, int32_t max_level, int32_t between_levels) {
  const T top = T(max_level);
  const T not_below = level > 0 ? level : T(0), bounded = not_below < top ? not_below : top;
  LevelChoice<T> choice;
  choice.base = static_cast<int32_t>(bounded);
  choice.moves = static_cast<int32_t>(level > 0) & static_cast<int32_t>(level < top) & between_levels;
  choice.fraction = T(between_levels) * (bounded - T(choice.base));
  return choice;
}

// ---- Anisotropy -------------------------------------------------------------------------------------------

// The major axis of the footprint in texel space: the eigenvector e of J J^T, and sigma e where sigma is the
// larger singular value.
template <class T>
struct MajorAxis {
  T e_s, e_t;      // direction
  T length;        // sigma
  T eigen_radius;  // half of the difference of the eigenvalues
  T taps;          // the number of lookups spread along it
};

// A ratio that exceeds a whole number by at most this does not take another tap.
constexpr double tap_tolerance = 1.0 / 1024;

template <class T>
LG_HD MajorAxis<T> major_axis(const Footprint<T>& j, const Extent<T>& extent, int32_t max_taps) {
  const T a = j.s_x * j.s_x + j.s_y * j.s_y, b = j.t_x * j.t_x + j.t_y * j.t_y;
  const T c = j.s_x * j.t_x + j.s_y * j.t_y;
  const T h = T(0.5) * (a - b), radius = std::sqrt(h * h + c * c);
  const T along_s = h >= 0 ? h + radius : c, along_t = h >= 0 ? c : radius - h;
  const T norm = std::sqrt(along_s * along_s + along_t * along_t);
  const bool round = !extent.moves | !(norm > 0);
  MajorAxis<T> axis;
  axis.e_s = round ? T(1) : along_s / (round ? T(1) : norm);
  axis.e_t = round ? T(0) : along_t / (round ? T(1) : norm);
  axis.length = std::sqrt(extent.squared);
  axis.eigen_radius = radius;
  const T area = std::fabs(j.s_x * j.t_y - j.s_y * j.t_x), limit = T(max_taps);
  // sigma1 / sigma2 = sigma1^2 / area
  const T excess = extent.squared - (limit + 1) * area;
  const T ratio = excess < 0 ? extent.squared / (area > 0 ? area : T(1)) : limit;
  const T wanted = -floor_of(T(tap_tolerance) - ratio);
  axis.taps = round ? T(1) : wanted < 1 ? T(1) : wanted > limit ? limit : wanted;
  return axis;
}

// The place of tap `tap` along the major axis, in [-1/2, 1/2].
template <class T>
LG_HD T tap_position(int32_t tap, T taps) {
  return (T(tap) + T(0.5)) / taps - T(0.5);
}

// Adds the footprint's gradient, given the gradient (g_s, g_t) of the vector sigma e. With S = J J^T: d sigma = e'dS e
// / (2 sigma), d e = f (f'dS e) / (lambda1 - lambda2), f perpendicular to e.
template <class T>
LG_HD void add_axis_gradient(const Footprint<T>& j, const MajorAxis<T>& axis, T g_s, T g_t, Footprint<T>* out) {
  const T f_s = -axis.e_t, f_t = axis.e_s;
  const bool stretched = axis.taps > 1;
  const T alpha = stretched ? (g_s * axis.e_s + g_t * axis.e_t) / (2 * axis.length) : T(0);
  const T beta = stretched ? axis.length * (g_s * f_s + g_t * f_t) / (2 * axis.eigen_radius) : T(0);
  // Twice the symmetric gradient of S; the gradient of J is that times J.
  const T ss = 2 * alpha * axis.e_s * axis.e_s + 2 * beta * axis.e_s * f_s;
  const T st = 2 * alpha * axis.e_s * axis.e_t + beta * (axis.e_s * f_t + axis.e_t * f_s);
  const T tt = 2 * alpha * axis.e_t * axis.e_t + 2 * beta * axis.e_t * f_t;
  out->s_x += ss * j.s_x + st * j.t_x;
  out->s_y += ss * j.s_y + st * j.t_y;
  out->t_x += st * j.s_x + tt * j.t_x;
  out->t_y += st * j.s_y + tt * j.t_y;
}

}  // namespace lg::texture
