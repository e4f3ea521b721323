// Lookups of sixteen paths at a time on the CPU. Where texels lie is computed in loops that compilers vectorise, by the
// functions that serve a lookup alone; texels are fetched one after the other.
#pragma once

#include <cstdint>

#include "light/environment.h"
#include "light/lanes_cpu.h"
#include "light/lookup.h"

namespace lg::light {

// What textures have at a point in each lane.
template <class T>
class TextureLookups {
 public:
  bool any() const { return used_ != 0; }
  // Which have one, as bits.
  uint32_t lanes() const { return used_; }
  // column: of the texture's number; see texture_taps().
  void set(int l, const Scene<T>& scene, const SurfacePoint<T>& p, int column) {
    const int32_t texture = scene.kind_of(p.face)[column];
    const bool second = uses_second_uv(scene, p, column), has = scene.textures.has(texture);
    texture_[l] = has ? texture : -1;
    used_ |= static_cast<uint32_t>(has) << l;
    u_[l] = second ? p.second_u : p.u;
    v_[l] = second ? p.second_v : p.v;
  }

  // 1 where there is no texture.
  Vec3<Lanes<T, path_lanes>> factors(const Textures<T>& textures) const {
    LaneRows3<T> out;
    int32_t width[path_lanes], height[path_lanes];
    const T* first[path_lanes];
    for (int l = 0; l < path_lanes; ++l) {
      const bool has = (used_ >> l & 1) != 0;
      const int64_t* place = textures.table + (has ? 3 * int64_t{texture_[l]} : 0);
      height[l] = has ? static_cast<int32_t>(place[1]) : 1;
      width[l] = has ? static_cast<int32_t>(place[2]) : 1;
      first[l] = textures.texels + (has ? 3 * place[0] : 0);
    }
    int32_t index[4][path_lanes];
    T weight[4][path_lanes];
    LG_VECTORIZE
    for (int l = 0; l < path_lanes; ++l) {
      const auto x = Textures<T>::taps_along(u_[l], width[l]), y = Textures<T>::taps_along(v_[l], height[l]);
      index[0][l] = y.low * width[l] + x.low, index[1][l] = y.low * width[l] + x.high;
      index[2][l] = y.high * width[l] + x.low, index[3][l] = y.high * width[l] + x.high;
      T weights[4];
      Textures<T>::set_weights(x.fraction, y.fraction, weights);
      for (int k = 0; k < 4; ++k) weight[k][l] = weights[k];
    }
    for (int l = 0; l < path_lanes; ++l) {
      Vec3<T> sum = {1, 1, 1};
      if (used_ >> l & 1) {
        Taps<T> taps;
        for (int k = 0; k < 4; ++k) taps.texel[k] = index[k][l], taps.weight[k] = weight[k][l];
        sum = combine(first[l], taps);
      }
      out.set(l, sum);
    }
    return out.lanes();
  }

 private:
  int32_t texture_[path_lanes];
  uint32_t used_ = 0;
  T u_[path_lanes], v_[path_lanes];
};

// Places on the faces of a cube map.
template <class T>
struct CubePlaces {
  int32_t face[path_lanes];
  T u[path_lanes], v[path_lanes];

  LG_INLINE texture::FacePoint<T> operator[](int l) const { return {face[l], u[l], v[l]}; }
  LG_INLINE void set(int l, const texture::FacePoint<T>& point) {
    face[l] = point.face;
    u[l] = point.u;
    v[l] = point.v;
  }
};

template <class T>
CubePlaces<T> places_on_cube(const Environment<T>& around, const LaneRows3<T>& towards) {
  CubePlaces<T> places;
  LG_VECTORIZE
  for (int l = 0; l < path_lanes; ++l) places.set(l, on_cube(around.inward(towards[l])));
  return places;
}

// An environment whose texels are all the same need not be looked up.
template <class T>
bool is_uniform(const Environment<T>& around) {
  if (!around.exists() || around.side != 1) return false;
  for (int k = 3; k < 18; ++k) {
    if (!(around.texels[k] == around.texels[k % 3])) return false;
  }
  return true;
}

template <class T>
void look_around(const Environment<T>& around, const CubePlaces<T>& places, LaneRows3<T>* radiance) {
  texture::Corners<T, path_lanes> corners;
  set_cube_corners(around.side, [&](int l) LG_INLINE_LAMBDA { return places[l]; }, &corners);
  for (int l = 0; l < path_lanes; ++l) radiance->set(l, combine(around.texels, taps_of(corners, l)));
}

// Of drawing these places, per solid angle. row(l), column(l): of their texels.
template <class T, class Row, class Column>
void densities_around(const Environment<T>& around, const CubePlaces<T>& places, Row&& row, Column&& column,
                      LaneRow<T>* pdf) {
  T chance[path_lanes];
  for (int l = 0; l < path_lanes; ++l) chance[l] = around.probability(row(l), column(l));
  LG_VECTORIZE
  for (int l = 0; l < path_lanes; ++l) (*pdf)[l] = chance[l] * around.per_solid_angle(places[l]);
}
template <class T>
void densities_around(const Environment<T>& around, const CubePlaces<T>& places, LaneRow<T>* pdf) {
  int32_t row[path_lanes], column[path_lanes];
  LG_VECTORIZE
  for (int l = 0; l < path_lanes; ++l) {
    row[l] = places.face[l] * around.side + around.cell(places.v[l]);
    column[l] = around.cell(places.u[l]);
  }
  densities_around(around, places, [&](int l) { return row[l]; }, [&](int l) { return column[l]; }, pdf);
}

// Directions that are drawn within rows of texels.
template <class T>
void draw_around(const Environment<T>& around, const int64_t (&row)[path_lanes], const LanePairs<T>& choice,
                 const LanePairs<T>& place, LaneRows3<T>* towards, LaneRow<T>* pdf) {
  int32_t face[path_lanes], in_face[path_lanes], column[path_lanes];
  for (int l = 0; l < path_lanes; ++l) {
    const auto number = static_cast<int32_t>(row[l]);
    column[l] = static_cast<int32_t>(around.sample_column(row[l], choice[l]));
    face[l] = number / around.side;
    in_face[l] = number % around.side;
  }
  CubePlaces<T> places;
  LG_VECTORIZE
  for (int l = 0; l < path_lanes; ++l) {
    places.set(l, around.within_texel(face[l], in_face[l], column[l], place[l]));
    towards->set(l, around.direction_to(places[l]));
  }
  densities_around(around, places, [&](int l) { return row[l]; }, [&](int l) { return column[l]; }, pdf);
}

}  // namespace lg::light
