// Four values side by side, as one vector register where the compiler knows such things: the four planes of a
// triangle, their gradients.
#pragma once

#include <cstring>

#include "runtime/config.h"

namespace lg {

#if defined(__GNUC__) || defined(__clang__)

template <class T>
struct QuadType {
  typedef T type __attribute__((vector_size(4 * sizeof(T))));
};
template <class T>
using Quad = typename QuadType<T>::type;

template <class T>
LG_HD Quad<T> make_quad(T a, T b, T c, T d) {
  return Quad<T>{a, b, c, d};
}

#else

template <class T>
struct Quad {
  T v[4];
};
template <class T>
Quad<T> make_quad(T a, T b, T c, T d) {
  return {{a, b, c, d}};
}
template <class T>
Quad<T> operator+(const Quad<T>& a, const Quad<T>& b) {
  return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
}
template <class T>
Quad<T> operator-(const Quad<T>& a, const Quad<T>& b) {
  return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}};
}
template <class T>
Quad<T> operator*(const Quad<T>& a, const Quad<T>& b) {
  return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}};
}
template <class T>
Quad<T> operator*(const Quad<T>& a, T b) {
  return {{a.v[0] * b, a.v[1] * b, a.v[2] * b, a.v[3] * b}};
}

#endif

template <class T>
LG_HD Quad<T> load_quad(const T* from) {
  Quad<T> out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

template <class T>
LG_HD void store_quad(T* to, const Quad<T>& value) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace lg
