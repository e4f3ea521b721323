// The phase function of Henyey and Greenstein (1941): how light that a medium scatters is spread around its direction.
// g is the mean cosine of the angle by which light turns: 0 spreads it evenly, g > 0 sends it forwards.
#pragma once

#include <cmath>

#include "light/vector.h"

namespace lg::light {

// 1 + g^2 - 2 g cos, without cancellation where g is near 1 or -1.
template <class T>
LG_HD T phase_distance(T g, T cosine) {
  const T near = 1 - std::fabs(g);
  return near * near + 2 * std::fabs(g) * (1 - (g < 0 ? -cosine : cosine));
}

// Per solid angle; it is also the density of drawn directions. cosine: of the direction before with the one after.
template <class T>
LG_HD T phase_value(T g, T cosine) {
  const T d = phase_distance(g, cosine);
  return T(0.25 / pi) * (1 - g * g) / (d * std::sqrt(d));
}

// The derivative of the logarithm of phase_value() by g.
template <class T>
LG_HD T phase_slope(T g, T cosine) {
  return 3 * (cosine - g) / phase_distance(g, cosine) - 2 * g / (1 - g * g);
}

// The cosine of a drawn direction: the inverse of the cumulative distribution, written so that g = 0 is no special
// case.
template <class T>
LG_HD T sample_phase_cosine(T g, T u) {
  const T even = 2 * u - 1, k = (even + g) / (1 + g * even);
  return clamped(k + T(0.5) * g * (1 - k * k), T(-1), T(1));
}

template <class T>
LG_HD Vec3<T> direction_around(const Vec3<T>& axis, T cosine, T v) {
  const T squared = 1 - cosine * cosine, sine = std::sqrt(squared > 0 ? squared : T(0)), angle = T(2 * pi) * v;
  return frame_around(axis).to_world({sine * std::cos(angle), sine * std::sin(angle), cosine});
}

}  // namespace lg::light
