// Light from a cube map at infinity. Directions are drawn texel by texel: each of a row of texels and each row has a
// probability, and within a texel all points of the cube's face are equally likely. Radiance is interpolated between
// texels all the same; their probabilities are made from it (lumigrad.reference.light._sampling).
#pragma once

#include <cmath>
#include <cstdint>

#include "light/lookup.h"
#include "light/random.h"
#include "light/vector.h"

namespace lg::light {

// The number i with sums[i] <= u < sums[i + 1], of `count` >= 1. Without branches, which no processor would foresee.
template <class T>
LG_HD int64_t find_interval(const T* sums, int64_t count, T u) {
  int64_t low = 0;
  while (count > 1) {
    const int64_t half = count / 2;
    low += static_cast<int64_t>(sums[low + half] <= u) * half;
    count -= half;
  }
  return low;
}

template <class T>
struct Environment {
  const T* texels;    // [6, side, side, 3] or null
  const T* rotation;  // [3, 3] into the world
  const T *row_sums, *texel_sums;
  int32_t side;

  LG_HD bool exists() const { return texels != nullptr; }

  LG_HD Vec3<T> inward(const Vec3<T>& d) const {
    const T* r = rotation;
    return {r[0] * d.x + r[3] * d.y + r[6] * d.z, r[1] * d.x + r[4] * d.y + r[7] * d.z,
            r[2] * d.x + r[5] * d.y + r[8] * d.z};
  }
  LG_HD Vec3<T> outward(const Vec3<T>& d) const {
    const T* r = rotation;
    return {r[0] * d.x + r[1] * d.y + r[2] * d.z, r[3] * d.x + r[4] * d.y + r[5] * d.z,
            r[6] * d.x + r[7] * d.y + r[8] * d.z};
  }

  LG_HD Taps<T> taps(const Vec3<T>& direction) const { return cube_taps(on_cube(inward(direction)), side); }
  LG_HD Vec3<T> radiance(const Vec3<T>& direction) const { return combine(texels, taps(direction)); }

  // The gradient by the rotation, of the radiance from a direction of the world.
  LG_HD_CALL void pull_rotation(const Vec3<T>& direction, const Vec3<T>& given, T (&by_rotation)[9]) const {
    const Vec3<T> d = inward(direction);
    const auto point = on_cube(d);
    const Taps<T> at = cube_taps(point, side);
    const TapSlopes<T> slopes = cube_slopes(point, side);
    T by_u = 0, by_v = 0;
    for (int k = 0; k < 4; ++k) {
      const T along = dot(given, load3(texels + 3 * at.texel[k]));
      by_u += slopes.u[k] * along;
      by_v += slopes.v[k] * along;
    }
    // u = (a / m + 1) / 2 in the frame of the face, and v alike.
    const auto n = texture::to_face(point.face, d.x, d.y, d.z);
    const T by_a = T(0.5) * by_u / n.m, by_b = T(0.5) * by_v / n.m, by_m = -(by_a * n.a + by_b * n.b) / n.m;
    T by_inward[3];
    texture::from_face(point.face, texture::FaceVector<T>{by_m, by_a, by_b}, by_inward);
    for (int k = 0; k < 9; ++k) by_rotation[k] = part(direction, k / 3) * by_inward[k % 3];
  }

  // Of drawing a direction, per solid angle.
  LG_HD T pdf(const Vec3<T>& direction) const {
    const auto point = on_cube(inward(direction));
    return probability(point.face * side + cell(point.v), cell(point.u)) * per_solid_angle(point);
  }

  LG_HD int64_t sample_row(const Pair<T>& choice) const {
    return find_interval(row_sums, 6 * int64_t{side}, choice.first);
  }
  LG_HD int64_t sample_column(int64_t row, const Pair<T>& choice) const {
    return find_interval(texel_sums + row * (side + 1), side, choice.second);
  }
  LG_HD Vec3<T> sample_in_row(int64_t row, const Pair<T>& choice, const Pair<T>& place, T* pdf) const {
    const int64_t column = sample_column(row, choice);
    const auto point = within_texel(static_cast<int32_t>(row / side), static_cast<int32_t>(row % side),
                                    static_cast<int32_t>(column), place);
    *pdf = probability(row, column) * per_solid_angle(point);
    return direction_to(point);
  }
  LG_HD_LARGE Vec3<T> sample(const Pair<T>& choice, const Pair<T>& place, T* pdf) const {
    return sample_in_row(sample_row(choice), choice, place, pdf);
  }

  // Asks for what sample_in_row() will read.
  void fetch_row(int64_t row) const {
    constexpr int64_t values = 64 / sizeof(T);
    const T* sums = texel_sums + row * (side + 1);
    for (int64_t column = 0; column <= side && column < 16 * values; column += values) LG_PREFETCH(sums + column);
  }

  // A place on a texel: row and column within the face.
  LG_HD texture::FacePoint<T> within_texel(int32_t face, int32_t row, int32_t column, const Pair<T>& place) const {
    return {face, (T(column) + place.first) / T(side), (T(row) + place.second) / T(side)};
  }
  LG_HD Vec3<T> direction_to(const texture::FacePoint<T>& point) const {
    T d[3];
    texture::from_face(point.face, texture::FaceVector<T>{1, 2 * point.u - 1, 2 * point.v - 1}, d);
    return unit(outward(load3(d)));
  }
  // The row or column of a face in which a coordinate lies.
  LG_HD int32_t cell(T u) const {
    const int32_t i = texture::whole_part(u * T(side));
    return i < 0 ? 0 : i >= side ? side - 1 : i;
  }
  LG_HD T probability(int64_t row, int64_t column) const {
    const T* sums = texel_sums + row * (side + 1);
    return (row_sums[row + 1] - row_sums[row]) * (sums[column + 1] - sums[column]);
  }
  // Texels of this size per solid angle.
  LG_HD T per_solid_angle(const texture::FacePoint<T>& point) const {
    const T p = 2 * point.u - 1, q = 2 * point.v - 1, squared = 1 + p * p + q * q;
    return T(0.25) * T(side) * T(side) * squared * std::sqrt(squared);
  }
};

}  // namespace lg::light
