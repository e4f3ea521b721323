// Dual numbers: a value and its derivatives with respect to N variables. A formula written once for any number type
// thus also gives its gradient. Terms that do not depend on the variables may stay of type T; comparisons compare
// values.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg {

template <class T, int N>
struct Dual;
template <class T, int N>
LG_HD Dual<T, N> chained(T value, T by, const Dual<T, N>& a);

template <class T, int N>
struct Dual {
  T value;
  T slope[N];

  Dual() = default;
  LG_HD Dual(T constant) : value(constant) {
    for (int i = 0; i < N; ++i) slope[i] = 0;
  }
  // Variable number i.
  LG_HD Dual(T of, int i) : Dual(of) { slope[i] = 1; }

  friend LG_HD bool operator<(const Dual& a, const Dual& b) { return a.value < b.value; }
  friend LG_HD bool operator>(const Dual& a, const Dual& b) { return a.value > b.value; }
  friend LG_HD bool operator<=(const Dual& a, const Dual& b) { return a.value <= b.value; }
  friend LG_HD bool operator>=(const Dual& a, const Dual& b) { return a.value >= b.value; }
  friend LG_HD bool operator==(const Dual& a, const Dual& b) { return a.value == b.value; }
  friend LG_HD bool operator!=(const Dual& a, const Dual& b) { return a.value != b.value; }
  // With constants.
  friend LG_HD Dual operator+(const Dual& a, T b) { return chained(a.value + b, T(1), a); }
  friend LG_HD Dual operator+(T a, const Dual& b) { return b + a; }
  friend LG_HD Dual operator-(const Dual& a, T b) { return chained(a.value - b, T(1), a); }
  friend LG_HD Dual operator-(T a, const Dual& b) { return chained(a - b.value, T(-1), b); }
  friend LG_HD Dual operator*(const Dual& a, T b) { return chained(a.value * b, b, a); }
  friend LG_HD Dual operator*(T a, const Dual& b) { return b * a; }
  friend LG_HD Dual operator/(const Dual& a, T b) { return chained(a.value / b, 1 / b, a); }
  friend LG_HD Dual operator/(T a, const Dual& b) { return chained(a / b.value, -a / (b.value * b.value), b); }
};

// A function of a, given its value and its derivative `by` there.
template <class T, int N>
LG_HD Dual<T, N> chained(T value, T by, const Dual<T, N>& a) {
  Dual<T, N> out;
  out.value = value;
  for (int i = 0; i < N; ++i) out.slope[i] = by * a.slope[i];
  return out;
}
template <class T, int N>
LG_HD Dual<T, N> chained(T value, T by_a, const Dual<T, N>& a, T by_b, const Dual<T, N>& b) {
  Dual<T, N> out;
  out.value = value;
  for (int i = 0; i < N; ++i) out.slope[i] = by_a * a.slope[i] + by_b * b.slope[i];
  return out;
}

template <class T, int N>
LG_HD Dual<T, N> operator+(const Dual<T, N>& a, const Dual<T, N>& b) {
  return chained(a.value + b.value, T(1), a, T(1), b);
}
template <class T, int N>
LG_HD Dual<T, N> operator-(const Dual<T, N>& a, const Dual<T, N>& b) {
  return chained(a.value - b.value, T(1), a, T(-1), b);
}
template <class T, int N>
LG_HD Dual<T, N> operator*(const Dual<T, N>& a, const Dual<T, N>& b) {
  return chained(a.value * b.value, b.value, a, a.value, b);
}
template <class T, int N>
LG_HD Dual<T, N> operator/(const Dual<T, N>& a, const Dual<T, N>& b) {
  const T share = a.value / b.value;
  return chained(share, 1 / b.value, a, -share / b.value, b);
}
template <class T, int N>
LG_HD Dual<T, N> operator-(const Dual<T, N>& a) {
  return chained(-a.value, T(-1), a);
}

template <class T, int N>
struct ValueType<Dual<T, N>> {
  using Mask = bool;
  using Index = int32_t;
  using Scalar = T;
};
template <class T, int N>
LG_HD Dual<T, N> select(bool m, const Dual<T, N>& yes, const Dual<T, N>& no) {
  return m ? yes : no;
}

template <class T>
LG_HD T value_of(T a) {
  return a;
}
template <class T, int N>
LG_HD T value_of(const Dual<T, N>& a) {
  return a.value;
}

// Where the root is zero, its derivative counts as zero.
template <class T>
LG_HD T square_root(T a) {
  return select(T(0) < a, root(a), T(0));
}
template <class T, int N>
LG_HD Dual<T, N> square_root(const Dual<T, N>& a) {
  const T root = square_root(a.value);
  return chained(root, root > 0 ? T(0.5) / root : T(0), a);
}

// Clamped to [low, high]; outside, the derivative is zero.
template <class T>
LG_HD T clamped(T a, T low, T high) {
  return select(a < low, low, select(high < a, high, a));
}
template <class T, int N>
LG_HD Dual<T, N> clamped(const Dual<T, N>& a, T low, T high) {
  return a.value < low ? Dual<T, N>(low) : a.value > high ? Dual<T, N>(high) : a;
}

template <class T>
LG_HD T absolute(T a) {
  return std::fabs(a);
}
template <class T, int N>
LG_HD Dual<T, N> absolute(const Dual<T, N>& a) {
  return a.value < 0 ? -a : a;
}

}  // namespace lg
