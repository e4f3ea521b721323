// A block of lookups side by side, one per lane. The arithmetic of lookups runs over the lanes as vector
// code; only fetching and scattering texels goes lookup by lookup (texture_cpu.cpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "runtime/config.h"
#include "texture/cube.h"
#include "texture/level.h"
#include "texture/mips.h"
#include "texture/planar.h"

namespace lg::texture {

enum Filter : int32_t { filter_nearest, filter_linear, filter_linear_mipmap_nearest, filter_linear_mipmap_linear };

// A GPU has a thread per lookup: there a block is a single lane, which all lives in registers.
#if defined(LG_ONE_LANE)
constexpr int block_lanes = 1, lane_step = 1;
#else
constexpr int block_lanes = 32, lane_step = 16;
#endif

// Everything a call is given besides texels and gradients.
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

// The texels that a lookup mixes at one level, with their weights in the whole lookup.
template <class T>
struct Corners {
  int32_t index[4][block_lanes];  // (low, low), (high, low), (low, high), (high, high); -1: none
  T weight[4][block_lanes];
  T along_u[block_lanes], along_v[block_lanes];  // fractions
  int32_t missing[block_lanes];                  // the corner that no face of the cube has, or -1
};

// Vectors in the frame of a cube's face.
template <class T>
struct FaceLanes {
  T m[block_lanes], a[block_lanes], b[block_lanes];

  LG_HD_LARGE FaceVector<T> get(int i) const { return {m[i], a[i], b[i]}; }
  LG_HD_LARGE void set(int i, const FaceVector<T>& v) {
    m[i] = v.m;
    a[i] = v.a;
    b[i] = v.b;
  }
};

// How many lanes are in use; padded: a multiple of lane_step, the lanes in between repeat the last lookup.
#if defined(LG_ONE_LANE)
struct LaneCounts {
  static constexpr int count = 1, padded = 1;
  LG_HD_LARGE void pad() {}
};
#else
struct LaneCounts {
  int count, padded;
  void pad() { padded = (count + lane_step - 1) / lane_step * lane_step; }
};
#endif

template <class T>
struct Lanes : LaneCounts {
  int64_t block, view;
  int64_t pixel[block_lanes];
  bool in_a_row;  // pixel[i] = pixel[0] + i
  int32_t valid[block_lanes];
  T u[block_lanes], v[block_lanes];
  T s_x[block_lanes], s_y[block_lanes], t_x[block_lanes], t_y[block_lanes];
  T bias[block_lanes];
  int32_t face[block_lanes];
  FaceLanes<T> normal, normal_x, normal_y;  // directions and their derivatives in the frame of the face

  int32_t level[2][block_lanes];  // finer and coarser
  T share[2][block_lanes];        // weight of each level in one tap
  int32_t moves[block_lanes];     // the lookup mixes two levels
  bool any_moves;
  int32_t most_taps;
  T taps[block_lanes], axis_s[block_lanes], axis_t[block_lanes];  // sigma e, see MajorAxis

  T tap_u[block_lanes], tap_v[block_lanes];
  int32_t tap_face[block_lanes];  // of a cube
  Corners<T> corners[2];

  LG_HD_LARGE Footprint<T> footprint(int i) const { return {s_x[i], s_y[i], t_x[i], t_y[i]}; }
};

// How often to go around for the finer level and, where any lane needs it, the coarser one. A single lane goes around a
// constant number of times, and leaves early: loops that can be unrolled keep their arrays in registers.
template <class T>
LG_HD int level_loops(const Lanes<T>& b) {
  return block_lanes == 1 ? 2 : 1 + b.any_moves;
}

// ---- Reading lookups --------------------------------------------------------------------------------------

template <class T>
LG_HD bool is_finite(T x) {
  return std::fabs(x) <= std::numeric_limits<T>::max();
}

// The place of lane i's lookup among all lookups: contiguous lookups are read by vector loads.
struct RowOfPixels {
  int64_t first;
  LG_HD int64_t operator()(int i) const { return first + i; }
};
struct ListOfPixels {
  const int64_t* pixel;
  LG_HD int64_t operator()(int i) const { return pixel[i]; }
};

template <class T, class At>
LG_HD_LARGE void read_planar(const Request<T>& r, At at, Lanes<T>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    b.u[i] = r.coord[2 * at(i)];
    b.v[i] = r.coord[2 * at(i) + 1];
  }
  if (!r.coord_d) return;
  const T width = T(r.width), height = T(r.height);
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const T* d = r.coord_d + 4 * at(i);
    b.s_x[i] = d[0] * width;
    b.s_y[i] = d[1] * width;
    b.t_x[i] = d[2] * height;
    b.t_y[i] = d[3] * height;
  }
}

