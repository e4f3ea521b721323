// Participating media: what fills a closed surface, a box of voxels, or the scene.
//
// A point is in the medium whose border a path has entered last and not left: of media in one another, in the
// innermost. Borders are triangles; behind each, where its normal does not point, lies its medium.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "light/density_grid.h"
#include "light/vector.h"
#include "lumigrad.h"
#include "runtime/call.h"

namespace lg::light {

// Of `media`, for each: extinction, of grids a factor of the density; albedo; g of the phase function.
enum MediumColumn { medium_extinction = 0, medium_albedo = 3, medium_g = 6, medium_columns = 7 };
// Of `medium_places`: the box of its grid, the bounds of its border, and `floor`.
enum MediumPlaceColumn { place_box = 0, place_bounds = 6, place_floor = 12, place_columns = 13 };
// Of `medium_grids`: its first value, its size, and the number of values of a voxel: 1, or 4 with an albedo. 0: none.
enum MediumGridColumn { grid_first, grid_depth, grid_height, grid_width, grid_channels, grid_columns };
// Of `medium_faces`: the number of the medium behind, or -1; whether nothing but media meet there. In the row behind
// the last triangle, the number of the medium that fills the scene.
enum MediumFaceColumn { face_medium, face_is_border, face_columns };

template <class T>
struct Medium {
  int32_t number;
  Vec3<T> extinction, albedo;
  T g;
  T darkest;  // least albedo of paths that gradients are computed from,
  T floor;    // how much more often they collide, per distance: see medium_gradient.h,
  T least;    // and the least extinction where they do; all 0 of paths that show an image
  bool is_grid, is_colored;
  field::Volume<T> volume;
};

// The media around a point, from the innermost on: a byte each, 0 behind the last. Of more than eight, the outermost
// are forgotten.
struct MediumStack {
  uint64_t bytes = 0;

  LG_HD int32_t innermost(int32_t otherwise) const {
    return bytes & 255 ? static_cast<int32_t>(bytes & 255) - 1 : otherwise;
  }
  LG_HD void enter(int32_t number) { bytes = bytes << 8 | static_cast<uint64_t>(number + 1); }
  LG_HD void append(int32_t number) {
    for (int at = 0; at < 64; at += 8) {
      if ((bytes >> at & 255) != 0) continue;
      bytes |= static_cast<uint64_t>(number + 1) << at;
      return;
    }
  }
  // Whether it was there.
  LG_HD bool leave(int32_t number) {
    for (int at = 0; at < 64; at += 8) {
      if ((bytes >> at & 255) != static_cast<uint64_t>(number + 1)) continue;
      const uint64_t inner = bytes & ((uint64_t{1} << at) - 1), outer = at < 56 ? bytes >> (at + 8) << at : 0;
      bytes = inner | outer;
      return true;
    }
    return false;
  }
};

template <class T>
LG_HD Vec3<T> at_least(const Vec3<T>& a, T low) {
  return {a.x > low ? a.x : low, a.y > low ? a.y : low, a.z > low ? a.z : low};
}

template <class T>
struct Media {
  const T *rows, *places, *values;
  const int64_t* grids;
  const int32_t* faces;
  int64_t count, value_count, triangles;

  LG_HD bool exist() const { return rows != nullptr; }

  // The number of the medium behind a triangle, -1 where there is none.
  LG_HD int32_t behind(int64_t face) const {
    const int32_t number = faces[face_columns * face + face_medium];
    return number < count ? number : -1;
  }
  LG_HD int32_t around() const { return behind(triangles); }
  LG_HD bool is_border(int64_t face) const { return faces[face_columns * face + face_is_border] != 0; }

  // Through a triangle. `along`: the cosine of the direction with its normal.
  LG_HD void cross(int64_t face, T along, MediumStack* inside) const {
    const int32_t number = behind(face);
    if (number < 0) return;
    if (along < 0) {
      inside->enter(number);
    } else {
      inside->leave(number);
    }
  }

  // Whether a point may be in any of the media that have borders.
  LG_HD bool may_hold(const Vec3<T>& p) const {
    for (int64_t k = 0; k < count; ++k) {
      const T* b = places + place_columns * k + place_bounds;
      if (p.x >= b[0] && p.y >= b[1] && p.z >= b[2] && p.x <= b[3] && p.y <= b[4] && p.z <= b[5]) return true;
    }
    return false;
  }

