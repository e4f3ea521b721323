// Exact intersection of rays with a grid of values: in a cell, a trilinear function along a ray is a cubic polynomial.
//
// A ray visits its cells one after the other. The extrema of the cubic divide the ray's part in a cell into pieces on
// which it rises or falls. A piece that falls through zero has one root, which Newton's method finds within bounds. The
// outermost half voxel repeats the values at the border: cells reach from -1 to the grid's size.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "runtime/config.h"

namespace lg::implicit {

template <class T>
struct Cubic {
  T c[4];

  LG_HD T operator()(T s) const { return c[0] + s * (c[1] + s * (c[2] + s * c[3])); }
  LG_HD T slope(T s) const { return c[1] + s * (2 * c[2] + s * 3 * c[3]); }

  // The extrema in (0, 1), in ascending order; returns their number.
  LG_HD int extrema(T (&at)[2]) const {
    const T square = c[2] * c[2] - 3 * c[3] * c[1];
    if (!(square > 0)) return 0;
    const T root = std::sqrt(square), q = c[2] < 0 ? root - c[2] : -root - c[2];
    const T one = q / (3 * c[3]), other = c[1] / q;
    const T low = one < other ? one : other, high = one < other ? other : one;
    int count = 0;
    if (low > 0 && low < 1) at[count++] = low;
    if (high > 0 && high < 1) at[count++] = high;
    return count;
  }

  // The root between `a`, where the function is positive, and `b`, where it is not; it falls in between.
  LG_HD T root(T a, T b, T value_a, T value_b) const {
    T s = a + (b - a) * (value_a / (value_a - value_b));
    for (int i = 0; i < 60; ++i) {
      const T value = (*this)(s);
      if (value > 0) {
        a = s;
      } else {
        b = s;
      }
      T next = s - value / slope(s);
      if (!(next > a && next < b)) next = T(0.5) * (a + b);
      if (value == 0 || next == s || !(b - a > 0)) break;
      s = next;
    }
    return s;
  }
};

// What a ray has met so far.
template <class T>
struct RayFindings {
  static constexpr T none = std::numeric_limits<T>::infinity();

  T band;
  T hit = none, near = none, behind = none;
  T low = 0, low_at = none;  // the deepest point since the hit
  bool known = false, inside = false, falling = false, done = false;

  LG_HD void lose() { known = inside = falling = false; }

  // At the start of a cell: its values may differ from those of the previous cell by rounding.
  LG_HD void begin(T t, T value) {
    const bool now = value <= 0;
    if (known && now != inside) {
      if (now) {
        enter(t);
      } else {
        leave();
      }
    }
    known = true;
    inside = now;
  }

  // At the start of a piece on which the function goes from `value` to `after`.
  LG_HD void turn(T t, T value, T after) {
    if (falling && after > value) minimum(t, value);
    if (after != value) falling = after < value;
  }

  LG_HD void enter(T t) {
    inside = true;
    if (hit == none) {
      hit = t;
      done = !(band > 0) || near != none;
    } else {
      behind = t;
      done = true;
    }
  }

  LG_HD void leave() {
    inside = false;
    if (hit == none) return;
    if (low_at == none) {
      done = true;
    } else {
      near = low_at;
    }
  }

 private:
  LG_HD void minimum(T t, T value) {
    if (near != none || !(band > 0)) return;
    if (!inside) {
      if (value < band && hit == none) near = t;
    } else if (hit != none && value < low) {
      low = value;
      low_at = t;
      done = low <= -band;
    }
  }
};

template <class T>
struct TraceGrid {
  const T* grid;
  const T *origins, *directions;
  int64_t size[3];  // along x, y, z
  T t_min, t_max, band;
  T *hit, *near, *behind;

  LG_HD void operator()(int64_t ray) const {
    RayFindings<T> found = {};
    found.band = band;
    Walk walk;
    if (start(walk, origins + 3 * ray, directions + 3 * ray)) {
      // Rounding cannot make a walk longer than the number of planes.
      for (int64_t left = size[0] + size[1] + size[2] + 6; left > 0 && !found.done; --left) {
        if (!step(walk, found)) break;
      }
    }
    hit[ray] = found.hit;
    if (near) near[ray] = found.near;
    if (behind) behind[ray] = found.behind;
  }

 private:
  struct Walk {
    T origin[3], direction[3], inverse[3];
    int64_t cell[3];
    T t, end;
  };

  LG_HD bool start(Walk& walk, const T* origin, const T* direction) const {
    walk.t = t_min;
    walk.end = t_max;
    for (int k = 0; k < 3; ++k) {
      const T o = origin[k], d = direction[k], low = T(-0.5), high = static_cast<T>(size[k]) - T(0.5);
      if (!std::isfinite(o) || !std::isfinite(d) || size[k] == 0) return false;
      walk.origin[k] = o;
      walk.direction[k] = d;
      walk.inverse[k] = 1 / d;
      if (d == 0) {
        if (!(o >= low && o <= high)) return false;
        continue;
      }
      const T first = (low - o) / d, last = (high - o) / d;
      const T enters = first < last ? first : last, leaves = first < last ? last : first;
      if (enters > walk.t) walk.t = enters;
      if (leaves < walk.end) walk.end = leaves;
    }
    if (!(walk.t < walk.end) || !std::isfinite(walk.t) || !std::isfinite(walk.end)) return false;
    for (int k = 0; k < 3; ++k) {
      const T at = std::floor(walk.origin[k] + walk.t * walk.direction[k]), last = static_cast<T>(size[k] - 1);
      walk.cell[k] = static_cast<int64_t>(at < -1 ? T(-1) : at > last ? last : at);
    }
    return true;
  }