template <class T, class At>
LG_HD_LARGE void read_cube(const Request<T>& r, At at, Lanes<T>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const T* d = r.coord + 3 * at(i);
    const T nothing = (0 * d[0] + 0 * d[1]) + 0 * d[2];  // NaN where a component is not finite
    b.face[i] = cube_face(d[0], d[1], d[2]);
    const FaceVector<T> n = to_face(b.face[i], d[0], d[1], d[2]);
    b.normal.set(i, n);
    // Where there is no major axis, this makes u invalid.
    b.u[i] = face_coordinate(n.a, n.m) + nothing;
    b.v[i] = face_coordinate(n.b, n.m);
  }
  if (!r.coord_d) return;
  const T size = T(r.width);
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const T* d = r.coord_d + 6 * at(i);
    const FaceVector<T> n = b.normal.get(i);
    const FaceVector<T> x = to_face(b.face[i], d[0], d[2], d[4]), y = to_face(b.face[i], d[1], d[3], d[5]);
    b.normal_x.set(i, x);
    b.normal_y.set(i, y);
    b.s_x[i] = size * face_coordinate_d(n.a, n.m, x.a, x.m);
    b.s_y[i] = size * face_coordinate_d(n.a, n.m, y.a, y.m);
    b.t_x[i] = size * face_coordinate_d(n.b, n.m, x.b, x.m);
    b.t_y[i] = size * face_coordinate_d(n.b, n.m, y.b, y.m);
  }
}

template <class T, class At>
LG_HD_LARGE void read_lookups(const Request<T>& r, At at, Lanes<T>& b) {
  if (r.is_cube()) {
    read_cube(r, at, b);
  } else {
    read_planar(r, at, b);
  }
  for (int i = 0; i < b.padded; ++i) b.bias[i] = r.bias ? r.bias[at(i)] : T(0);
  if (r.coord_d) return;
  for (int i = 0; i < b.padded; ++i) b.s_x[i] = b.s_y[i] = b.t_x[i] = b.t_y[i] = 0;
}

// Marks lookups with a NaN or infinity and makes them harmless.
template <class T>
LG_HD_LARGE void replace_invalid(Lanes<T>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const bool valid = is_finite(b.u[i]) & is_finite(b.v[i]) & is_finite(b.bias[i]) & is_finite(b.s_x[i]) &
                       is_finite(b.s_y[i]) & is_finite(b.t_x[i]) & is_finite(b.t_y[i]);
    b.valid[i] = valid ? 1 : 0;
    b.u[i] = valid ? b.u[i] : T(0);
    b.v[i] = valid ? b.v[i] : T(0);
    b.bias[i] = valid ? b.bias[i] : T(0);
    b.s_x[i] = valid ? b.s_x[i] : T(0);
    b.s_y[i] = valid ? b.s_y[i] : T(0);
    b.t_x[i] = valid ? b.t_x[i] : T(0);
    b.t_y[i] = valid ? b.t_y[i] : T(0);
  }
}

// ---- Choosing levels and taps -----------------------------------------------------------------------------

template <class T>
LG_HD_LARGE void choose_taps(const Request<T>& r, Lanes<T>& b) {
  b.most_taps = 1;
  if (r.anisotropy <= 1) {
    for (int i = 0; i < b.padded; ++i) b.taps[i] = 1;
    return;
  }
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const Footprint<T> j = b.footprint(i);
    const MajorAxis<T> axis = major_axis(j, footprint_extent(j), r.anisotropy);
    b.taps[i] = axis.taps;
    b.axis_s[i] = axis.e_s * axis.length;
    b.axis_t[i] = axis.e_t * axis.length;
  }
  for (int i = 0; i < b.padded; ++i) b.most_taps = std::max(b.most_taps, static_cast<int32_t>(b.taps[i]));
}

template <class T>
LG_HD_LARGE void choose_levels(const Request<T>& r, Lanes<T>& b) {
  const T by_extent = r.coord_d ? T(0.5) : T(0);  // without derivatives the bias is the level
  const int32_t between_levels = r.filter == filter_linear_mipmap_linear ? 1 : 0;
  const int32_t max_level = r.levels - 1;
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const T squared = footprint_extent(b.footprint(i)).squared / (b.taps[i] * b.taps[i]);
    const T level = by_extent * log2_of(squared) + b.bias[i];
    const LevelChoice<T> choice = choose_level(level, max_level, between_levels);
    b.moves[i] = choice.moves;
    b.level[0][i] = choice.base;
    b.level[1][i] = choice.base + choice.moves;
    b.share[0][i] = (1 - choice.fraction) / b.taps[i];
    b.share[1][i] = choice.fraction / b.taps[i];
  }
  int32_t any = 0;
  for (int i = 0; i < b.padded; ++i) any |= b.moves[i];
  b.any_moves = any != 0;
}