  LG_HD_CALL Medium<T> medium(int32_t number, T darkest) const {
    const T *row = rows + medium_columns * number, *place = places + place_columns * number;
    Medium<T> m;
    m.number = number;
    m.extinction = at_least(load3(row + medium_extinction), T(0));
    m.albedo = load3(row + medium_albedo);
    m.g = row[medium_g];
    m.darkest = darkest;
    m.floor = darkest > 0 ? place[place_floor] : T(0);
    m.least = darkest * (m.floor > largest(m.extinction) ? m.floor : largest(m.extinction));
    m.is_grid = has_grid(number);
    m.is_colored = false;
    if (m.is_grid) {
      const int64_t* grid = grids + grid_columns * number;
      m.volume = field::make_volume<T>(values + grid[grid_first], place + place_box, grid[grid_depth],
                                       grid[grid_height], grid[grid_width], grid[grid_channels]);
      m.is_colored = grid[grid_channels] == 4;
    }
    return m;
  }

 private:
  LG_HD bool has_grid(int32_t number) const {
    const int64_t *g = grids + grid_columns * number, most = int64_t{1} << 15;
    if (g[grid_channels] != 1 && g[grid_channels] != 4) return false;
    for (int a = grid_depth; a <= grid_width; ++a) {
      if (g[a] < 1 || g[a] > most) return false;
    }
    const int64_t size = g[grid_depth] * g[grid_height] * g[grid_width] * g[grid_channels];
    return g[grid_first] >= 0 && g[grid_first] <= value_count - size;
  }
};

// How far light goes in a medium: `distance`, of which `reach` in its box, and the integral of the density, which is 1
// where there is no grid. `collides`: it ends there.
template <class T>
struct Passage {
  T distance, reach, amount;
  bool collides;
};

// 0 of nothing, however long.
template <class T>
LG_HD T depth_of(T extinction, T amount) {
  return extinction > 0 ? extinction * amount : T(0);
}
template <class T>
LG_HD Vec3<T> depth_of(const Vec3<T>& extinction, T amount) {
  return {depth_of(extinction.x, amount), depth_of(extinction.y, amount), depth_of(extinction.z, amount)};
}

// Along a part of a ray until extinction * amount + floor * reach comes to `wanted`, which may be infinite.
template <class T>
LG_HD_CALL Passage<T> pass_through(const Medium<T>& m, const Vec3<T>& origin, const Vec3<T>& direction, T length,
                                   T extinction, T wanted) {
  if (!m.is_grid) {
    const T rate = extinction + m.floor, reach = rate > 0 ? wanted / rate : length;
    if (!(reach < length)) return {length, length, length, false};
    return {reach, reach, reach, true};
  }
  Passage<T> p = {length, 0, 0, false};
  const DensityRay<T> ray = {m.volume, origin, direction};
  ray.each_cell(length, [&](T begin, T end) {
    const T amount = ray.integral(begin, end), depth = extinction * amount + m.floor * (end - begin);
    if (!(depth < wanted)) {
      p.distance = ray.find(begin, end, extinction, m.floor, wanted);
      p.amount += ray.integral(begin, p.distance);
      p.reach += p.distance - begin;
      p.collides = true;
      return false;
    }
    wanted -= depth;
    p.amount += amount;
    p.reach += end - begin;
    return true;
  });
  return p;
}

// ---- What media do where light collides with them -----------------------------------------------------------

// What a grid multiplies the albedo with.
template <class T>
LG_HD Vec3<T> albedo_factor(const Medium<T>& m, const Vec3<T>& point) {
  if (!m.is_colored) return {1, 1, 1};
  const T at[3] = {point.x, point.y, point.z};
  const field::Place<T> place = field::locate(m.volume, at);
  T weight[8];
  field::weights_of(place.fraction, weight);
  return {field::interpolate(m.volume, place, weight, 1), field::interpolate(m.volume, place, weight, 2),
          field::interpolate(m.volume, place, weight, 3)};
}

template <class T>
LG_HD Vec3<T> albedo_at(const Medium<T>& m, const Vec3<T>& point) {
  return at_least(m.albedo * albedo_factor(m, point), m.darkest);
}

template <class T>
LG_HD Vec3<T> extinction_at(const Medium<T>& m, const Vec3<T>& point) {
  return at_least(m.is_grid ? density_at(m.volume, point) * m.extinction : m.extinction, m.least);
}

// run(std::true_type) or run(std::false_type): kernels of scenes without media are compiled without them.
template <class Run>
auto with_or_without_media(const lg_lit_scene& scene, Run&& run) {
  return scene.media ? run(std::true_type{}) : run(std::false_type{});
}

template <class T>
Media<T> make_media(const lg_lit_scene& s) {
  return {static_cast<const T*>(s.media),
          static_cast<const T*>(s.medium_places),
          static_cast<const T*>(s.medium_values),
          s.medium_grids,
          s.medium_faces,
          s.medium_count,
          s.medium_value_count,
          s.triangles};
}

}  // namespace lg::light
