// Light between surfaces, where there are media: how far it goes until it collides, and how much of it arrives.
//
// Distances are drawn in proportion to the transmittance of one channel, which is chosen by what the path carries in
// each; the weight of what is drawn counts all channels that could have drawn it (balance heuristic). What a path
// carries, summed over channels, then never grows.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "light/light_sample.h"
#include "light/medium.h"
#include "light/random.h"
#include "light/scene.h"
#include "runtime/call.h"

namespace lg::light {

// The largest number of borders that a ray passes. Rays that continue in the plane of a border need an end.
constexpr int32_t most_borders = 4096;

template <class T>
LG_HD Vec3<T> negative_exp(const Vec3<T>& a) {
  return {std::exp(-a.x), std::exp(-a.y), std::exp(-a.z)};
}

// A ray of unit direction, up to `end` if it is finite.
template <class T>
struct Course {
  Vec3<T> origin, direction, end;
  bool is_finite;
};

// Follows a ray through borders. take(number, origin, length) is told each part of it that is in a medium, and returns
// whether the ray goes on. Returns the surface that the ray ends at, if any. Behind each border, finite rays are aimed
// at their end again, or they might meet the surface that it lies on.
template <class T, class Take>
LG_HD Hit<T> through_borders(const Scene<T>& scene, const Course<T>& course, MediumStack* inside, Take&& take) {
  const T infinite = std::numeric_limits<T>::infinity();
  const Hit<T> nothing = {-1, 0, 0, infinite};
  Vec3<T> origin = course.origin;
  T before = 0;
  for (int32_t n = 0; n < most_borders; ++n) {
    const Vec3<T> along = course.is_finite ? course.end - origin : course.direction;
    const T scale = course.is_finite ? length(along) : T(1);
    Hit<T> hit = scene.intersector.closest(origin, along, course.is_finite ? T(1) : infinite);
    const T part = hit.face >= 0 ? hit.t * scale : course.is_finite ? scale : infinite;
    const int32_t number = inside->innermost(scene.media.around());
    if (number >= 0 && !take(number, origin, part)) return nothing;
    if (hit.face < 0) return nothing;
    before += part;
    hit.t = before;
    if (!scene.is_whole(hit.face) || !scene.media.is_border(hit.face)) return hit;
    const SurfacePoint<T> border = surface_point(scene, hit, course.direction);
    scene.media.cross(hit.face, -border.side, inside);
    origin = origin_towards(scene, border, course.direction);
  }
  return nothing;
}

// The media around the origin of a ray: those whose borders it leaves without having entered them.
template <class T>
LG_HD_CALL MediumStack media_around(const Scene<T>& scene, Vec3<T> origin, const Vec3<T>& direction) {
  MediumStack around, entered;
  if (!scene.media.may_hold(origin)) return around;
  for (int32_t n = 0; n < most_borders; ++n) {
    const Hit<T> hit = scene.intersector.closest(origin, direction, std::numeric_limits<T>::infinity());
    if (hit.face < 0 || !scene.is_whole(hit.face)) break;
    const SurfacePoint<T> p = surface_point(scene, hit, direction);
    const int32_t number = scene.media.behind(hit.face);
    if (number >= 0 && p.side > 0) entered.enter(number);
    if (number >= 0 && p.side < 0 && !entered.leave(number)) around.append(number);
    origin = origin_towards(scene, p, direction);
  }
  return around;
}

// ---- Flights ------------------------------------------------------------------------------------------------

template <class T>
struct Flight {
  bool collides;  // within a medium; else it ends at `hit`, or nowhere
  Hit<T> hit;
  T distance;
  Vec3<T> position;
  Medium<T> medium;
};

// The calls to the visitor:
//   attenuated(medium, origin, direction, passage)    a part of the flight that is in a medium
//   collided(medium, point)                           its end, if it collides
// darkest: 0 for paths that show an image, see medium_gradient.h.
template <class T, class Visitor>
LG_HD_CALL Flight<T> fly(const Scene<T>& scene, const Vec3<T>& origin, const Vec3<T>& direction, const Pair<T>& draw,
                         T darkest, Vec3<T>* carried, MediumStack* inside, Visitor& visitor) {
  Flight<T> flight = {};
  const Vec3<T> share = (1 / (carried->x + carried->y + carried->z)) * *carried;
  const int channel = draw.first < share.x ? 0 : draw.first < share.x + share.y ? 1 : 2;
  T wanted = -std::log1p(-draw.second), more = 0, before = 0;
  Vec3<T> depth = {0, 0, 0};
  Vec3<T> last = origin;
  const auto take = [&](int32_t number, const Vec3<T>& from, T length) {
    const Medium<T> medium = scene.media.medium(number, darkest);
    const T extinction = part(medium.extinction, channel);
    const Passage<T> passage = pass_through(medium, from, direction, length, extinction, wanted);
    const T longer = depth_of(medium.floor, passage.reach);
    wanted -= depth_of(extinction, passage.amount) + longer;
    more += longer;
    depth = depth + depth_of(medium.extinction, passage.amount);
    visitor.attenuated(medium, from, direction, passage);
    if (!passage.collides) return true;
    flight.collides = true;
    flight.medium = medium;
    last = from;
    before = passage.distance;
    return false;
  };
  flight.hit = through_borders(scene, Course<T>{origin, direction, {}, false}, inside, take);
  const Vec3<T> arriving = negative_exp(depth);
  Vec3<T> density = std::exp(-more) * (share * arriving);
  *carried = *carried * arriving;
  if (flight.collides) {
    flight.position = last + before * direction;
    flight.distance = length(flight.position - origin);
    const Vec3<T> extinction = extinction_at(flight.medium, flight.position);
    const T floor = flight.medium.floor;
    density = density * (extinction + Vec3<T>{floor, floor, floor});
    *carried = *carried * (extinction * albedo_at(flight.medium, flight.position));
    visitor.collided(flight.medium, flight.position);
  }
  *carried = (1 / (density.x + density.y + density.z)) * *carried;
  return flight;
}

// ---- Light that is drawn --------------------------------------------------------------------------------------

template <class T>
LG_HD Course<T> shadow_ray(const Vec3<T>& from, const LightSample<T>& light) {
  if (!(light.distance < std::numeric_limits<T>::infinity())) return {from, light.direction, {}, false};
  return {from, unit(light.end - from), light.end, true};
}

// How much of the light arrives: 0 where a surface is in the way.
template <class T>
LG_HD_CALL Vec3<T> transmittance(const Scene<T>& scene, const Course<T>& ray, MediumStack inside) {
  const T infinite = std::numeric_limits<T>::infinity();
  Vec3<T> depth = {0, 0, 0};
  const auto take = [&](int32_t number, const Vec3<T>& from, T length) {
    const Medium<T> medium = scene.media.medium(number, T(0));
    const Passage<T> passage = pass_through(medium, from, ray.direction, length, T(1), infinite);
    depth = depth + depth_of(medium.extinction, passage.amount);
    return true;
  };
  const Hit<T> hit = through_borders(scene, ray, &inside, take);
  return hit.face < 0 ? negative_exp(depth) : Vec3<T>{0, 0, 0};
}

}  // namespace lg::light
