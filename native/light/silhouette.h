// Edges as a point sees them: which are silhouettes, and how points of them are drawn.
#pragma once

#include <cmath>
#include <cstdint>

#include "light/scene.h"
#include "light/vector.h"
#include "math/dual.h"
#include "math/scalar.h"
#include "runtime/call.h"

namespace lg::light {

// An edge is not distinguished from a surface behind it that is nearer to it than this fraction of its distance.
constexpr double touching = 1e-4;
// What is seen beside an edge is looked for so far off it, in parts of the distance.
constexpr double beside_edge = 1e-6;

// Columns of `edge_shapes`: the ends, in the order of the first face's winding; unit normals of both faces, the second
// of which is the opposite of the first where there is only one face; and a factor, see reference/light/_edges.py.
constexpr int edge_columns = 13, share_column = 12;

template <class T>
struct Edges {
  const int32_t* ends;  // [count, 2]: vertices
  const T* shapes;      // [count, edge_columns]
  const T* sums;        // [count + 1], of the probabilities with which edges are drawn
  int64_t count;
};

// A part of an edge: from + s (to - from) for s from low to high.
template <class T>
struct Part {
  T low, high;
};

// An edge from a point of view.
template <class T>
class Silhouette {
 public:
  // near: how close a point counts as lying in the plane of a face.
  LG_HD Silhouette(const T* shape, const Vec3<T>& from, T near) {
    a_ = load3(shape) - from;
    b_ = load3(shape + 3) - from;
    const T first = -dot(load3(shape + 6), a_), second = -dot(load3(shape + 9), a_);
    valid_ = (first > near && second < -near) || (first < -near && second > near);
    plane_ = cross(a_, b_);
    if (first < 0) plane_ = -plane_;
  }

  // Whether one of its faces is seen from the front and the other from behind.
  LG_HD bool is_valid() const { return valid_ && dot(plane_, plane_) > 0; }
  // Normal of the plane through the point of view and the edge, away from what the edge belongs to.
  LG_HD const Vec3<T>& plane() const { return plane_; }
  LG_HD Vec3<T> along() const { return b_ - a_; }
  // From the point of view to a point of the edge.
  LG_HD Vec3<T> at(T s) const { return (1 - s) * a_ + s * b_; }

  // The part in front of a triangle; empty where high <= low.
  LG_HD_CALL Part<T> before(const Vec3<T>& v0, const Vec3<T>& v1, const Vec3<T>& v2) const {
    const T h[3] = {dot(plane_, v0), dot(plane_, v1), dot(plane_, v2)};
    const Vec3<T> v[3] = {v0, v1, v2};
    // Where the triangle crosses the plane; the corner that is alone on its side has both of these edges.
    int alone = -1;
    for (int k = 0; k < 3; ++k) {
      const int next = k == 2 ? 0 : k + 1, last = k == 0 ? 2 : k - 1;
      if ((h[k] < 0) != (h[next] < 0) && (h[k] < 0) != (h[last] < 0)) alone = k;
    }
    if (alone < 0) return {0, 0};
    const int next = alone == 2 ? 0 : alone + 1, last = alone == 0 ? 2 : alone - 1;
    const Combination p = combination(crossing(v[alone], h[alone], v[next], h[next]));
    const Combination q = combination(crossing(v[alone], h[alone], v[last], h[last]));
    // What is left of the line from p to q behind the edge: both factors positive, and their sum larger than 1, by
    // enough that no triangle is behind its own edges.
    T low = 0, high = 1;
    clip(p.of_a, q.of_a, &low, &high);
    clip(p.of_b, q.of_b, &low, &high);
    const T nearest = T(1 + touching);
    clip(p.of_a + p.of_b - nearest, q.of_a + q.of_b - nearest, &low, &high);
    if (!(low < high)) return {0, 0};
    const T first = place(p, q, low), second = place(p, q, high);
    return first < second ? Part<T>{first, second} : Part<T>{second, first};
  }

 private:
  // A vector in the plane as of_a * a + of_b * b.
  struct Combination {
    T of_a, of_b;
  };

  LG_HD static Vec3<T> crossing(const Vec3<T>& v, T h, const Vec3<T>& w, T other) {
    const T t = h / (h - other);
    return (1 - t) * v + t * w;
  }
  LG_HD Combination combination(const Vec3<T>& w) const {
    const Vec3<T> m = cross(a_, b_);
    const T scale = 1 / dot(m, m);
    return {scale * dot(cross(w, b_), m), scale * dot(cross(a_, w), m)};
  }
  // The part of [low, high] where what goes from `first` to `second` is positive.
  LG_HD static void clip(T first, T second, T* low, T* high) {
    if (first <= 0 && second <= 0) {
      *high = *low;
    } else if (first < 0 || second < 0) {
      const T zero = first / (first - second);
      if (first < 0) *low = maximum(*low, zero);
      if (second < 0) *high = minimum(*high, zero);
    }
  }
  LG_HD static T place(const Combination& p, const Combination& q, T t) {
    const T of_a = (1 - t) * p.of_a + t * q.of_a, of_b = (1 - t) * p.of_b + t * q.of_b;
    return clamped(of_b / (of_a + of_b), T(0), T(1));
  }

  Vec3<T> a_, b_, plane_;
  bool valid_;
};

// Points of an edge, uniformly by the angle under which they are seen.
template <class T>
class EqualAngles {
 public:
  LG_HD EqualAngles(const Silhouette<T>& edge, const Part<T>& part) {
    const Vec3<T> e = edge.along(), a = edge.at(T(0));
    length_ = length(e);
    start_ = dot(a, e) / length_;
    distance_ = length(edge.plane()) / length_;
    low_ = std::atan((start_ + part.low * length_) / distance_);
    high_ = std::atan((start_ + part.high * length_) / distance_);
    part_ = part;
  }
  // Whether there is an angle.
  LG_HD bool is_valid() const { return high_ > low_ && distance_ > 0; }
  LG_HD T draw(T u) const {
    const T along = distance_ * std::tan(low_ + u * (high_ - low_));
    return clamped((along - start_) / length_, part_.low, part_.high);
  }
  // Of a place within the part.
  LG_HD T pdf(T s) const {
    const T along = start_ + s * length_;
    return distance_ * length_ / ((high_ - low_) * (distance_ * distance_ + along * along));
  }

 private:
  T length_, start_, distance_, low_, high_;
  Part<T> part_;
};

}  // namespace lg::light