// Lookups that all see the base level.
template <class T>
LG_HD_LARGE void choose_base_level(Lanes<T>& b) {
  for (int i = 0; i < b.padded; ++i) {
    b.level[0][i] = b.level[1][i] = b.moves[i] = 0;
    b.share[0][i] = 1 / b.taps[i];
    b.share[1][i] = 0;
  }
  b.any_moves = false;
}

// Reads the lookups pixel[0 .. count) of the block and decides on their levels and taps.
template <class T>
LG_HD_LARGE void prepare(const Request<T>& r, Lanes<T>& b) {
  b.pad();
  for (int i = b.count; i < b.padded; ++i) b.pixel[i] = b.pixel[b.count - 1];
  if (b.in_a_row && b.padded == b.count) {
    read_lookups(r, RowOfPixels{b.pixel[0]}, b);
  } else {
    read_lookups(r, ListOfPixels{b.pixel}, b);
  }
  replace_invalid(b);
  choose_taps(r, b);
  if (r.levels > 1) {
    choose_levels(r, b);
  } else {
    choose_base_level(b);
  }
}

// ---- Placing texels ---------------------------------------------------------------------------------------

template <class T>
LG_HD void set_weights(Corners<T>& c, int i, T share) {
  const T u1 = c.along_u[i], u0 = 1 - u1, v1 = c.along_v[i] * share, v0 = (1 - c.along_v[i]) * share;
  c.weight[0][i] = u0 * v0;
  c.weight[1][i] = u1 * v0;
  c.weight[2][i] = u0 * v1;
  c.weight[3][i] = u1 * v1;
}

template <int wrap, class T>
LG_HD_LARGE void place_planar(const Request<T>& r, int which, Lanes<T>& b) {
  Corners<T>& c = b.corners[which];
  const int32_t height = r.height, width = r.width;
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const int32_t w = level_side(width, b.level[which][i]), h = level_side(height, b.level[which][i]);
    const AxisTaps<T> x = linear_taps<wrap>(b.tap_u[i], w), y = linear_taps<wrap>(b.tap_v[i], h);
    c.along_u[i] = x.fraction;
    c.along_v[i] = y.fraction;
    c.index[0][i] = y.low * w + x.low;
    c.index[1][i] = y.low * w + x.high;
    c.index[2][i] = y.high * w + x.low;
    c.index[3][i] = y.high * w + x.high;
    if (wrap == wrap_zero) {
      c.index[0][i] = (x.low | y.low) < 0 ? -1 : c.index[0][i];
      c.index[1][i] = (x.high | y.low) < 0 ? -1 : c.index[1][i];
      c.index[2][i] = (x.low | y.high) < 0 ? -1 : c.index[2][i];
      c.index[3][i] = (x.high | y.high) < 0 ? -1 : c.index[3][i];
    }
    set_weights(c, i, b.share[which][i]);
  }
}

template <int wrap, class T>
LG_HD_LARGE void place_planar_nearest(const Request<T>& r, Lanes<T>& b) {
  Corners<T>& c = b.corners[0];
  const int32_t height = r.height, width = r.width;
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const int32_t x = nearest_tap<wrap>(b.tap_u[i], width), y = nearest_tap<wrap>(b.tap_v[i], height);
    c.index[0][i] = (x | y) < 0 ? -1 : y * width + x;
    c.weight[0][i] = 1;
  }
}

// Fetching of texels beyond the edges of a face, for the few lookups that need it.
template <class T>
LG_HD_LARGE void place_cube_edge(int32_t face, int32_t x, int32_t y, int32_t size, int i, Corners<T>& c) {
  T spread = 0;
  LG_UNROLL
  for (int k = 0; k < 4; ++k) {
    const int32_t cx = x + (k & 1), cy = y + (k >> 1);
    const bool beyond_corner = ((cx < 0) | (cx >= size)) && ((cy < 0) | (cy >= size));
    if (beyond_corner) {
      // Three faces meet here: this texel does not exist, the mean of the other three stands for it.
      c.missing[i] = k;
      spread = c.weight[k][i] / 3;
      c.weight[k][i] = 0;
      c.index[k][i] = -1;
      continue;
    }
    const CubeTexel texel = cube_texel(face, cx, cy, size);
    c.index[k][i] = (texel.face * size + texel.y) * size + texel.x;
  }
  if (c.missing[i] < 0) return;
  LG_UNROLL
  for (int k = 0; k < 4; ++k) c.weight[k][i] += k == c.missing[i] ? T(0) : spread;
}

