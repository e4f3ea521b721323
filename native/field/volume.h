// A grid of values over a box: the position of a point in it, the interpolated value there, and its derivative with
// respect to the point.
//
// A value belongs to its voxel's centre. Between centres values are interpolated linearly along each axis; between the
// outer centres and the box they are those of the outer centres. Axes are in the order x, y, z everywhere except in the
// grid itself.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::field {

template <class T>
struct Volume {
  const T* values;
  const T* box;  // two corners
  int64_t stride[3];
  int64_t channels;
  int32_t size[3];

  LG_HD T low(int axis) const { return box[axis]; }
  LG_HD T extent(int axis) const { return box[3 + axis] - box[axis]; }
  LG_HD int64_t value_count() const { return int64_t{1} * size[0] * size[1] * size[2] * channels; }
};

template <class T>
LG_HD Volume<T> make_volume(const void* values, const void* box, int64_t slices, int64_t rows, int64_t columns,
                            int64_t channels) {
  Volume<T> v;
  v.values = static_cast<const T*>(values);
  v.box = static_cast<const T*>(box);
  v.channels = channels;
  v.size[0] = static_cast<int32_t>(columns);
  v.size[1] = static_cast<int32_t>(rows);
  v.size[2] = static_cast<int32_t>(slices);
  // Along an axis with a single value, there is no neighbour.
  v.stride[0] = columns > 1 ? channels : 0;
  v.stride[1] = rows > 1 ? columns * channels : 0;
  v.stride[2] = slices > 1 ? rows * columns * channels : 0;
  return v;
}

template <class T>
LG_HD int64_t first_value(const Volume<T>& v, const int32_t* cell) {
  return ((int64_t{1} * cell[2] * v.size[1] + cell[1]) * v.size[0] + cell[0]) * v.channels;
}

// The eight values around a point: the place of the first, and the fractions of the way to the others.
template <class T>
struct Place {
  int64_t first;
  int32_t cell[3];
  T fraction[3];
  T slope[3];  // d fraction / d position, in units of the box; 0 where outer values continue
};

template <class T>
LG_HD Place<T> locate(const Volume<T>& v, const T* point) {
  Place<T> place;
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    const T last = static_cast<T>(v.size[a] - 1), count = static_cast<T>(v.size[a]);
    const T at = (point[a] - v.low(a)) / v.extent(a) * count - T(0.5);
    const bool inside = at > 0 && at < last;
    const T kept = at > 0 ? (at < last ? at : last) : T(0);  // NaN becomes 0
    int32_t cell = static_cast<int32_t>(kept);
    cell = cell < v.size[a] - 1 ? cell : v.size[a] - 2;
    cell = cell > 0 ? cell : 0;
    place.cell[a] = cell;
    place.fraction[a] = kept - static_cast<T>(cell);
    place.slope[a] = inside ? count : T(0);
  }
  place.first = first_value(v, place.cell);
  return place;
}

// Weights of the eight values; bit a of a value's number: the farther one along axis a.
template <class T>
LG_HD void weights_of(const T* fraction, T* weight) {
  const T x = fraction[0], y = fraction[1], z = fraction[2];
  const T yz[4] = {(1 - y) * (1 - z), y * (1 - z), (1 - y) * z, y * z};
  LG_UNROLL
  for (int k = 0; k < 4; ++k) {
    weight[2 * k] = (1 - x) * yz[k];
    weight[2 * k + 1] = x * yz[k];
  }
}

template <class T>
LG_HD int64_t corner(const Volume<T>& v, int k) {
  return (k & 1 ? v.stride[0] : 0) + (k & 2 ? v.stride[1] : 0) + (k & 4 ? v.stride[2] : 0);
}

template <class T>
LG_HD T interpolate(const Volume<T>& v, const Place<T>& place, const T* weight, int64_t channel) {
  const T* from = v.values + place.first + channel;
  T sum = 0;
  LG_UNROLL
  for (int k = 0; k < 8; ++k) sum += weight[k] * from[corner(v, k)];
  return sum;
}

// The derivative of the interpolation of eight numbers with respect to the fraction.
template <class T>
LG_HD void slopes_of(const Place<T>& place, const T* corners, T* slope) {
  const T* f = place.fraction;
  LG_UNROLL
  for (int a = 0; a < 3; ++a) {
    const int b = (a + 1) % 3, c = (a + 2) % 3;
    T sum = 0;
    LG_UNROLL
    for (int k = 0; k < 4; ++k) {
      const int near = (k & 1 ? 1 << b : 0) + (k & 2 ? 1 << c : 0);
      const T weight = (k & 1 ? f[b] : 1 - f[b]) * (k & 2 ? f[c] : 1 - f[c]);
      sum += weight * (corners[near + (1 << a)] - corners[near]);
    }
    slope[a] = sum;
  }
}

}  // namespace lg::field
