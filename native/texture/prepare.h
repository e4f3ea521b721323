// Reads a block's lookups and chooses their levels and taps.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "runtime/config.h"
#include "texture/cube.h"
#include "texture/level.h"
#include "texture/lookups.h"

namespace lg::texture {

// ---- Reading lookups --------------------------------------------------------------------------------------

// 1 or 0: several of them are combined without branches.
template <class T>
LG_HD int32_t is_finite(T x) {
  return std::fabs(x) <= std::numeric_limits<T>::max() ? 1 : 0;
}

// The index of lane i's lookup among all lookups. Contiguous lookups are read by vector loads.
struct RowOfPixels {
  int64_t first;
  LG_HD int64_t operator()(int i) const { return first + i; }
};
struct ListOfPixels {
  const int64_t* pixel;
  LG_HD int64_t operator()(int i) const { return pixel[i]; }
};

template <class T, int N, class At>
LG_HD_LARGE void read_planar(const Request<T>& r, At at, Lookups<T, N>& b) {
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

template <class T, int N, class At>
LG_HD_LARGE void read_cube(const Request<T>& r, At at, Lookups<T, N>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    const T* d = r.coord + 3 * at(i);
    const T nothing = (0 * d[0] + 0 * d[1]) + 0 * d[2];  // NaN if a component is not finite
    b.face[i] = cube_face(d[0], d[1], d[2]);
    const FaceVector<T> n = to_face(b.face[i], d[0], d[1], d[2]);
    b.normal.set(i, n);
    // u becomes invalid if the direction has no major axis.
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

template <class T, int N, class At>
LG_HD_LARGE void read_lookups(const Request<T>& r, At at, Lookups<T, N>& b) {
  if (r.is_cube()) {
    read_cube(r, at, b);
  } else {
    read_planar(r, at, b);
  }
  for (int i = 0; i < b.padded; ++i) b.bias[i] = r.bias ? r.bias[at(i)] : T(0);
  if (r.coord_d) return;
  for (int i = 0; i < b.padded; ++i) b.s_x[i] = b.s_y[i] = b.t_x[i] = b.t_y[i] = 0;
}

// Marks lookups that contain a NaN or infinity as invalid and replaces their values by zeros.
template <class T, int N>
LG_HD_LARGE void replace_invalid(Lookups<T, N>& b) {
  LG_VECTORIZE
  for (int i = 0; i < b.padded; ++i) {
    b.valid[i] = is_finite(b.u[i]) & is_finite(b.v[i]) & is_finite(b.bias[i]) & is_finite(b.s_x[i]) &
                 is_finite(b.s_y[i]) & is_finite(b.t_x[i]) & is_finite(b.t_y[i]);
    const bool valid = b.valid[i] != 0;
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

template <class T, int N>
LG_HD_LARGE void choose_taps(const Request<T>& r, Lookups<T, N>& b) {
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

template <class T, int N>
LG_HD_LARGE void choose_levels(const Request<T>& r, Lookups<T, N>& b) {
  const T by_extent = r.coord_d ? T(0.5) : T(0);  // without derivatives, the level is the bias
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

// For textures of a single level.
template <class T, int N>
LG_HD_LARGE void choose_base_level(Lookups<T, N>& b) {
  for (int i = 0; i < b.padded; ++i) {
    b.level[0][i] = b.level[1][i] = b.moves[i] = 0;
    b.share[0][i] = 1 / b.taps[i];
    b.share[1][i] = 0;
  }
  b.any_moves = false;
}

// Reads the lookups pixel[0 .. count) of the block and chooses their levels and taps.
template <class T, int N>
LG_HD_LARGE void prepare(const Request<T>& r, Lookups<T, N>& b) {
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

}  // namespace lg::texture
