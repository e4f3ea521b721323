// Cube maps: the face that a direction hits and the position on it, and the texels beyond the edges of a face.
//
// Faces and orientations are OpenGL's (specification 4.6, table 8.19), order +x -x +y -y +z -z. A face is
// described by its frame: the axis it lies on and the two axes (with signs) along which u and v grow.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/config.h"
#include "texture/level.h"

namespace lg::texture {

struct FaceFrame {
  int32_t major, u, v;  // axes: 0 x, 1 y, 2 z
  int32_t major_sign, u_sign, v_sign;
};

LG_HD FaceFrame face_frame(int32_t face) {
  const int32_t major = face >> 1, sign = 1 - 2 * (face & 1);
  if (major == 0) return {0, 2, 1, sign, -sign, -1};
  if (major == 1) return {1, 0, 2, sign, 1, sign};
  return {2, 0, 1, sign, sign, -1};
}

// z is the major axis where |z| > max(|x|, |y|), then y where |y| > |x|, else x.
template <class T>
LG_HD int32_t cube_face(T x, T y, T z) {
  const T ax = std::fabs(x), ay = std::fabs(y), az = std::fabs(z);
  const bool z_major = (az > ax) & (az > ay), y_major = ay > ax;
  const int32_t axis = z_major ? 2 : y_major ? 1 : 0;
  const T along = z_major ? z : y_major ? y : x;
  return 2 * axis + static_cast<int32_t>(along < 0);
}

// The components of a vector in the frame of a face: m along the face's normal, a and b along u and v.
template <class T>
struct FaceVector {
  T m, a, b;
};

template <class T>
LG_HD FaceVector<T> to_face(int32_t face, T x, T y, T z) {
  const int32_t axis = face >> 1;
  const T sign = T(1 - 2 * (face & 1));
  const T m = axis == 0 ? x : axis == 1 ? y : z;
  const T a = axis == 0 ? -sign * z : axis == 1 ? x : sign * x;
  const T b = axis == 1 ? sign * z : -y;
  return {sign * m, a, b};
}

// The transpose of to_face.
template <class T>
LG_HD void from_face(int32_t face, const FaceVector<T>& v, T* out) {
  const int32_t axis = face >> 1;
  const T sign = T(1 - 2 * (face & 1)), m = sign * v.m;
  out[0] = axis == 0 ? m : axis == 1 ? v.a : sign * v.a;
  out[1] = axis == 1 ? m : -v.b;
  out[2] = axis == 0 ? -sign * v.a : axis == 1 ? sign * v.b : m;
}

// u = (a / m + 1) / 2 and its derivative with respect to a pixel step that changes a and m by a_d and m_d.
template <class T>
LG_HD T face_coordinate(T a, T m) {
  return T(0.5) * (a / m + 1);
}
template <class T>
LG_HD T face_coordinate_d(T a, T m, T a_d, T m_d) {
  return T(0.5) * ((a_d - (a / m) * m_d) / m);
}

// A point of the cube: coordinates within a face.
template <class T>
struct FacePoint {
  int32_t face;
  T u, v;
};

// The point seen through (u, v) on a face's plane. For coordinates beyond [0, 1], it lies on another face.
template <class T>
LG_HD FacePoint<T> onto_cube(int32_t face, T u, T v) {
  const bool within = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1);
  T towards[3];
  from_face(face, FaceVector<T>{1, 2 * u - 1, 2 * v - 1}, towards);
  const int32_t met = cube_face(towards[0], towards[1], towards[2]);
  const FaceVector<T> n = to_face(met, towards[0], towards[1], towards[2]);
  return {within ? face : met, within ? u : face_coordinate(n.a, n.m), within ? v : face_coordinate(n.b, n.m)};
}

// The gradient (*g_u, *g_v) of a point on the cube, as a gradient of coordinates on the plane of `face` through which
// the point is seen. A vector keeps its length between both frames; `scale` is 1 / (its component along the point's
// normal).
template <class T>
LG_HD void gradient_in_plane(int32_t face, const FacePoint<T>& point, T* g_u, T* g_v) {
  const T p = 2 * point.u - 1, q = 2 * point.v - 1;
  T world[3];
  from_face(point.face, FaceVector<T>{1, p, q}, world);
  const T scale = to_face(face, world[0], world[1], world[2]).m;
  from_face(point.face, FaceVector<T>{-(*g_u * p + *g_v * q), *g_u, *g_v}, world);
  const FaceVector<T> gradient = to_face(face, world[0], world[1], world[2]);
  *g_u = scale * gradient.a;
  *g_v = scale * gradient.b;
}

struct CubeTexel {
  int32_t face, x, y;
};

// The texel at (x, y) of a face, where x or y (not both) may lie one texel outside: it is then the adjacent texel on
// the neighbouring face. In units of half a texel, the centres of a face's texels have odd or even coordinates on a
// cube of half side `size`; a step over an edge becomes a step down the neighbouring face.
LG_HD CubeTexel cube_texel(int32_t face, int32_t x, int32_t y, int32_t size) {
  const bool outside_x = (x < 0) | (x >= size), outside_y = (y < 0) | (y >= size);
  if (!outside_x && !outside_y) return {face, x, y};
  const FaceFrame frame = face_frame(face);
  int32_t p[3];
  p[frame.major] = frame.major_sign * (size - 1);
  p[frame.u] = frame.u_sign * (2 * x + 1 - size);
  p[frame.v] = frame.v_sign * (2 * y + 1 - size);
  const int32_t axis = outside_x ? frame.u : frame.v;
  const int32_t adjacent = 2 * axis + (p[axis] < 0);
  const FaceFrame to = face_frame(adjacent);
  return {adjacent, (to.u_sign * p[to.u] + size - 1) >> 1, (to.v_sign * p[to.v] + size - 1) >> 1};
}

}  // namespace lg::texture
