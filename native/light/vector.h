// Vectors of three, and frames around a normal.
#pragma once

#include <cmath>

#include "math/dual.h"
#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::light {

constexpr double pi = 3.14159265358979323846;

template <class T>
struct Vec3 {
  T x, y, z;
};

template <class T>
LG_HD Vec3<T> operator+(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class T>
LG_HD Vec3<T> operator-(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <class T>
LG_HD Vec3<T> operator-(const Vec3<T>& a) {
  return {-a.x, -a.y, -a.z};
}
template <class T>
LG_HD Vec3<T> operator*(const T& s, const Vec3<T>& a) {
  return {s * a.x, s * a.y, s * a.z};
}
template <class T>
LG_HD Vec3<T> operator*(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x * b.x, a.y * b.y, a.z * b.z};
}
template <class T>
LG_HD T dot(const Vec3<T>& a, const Vec3<T>& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <class T>
LG_HD Vec3<T> cross(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <class T>
LG_HD T length(const Vec3<T>& a) {
  return root(dot(a, a));
}
// yes where the mask is set, else no.
using lg::select;
template <class T>
LG_HD Vec3<T> select(const MaskOf<T>& m, const Vec3<T>& yes, const Vec3<T>& no) {
  return {select(m, yes.x, no.x), select(m, yes.y, no.y), select(m, yes.z, no.z)};
}
// A vector of no length stays as it is.
template <class T>
LG_HD Vec3<T> unit(const Vec3<T>& a) {
  const T squared = dot(a, a);
  return select(T(0) < squared, 1 / square_root(squared), T(1)) * a;
}
// The gradient by a of what has the gradient `given` by unit(a).
template <class T>
LG_HD Vec3<T> pull_unit(const Vec3<T>& a, const Vec3<T>& given) {
  const T squared = dot(a, a);
  if (!(squared > 0)) return given;
  return (1 / std::sqrt(squared)) * (given - (dot(a, given) / squared) * a);
}
template <class T>
LG_HD T largest(const Vec3<T>& a) {
  return maximum(maximum(a.x, a.y), a.z);
}
template <class T>
LG_HD T mean(const Vec3<T>& a) {
  return (a.x + a.y + a.z) * T(1.0 / 3);
}
template <class T>
LG_HD T& part(Vec3<T>& a, int i) {
  return i == 0 ? a.x : i == 1 ? a.y : a.z;
}
template <class T>
LG_HD T part(const Vec3<T>& a, int i) {
  return i == 0 ? a.x : i == 1 ? a.y : a.z;
}
template <class T>
LG_HD Vec3<T> load3(const T* from) {
  return {from[0], from[1], from[2]};
}
template <class T>
LG_HD void store3(const Vec3<T>& a, T* to) {
  to[0] = a.x;
  to[1] = a.y;
  to[2] = a.z;
}

// An orthonormal frame whose z axis is a unit normal (Duff et al. 2017).
template <class T>
struct Frame {
  Vec3<T> x, y, z;

  LG_HD Vec3<T> to_local(const Vec3<T>& v) const { return {dot(v, x), dot(v, y), dot(v, z)}; }
  LG_HD Vec3<T> to_world(const Vec3<T>& v) const { return v.x * x + v.y * y + v.z * z; }
};
template <class T>
LG_HD Frame<T> frame_around(const Vec3<T>& n) {
  const T sign = select(n.z < T(0), T(-1), T(1)), a = -1 / (sign + n.z), b = n.x * n.y * a;
  return {{1 + sign * n.x * n.x * a, sign * b, -sign * n.x}, {b, sign + n.y * n.y * a, -n.y}, n};
}

}  // namespace lg::light
