// Densities on a grid, along a ray. Between planes through the centres of voxels, the interpolated density is a cubic
// polynomial of the distance, whose integral two points give exactly (Gauss and Legendre). Optical depths and where a
// ray has come to one are exact, too, with no bound of the density and no step.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "field/ray.h"
#include "field/volume.h"
#include "light/vector.h"

namespace lg::light {

// Densities below zero count as zero.
template <class T>
LG_HD T density_at(const field::Volume<T>& v, const Vec3<T>& point) {
  const T at[3] = {point.x, point.y, point.z};
  const field::Place<T> place = field::locate(v, at);
  T weight[8], sum = 0;
  field::weights_of(place.fraction, weight);
  const T* from = v.values + place.first;
  for (int k = 0; k < 8; ++k) {
    const T value = from[field::corner(v, k)];
    sum += value > 0 ? weight[k] * value : T(0);
  }
  return sum;
}

// The two points of a segment whose mean is that of any cubic.
template <class T>
struct GaussPoints {
  T first, second;
};
template <class T>
LG_HD GaussPoints<T> gauss_points(T begin, T end) {
  const T middle = T(0.5) * (begin + end), off = T(0.28867513459481287) * (end - begin);
  return {middle - off, middle + off};
}

// A ray from `origin`; distances are in units of the direction, which is of length 1.
template <class T>
struct DensityRay {
  const field::Volume<T>& volume;
  Vec3<T> origin, direction;

  LG_HD T at(T s) const { return density_at(volume, origin + s * direction); }

  // Within one cell.
  LG_HD T integral(T begin, T end) const {
    const GaussPoints<T> s = gauss_points(begin, end);
    return T(0.5) * (end - begin) * (at(s.first) + at(s.second));
  }

  // Calls take(begin, end) for each cell up to `length`, until it returns false.
  template <class Take>
  LG_HD void each_cell(T length, Take&& take) const {
    const T o[3] = {origin.x, origin.y, origin.z}, d[3] = {direction.x, direction.y, direction.z};
    const T limits[2] = {0, length};
    const field::Ray<T> ray = field::make_ray(volume, o, d, limits);
    const field::Occupancy everywhere = {};
    field::Walk<T> walk(volume, everywhere, ray, 0.0);
    field::Segment<T> cell;
    while (walk.next(&cell)) {
      if (!take(cell.begin, cell.end)) return;
    }
  }

  // Where scale * integral + floor * distance, from `begin` on, comes to `wanted`, which it does before `end`.
  LG_HD T find(T begin, T end, T scale, T floor, T wanted) const {
    T low = begin, high = end, s = T(0.5) * (begin + end);
    for (int n = 0; n < 64; ++n) {
      const T over = scale * integral(begin, s) + floor * (s - begin) - wanted;
      (over < 0 ? low : high) = s;
      T next = s - over / (scale * at(s) + floor);
      if (!(next > low && next < high)) next = T(0.5) * (low + high);
      const T step = std::fabs(next - s);
      s = next;
      if (!(step > 2 * std::numeric_limits<T>::epsilon() * end)) break;
    }
    return s;
  }
};

}  // namespace lg::light