template <class T>
LG_HD_LARGE void place_cube(const Request<T>& r, int which, Lanes<T>& b) {
  Corners<T>& c = b.corners[which];
  int32_t low_x[block_lanes], low_y[block_lanes], at_edge[block_lanes];
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const int32_t size = level_side(r.width, b.level[which][i]);
    const T s = b.tap_u[i] * T(size) - T(0.5), t = b.tap_v[i] * T(size) - T(0.5);
    const int32_t x = whole_part(s), y = whole_part(t), first = (b.tap_face[i] * size + y) * size + x;
    low_x[i] = x;
    low_y[i] = y;
    at_edge[i] = (x < 0) | (y < 0) | (x + 1 >= size) | (y + 1 >= size);
    c.along_u[i] = s - T(x);
    c.along_v[i] = t - T(y);
    c.index[0][i] = first;
    c.index[1][i] = first + 1;
    c.index[2][i] = first + size;
    c.index[3][i] = first + size + 1;
    c.missing[i] = -1;
    set_weights(c, i, b.share[which][i]);
  }
  for (int i = 0; i < b.count; ++i) {
    if (at_edge[i]) place_cube_edge(b.tap_face[i], low_x[i], low_y[i], level_side(r.width, b.level[which][i]), i, c);
  }
}

template <class T>
LG_HD_LARGE void place_cube_nearest(const Request<T>& r, Lanes<T>& b) {
  Corners<T>& c = b.corners[0];
  const int32_t size = r.width;
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const int32_t x = nearest_tap<wrap_clamp>(b.tap_u[i], size), y = nearest_tap<wrap_clamp>(b.tap_v[i], size);
    c.index[0][i] = (b.tap_face[i] * size + y) * size + x;
    c.weight[0][i] = 1;
  }
}

// Takes taps that have left their face to the face which they have come to.
template <class T>
LG_HD_LARGE void turn_over_edges(Lanes<T>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const FacePoint<T> point = onto_cube(b.face[i], b.tap_u[i], b.tap_v[i]);
    b.tap_face[i] = point.face;
    b.tap_u[i] = point.u;
    b.tap_v[i] = point.v;
  }
}

// The positions of tap `tap`. Lanes with fewer taps get a position that nobody uses.
template <class T>
LG_HD_LARGE void move_to_tap(const Request<T>& r, int32_t tap, Lanes<T>& b) {
  if (b.most_taps == 1) {
    for (int i = 0; i < b.padded; ++i) b.tap_u[i] = b.u[i];
    for (int i = 0; i < b.padded; ++i) b.tap_v[i] = b.v[i];
    for (int i = 0; r.is_cube() && i < b.padded; ++i) b.tap_face[i] = b.face[i];
    return;
  }
  const T width = T(r.width), height = T(r.height);
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const bool used = T(tap) < b.taps[i];
    const T along = used ? tap_position(tap, b.taps[i]) : T(0);
    b.tap_u[i] = b.u[i] + along * b.axis_s[i] / width;
    b.tap_v[i] = b.v[i] + along * b.axis_t[i] / height;
  }
  if (r.is_cube()) turn_over_edges(b);
}

// Finds the texels of tap `tap` and their weights, for the finer level and, where any lane needs it, the
// coarser one.
template <class T>
LG_HD_LARGE void place(const Request<T>& r, int32_t tap, Lanes<T>& b) {
  move_to_tap(r, tap, b);
  if (r.filter == filter_nearest) {
    switch (r.wrap) {
      case wrap_repeat:
        return place_planar_nearest<wrap_repeat>(r, b);
      case wrap_clamp:
        return place_planar_nearest<wrap_clamp>(r, b);
      case wrap_mirror:
        return place_planar_nearest<wrap_mirror>(r, b);
      case wrap_zero:
        return place_planar_nearest<wrap_zero>(r, b);
      default:
        return place_cube_nearest(r, b);
    }
  }
  LG_UNROLL
  for (int which = 0; which < level_loops(b); ++which) {
    if (block_lanes == 1 && which > b.any_moves) break;
    switch (r.wrap) {
      case wrap_repeat:
        place_planar<wrap_repeat>(r, which, b);
        break;
      case wrap_clamp:
        place_planar<wrap_clamp>(r, which, b);
        break;
      case wrap_mirror:
        place_planar<wrap_mirror>(r, which, b);
        break;
      case wrap_zero:
        place_planar<wrap_zero>(r, which, b);
        break;
      default:
        place_cube(r, which, b);
    }
  }
}

}  // namespace lg::texture
