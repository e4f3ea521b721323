// Blocks of lookups, one lookup per lane. The arithmetic is written once, as loops over the lanes of a block. On the
// CPU, these loops are vectorised; on CUDA, a block is a single lane, kept in registers. Only texels are fetched and
// scattered one lookup at a time.
//
// The steps: prepare() in prepare.h reads a block's lookups and chooses their levels and taps; place() in place.h finds
// the texels of one tap. pull_back.h computes gradients.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel/image_size.h"
#include "runtime/config.h"
#include "texture/cube.h"
#include "texture/level.h"
#include "texture/mips.h"
#include "texture/planar.h"

namespace lg::texture {

enum Filter : int32_t { filter_nearest, filter_linear, filter_linear_mipmap_nearest, filter_linear_mipmap_linear };

// The arguments of a call, except texels and gradients.
template <class T>
struct Request {
  const T* coord;    // [pixels, 2], or directions [pixels, 3] for a cube
  const T* coord_d;  // [pixels, 2 or 3, 2] or null
  const T* bias;     // [pixels] or null
  int32_t height, width, channels, levels;
  int32_t filter, wrap, anisotropy;

  LG_HD_LARGE bool is_cube() const { return wrap == wrap_cube; }
  LG_HD_LARGE int64_t texels(int32_t level) const {
    return (is_cube() ? 6 : 1) * int64_t{level_side(height, level)} * level_side(width, level);
  }
};

// A texture and its lookups.
template <class T>
struct TextureCall {
  Request<T> request;
  Levels<const T*> levels;  // each [texture_views, texels, channels]
  int64_t texture_views;
  ImageSize image;  // of lookups

  // The offset of a view's texels at a level, in values.
  LG_HD int64_t view_offset(int64_t view, int32_t level) const {
    return texture_views > 1 ? view * request.texels(level) * request.channels : 0;
  }
};

inline LevelSize texture_size(int64_t texture_views, int64_t height, int64_t width, int64_t channels, int32_t wrap) {
  return {(wrap == wrap_cube ? 6 : 1) * texture_views, height, width, channels};
}

// The number of levels: the base, and `mip_count` given or `built` computed ones. 0 if these numbers are invalid.
inline int32_t level_count(int64_t mip_count, int64_t built) {
  const int64_t count = 1 + std::max(mip_count, built);
  return mip_count < 0 || built < 0 || count > max_levels ? 0 : static_cast<int32_t>(count);
}

template <class T>
TextureCall<T> make_texture_call(const Levels<const T*>& levels, int32_t count, int64_t texture_views,
                                 const LevelSize& size, const void* coord, const void* coord_d, const void* bias,
                                 int64_t views, int64_t rows, int64_t columns, int32_t filter, int32_t wrap,
                                 int32_t anisotropy) {
  return {{static_cast<const T*>(coord), static_cast<const T*>(coord_d), static_cast<const T*>(bias),
           static_cast<int32_t>(size.height), static_cast<int32_t>(size.width), static_cast<int32_t>(size.channels),
           count, filter, wrap, anisotropy},
          levels,
          texture_views,
          {views, rows, columns}};
}

// ---- Blocks ------------------------------------------------------------------------------------------------

// The texels that a lookup combines at one level, and their weights in the whole lookup.
template <class T, int N>
struct Corners {
  int32_t index[4][N];  // (low, low), (high, low), (low, high), (high, high); -1: none
  T weight[4][N];
  T along_u[N], along_v[N];  // fractions
  int32_t missing[N];        // the corner that is on no face of the cube, or -1
};

// Vectors in the frame of a cube's face.
template <class T, int N>
struct FaceVectors {
  T m[N], a[N], b[N];

  LG_HD_LARGE FaceVector<T> get(int i) const { return {m[i], a[i], b[i]}; }
  LG_HD_LARGE void set(int i, const FaceVector<T>& v) {
    m[i] = v.m;
    a[i] = v.a;
    b[i] = v.b;
  }
};

// The number of lanes in use. `padded` rounds it up to whole registers, whose extra lanes repeat the last lookup.
template <int N>
struct LaneCounts {
  static constexpr int step = 16;
  static_assert(N % step == 0, "whole registers");
  int count, padded;
  void pad() { padded = (count + step - 1) / step * step; }
};
template <>
struct LaneCounts<1> {
  static constexpr int count = 1, padded = 1;
  LG_HD_LARGE void pad() {}
};

template <class T, int N>
struct Lookups : LaneCounts<N> {
  int64_t block, view;
  int64_t pixel[N];
  bool in_a_row;  // pixel[i] = pixel[0] + i
  int32_t valid[N];
  T u[N], v[N];
  T s_x[N], s_y[N], t_x[N], t_y[N];
  T bias[N];
  int32_t face[N];
  FaceVectors<T, N> normal, normal_x, normal_y;  // directions and their derivatives in the frame of the face

  int32_t level[2][N];  // finer and coarser
  T share[2][N];        // weight of each level in one tap
  int32_t moves[N];     // the lookup combines two levels
  bool any_moves;
  int32_t most_taps;
  T taps[N], axis_s[N], axis_t[N];  // sigma e, see MajorAxis

  T tap_u[N], tap_v[N];
  int32_t tap_face[N];  // of a cube
  Corners<T, N> corners[2];

  LG_HD_LARGE Footprint<T> footprint(int i) const { return {s_x[i], s_y[i], t_x[i], t_y[i]}; }
};

// The number of iterations of a loop over levels: the finer one and, where any lane needs it, the coarser one. For a
// single lane this number is constant, and the loop exits early: loops that can be unrolled keep their arrays in
// registers.
template <class T, int N>
LG_HD int level_loops(const Lookups<T, N>& b) {
  return N == 1 ? 2 : 1 + b.any_moves;
}

}  // namespace lg::texture
