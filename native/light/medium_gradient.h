// Gradients to media.
//
// What a path carries behind a part of its way is in proportion to the transmittance of this part; behind a collision,
// also to the extinction and the albedo there; behind a change of direction, to the phase function. As with surfaces
// (path_gradient.h), directions and distances are drawn as they are, and it is their worth that changes.
//
// Where nothing scatters, paths do not collide, but would if the density were a little larger. Paths that gradients are
// computed from collide more often than light does, by `floor` a distance, and carry so much less: about one in five
// that cross an empty box.
//
// Extinctions, densities and albedos below the least that they can be count as this, and have the derivative that is
// there: an optimiser that has gone too far finds the way back.
#pragma once

#include <cstdint>

#include "light/flight.h"
#include "light/medium.h"
#include "light/phase.h"

namespace lg::light {

// sink.add(gradient, number of the value, what is added); of_media and of_voxels are its names of gradients.
template <class T, class Sink, class Gradient>
class PullMedia {
 public:
  LG_HD PullMedia(const Media<T>& media, const Sink& sink, Gradient of_media, Gradient of_voxels)
      : media_(media), sink_(sink), of_media_(of_media), of_voxels_(of_voxels) {}

  // given: by the optical depth of a part of a ray.
  LG_HD_CALL void pull_depth(const Medium<T>& m, const Vec3<T>& origin, const Vec3<T>& direction, const Passage<T>& p,
                             const Vec3<T>& given) const {
    add_row(m, medium_extinction, depth_of(given, p.amount));
    if (!m.is_grid) return;
    const T of_amount = dot(given, m.extinction);
    const DensityRay<T> ray = {m.volume, origin, direction};
    ray.each_cell(p.distance, [&](T begin, T end) {
      const GaussPoints<T> s = gauss_points(begin, end);
      add_densities(m, origin + s.first * direction, origin + s.second * direction, T(0.5) * (end - begin) * of_amount);
      return true;
    });
  }

  // given: by the logarithm of the extinction times the albedo at a point.
  LG_HD_CALL void pull_collision(const Medium<T>& m, const Vec3<T>& point, const Vec3<T>& given) const {
    const Vec3<T> extinction = extinction_at(m, point), albedo = albedo_at(m, point), factor = albedo_factor(m, point);
    const T density = m.is_grid ? density_at(m.volume, point) : T(1);
    const Vec3<T> of_extinction = quotient(given, extinction), of_albedo = quotient(given, albedo);
    add_row(m, medium_extinction, density * of_extinction);
    add_row(m, medium_albedo, of_albedo * factor);
    if (m.is_grid) add_density(m, point, dot(of_extinction, m.extinction));
    if (m.is_colored) add_colors(m, point, of_albedo * m.albedo);
  }

  // given: by the logarithm of the phase function.
  LG_HD void pull_phase(const Medium<T>& m, T cosine, T given) const {
    sink_.add(of_media_, medium_columns * int64_t{m.number} + medium_g, given * phase_slope(m.g, cosine));
  }

 private:
  LG_HD static Vec3<T> quotient(const Vec3<T>& a, const Vec3<T>& b) {
    return {b.x > 0 ? a.x / b.x : T(0), b.y > 0 ? a.y / b.y : T(0), b.z > 0 ? a.z / b.z : T(0)};
  }
  // 0 of nothing given, however long the way.
  LG_HD static Vec3<T> depth_of(const Vec3<T>& given, T amount) {
    return {given.x != 0 ? given.x * amount : T(0), given.y != 0 ? given.y * amount : T(0),
            given.z != 0 ? given.z * amount : T(0)};
  }

  LG_HD void add_row(const Medium<T>& m, int column, const Vec3<T>& given) const {
    for (int c = 0; c < 3; ++c) {
      sink_.add(of_media_, medium_columns * int64_t{m.number} + column + c, part(given, c));
    }
  }

  LG_HD_CALL void add_density(const Medium<T>& m, const Vec3<T>& point, T given) const {
    each_voxel(m, point, [&](int64_t first, T weight) { sink_.add(of_voxels_, offset(m) + first, weight * given); });
  }

  // By the densities of two points, which are in one cell but for rounding.
  LG_HD_CALL void add_densities(const Medium<T>& m, const Vec3<T>& a, const Vec3<T>& b, T given) const {
    const T points[2][3] = {{a.x, a.y, a.z}, {b.x, b.y, b.z}};
    const field::Place<T> place = field::locate(m.volume, points[0]), other = field::locate(m.volume, points[1]);
    if (place.first != other.first) {
      add_density(m, a, given);
      add_density(m, b, given);
      return;
    }
    T weight[8], more[8];
    field::weights_of(place.fraction, weight);
    field::weights_of(other.fraction, more);
    for (int k = 0; k < 8; ++k) {
      const int64_t value = offset(m) + place.first + field::corner(m.volume, k);
      sink_.add(of_voxels_, value, (weight[k] + more[k]) * given);
    }
  }

  LG_HD_CALL void add_colors(const Medium<T>& m, const Vec3<T>& point, const Vec3<T>& given) const {
    each_voxel(m, point, [&](int64_t first, T weight) {
      for (int c = 0; c < 3; ++c) sink_.add(of_voxels_, offset(m) + first + 1 + c, weight * part(given, c));
    });
  }

  LG_HD int64_t offset(const Medium<T>& m) const { return m.volume.values - media_.values; }

  template <class Take>
  LG_HD static void each_voxel(const Medium<T>& m, const Vec3<T>& point, Take&& take) {
    const T at[3] = {point.x, point.y, point.z};
    const field::Place<T> place = field::locate(m.volume, at);
    T weight[8];
    field::weights_of(place.fraction, weight);
    for (int k = 0; k < 8; ++k) take(place.first + field::corner(m.volume, k), weight[k]);
  }

  const Media<T>& media_;
  const Sink& sink_;
  Gradient of_media_, of_voxels_;
};

}  // namespace lg::light