  // The ray's part in the current cell, after which the walk moves to the next. False at the end.
  LG_HD bool step(Walk& walk, RayFindings<T>& found) const {
    int axis = -1;
    T t = walk.end;
    for (int k = 0; k < 3; ++k) {
      if (walk.direction[k] == 0) continue;
      const T plane = static_cast<T>(walk.cell[k] + (walk.direction[k] > 0));
      const T crossed = (plane - walk.origin[k]) * walk.inverse[k];
      if (crossed < t) {
        t = crossed;
        axis = k;
      }
    }
    if (t < walk.t) t = walk.t;
    visit(walk, t, found);
    walk.t = t;
    if (axis < 0) return false;
    walk.cell[axis] += walk.direction[axis] > 0 ? 1 : -1;
    return walk.cell[axis] >= -1 && walk.cell[axis] < size[axis];
  }

  LG_HD void visit(const Walk& walk, T until, RayFindings<T>& found) const {
    T v[8];
    T least = std::numeric_limits<T>::infinity(), most = -least, sum = 0;
    int64_t at[3][2];
    for (int k = 0; k < 3; ++k) {
      at[k][0] = walk.cell[k] < 0 ? 0 : walk.cell[k];
      at[k][1] = walk.cell[k] + 1 < size[k] ? walk.cell[k] + 1 : size[k] - 1;
    }
    LG_UNROLL
    for (int c = 0; c < 8; ++c) {
      v[c] = grid[(at[2][c >> 2] * size[1] + at[1][c >> 1 & 1]) * size[0] + at[0][c & 1]];
      least = v[c] < least ? v[c] : least;
      most = v[c] > most ? v[c] : most;
      sum += v[c] - v[c];  // NaN if any is not finite
    }
    if (sum != 0) return found.lose();
    if (least > 0 && least >= band && (!found.known || !found.inside)) {
      found.known = true;
      found.falling = false;
      return;
    }
    if (most <= -band && most <= 0 && found.inside && found.hit != RayFindings<T>::none) {
      found.done = true;
      return;
    }
    pieces(cubic_of(walk, until, v), walk.t, until, found);
  }

  // The trilinear function along the ray, with s from 0 to 1 between walk.t and until.
  LG_HD Cubic<T> cubic_of(const Walk& walk, T until, const T (&v)[8]) const {
    T a[3], e[3];
    for (int k = 0; k < 3; ++k) {
      a[k] = walk.origin[k] + walk.t * walk.direction[k] - static_cast<T>(walk.cell[k]);
      a[k] = a[k] < 0 ? T(0) : a[k] > 1 ? T(1) : a[k];
      T last = walk.origin[k] + until * walk.direction[k] - static_cast<T>(walk.cell[k]);
      last = last < 0 ? T(0) : last > 1 ? T(1) : last;
      e[k] = last - a[k];
    }
    T x[4][2];
    for (int r = 0; r < 4; ++r) {
      const T step = v[2 * r + 1] - v[2 * r];
      x[r][0] = v[2 * r] + a[0] * step;
      x[r][1] = e[0] * step;
    }
    T y[2][3];
    for (int r = 0; r < 2; ++r) {
      const T d0 = x[2 * r + 1][0] - x[2 * r][0], d1 = x[2 * r + 1][1] - x[2 * r][1];
      y[r][0] = x[2 * r][0] + a[1] * d0;
      y[r][1] = x[2 * r][1] + a[1] * d1 + e[1] * d0;
      y[r][2] = e[1] * d1;
    }
    const T d0 = y[1][0] - y[0][0], d1 = y[1][1] - y[0][1], d2 = y[1][2] - y[0][2];
    return {{y[0][0] + a[2] * d0, y[0][1] + a[2] * d1 + e[2] * d0, y[0][2] + a[2] * d2 + e[2] * d1, e[2] * d2}};
  }

  LG_HD void pieces(const Cubic<T>& cubic, T from, T until, RayFindings<T>& found) const {
    T at[2];
    const int turns = cubic.extrema(at);
    T s = 0, value = cubic.c[0];
    found.begin(from, value);
    for (int i = 0; i <= turns && !found.done; ++i) {
      const T next_s = i < turns ? at[i] : T(1), next = cubic(next_s);
      found.turn(from + s * (until - from), value, next);
      if (found.done) return;
      if (!found.inside && next <= 0) {
        found.enter(from + cubic.root(s, next_s, value, next) * (until - from));
      } else if (found.inside && next > 0) {
        found.leave();
      }
      s = next_s;
      value = next;
    }
  }
};

}  // namespace lg::implicit
