// What of a tree follows from where the vertices are: corners of leaves, boxes from the leaves up, and the cost.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "math/scalar.h"
#include "ray/bvh.h"
#include "ray/ray.h"
#include "runtime/config.h"

namespace lg::ray {

// The nearest float32 values that are not larger, and not smaller.
LG_HD float rounded_down(float a) { return a; }
LG_HD float rounded_up(float a) { return a; }
LG_HD float rounded_down(double a) {
  const auto near = static_cast<float>(a);
  return near > a ? std::nextafter(near, -std::numeric_limits<float>::infinity()) : near;
}
LG_HD float rounded_up(double a) {
  const auto near = static_cast<float>(a);
  return near < a ? std::nextafter(near, std::numeric_limits<float>::infinity()) : near;
}

struct FloatBox {
  float low[3], high[3];

  static LG_HD FloatBox none() {
    const float infinite = std::numeric_limits<float>::infinity();
    return {{infinite, infinite, infinite}, {-infinite, -infinite, -infinite}};
  }
  LG_HD bool is_none() const { return !(low[0] <= high[0]); }
  // What is not a number is left out.
  template <class T>
  LG_HD void add(const T* point) {
    LG_UNROLL
    for (int a = 0; a < 3; ++a) {
      const float down = rounded_down(point[a]), up = rounded_up(point[a]);
      low[a] = down < low[a] ? down : low[a];
      high[a] = up > high[a] ? up : high[a];
    }
  }
  LG_HD void add(const FloatBox& other) {
    if (other.is_none()) return;
    add(other.low);
    add(other.high);
  }
  // Half of its surface.
  LG_HD double area() const {
    if (is_none()) return 0;
    const double x = double{high[0]} - low[0], y = double{high[1]} - low[1], z = double{high[2]} - low[2];
    return x * y + (y * z + z * x);
  }
};

// That of all children of a node.
LG_HD FloatBox children_box(const float* boxes) {
  FloatBox all = FloatBox::none();
  for (int c = 0; c < node_width; ++c) {
    FloatBox box;
    for (int a = 0; a < 3; ++a) {
      box.low[a] = boxes[node_width * a + c];
      box.high[a] = boxes[node_width * (3 + a) + c];
    }
    all.add(box);
  }
  return all;
}

// The corners of a triangle as vertices [3][3]. False where it cannot be hit: an index is wrong, a coordinate is not
// finite in float32, or the corners lie on a line.
template <class T>
LG_HD bool corners_of(const T* vertices, int64_t vertex_count, const int32_t* index, T (&corner)[3][3]) {
  double all = 0;
  for (int k = 0; k < 3; ++k) {
    if (index[k] < 0 || index[k] >= vertex_count) return false;
    for (int a = 0; a < 3; ++a) {
      corner[k][a] = vertices[3 * static_cast<int64_t>(index[k]) + a];
      all += std::abs(static_cast<double>(static_cast<float>(corner[k][a])));
    }
  }
  if (!is_finite(all)) return false;
  double e0[3], e1[3];
  for (int a = 0; a < 3; ++a) {
    e0[a] = double{corner[0][a]} - corner[2][a];
    e1[a] = double{corner[1][a]} - corner[2][a];
  }
  return e0[1] * e1[2] != e0[2] * e1[1] || e0[2] * e1[0] != e0[0] * e1[2] || e0[0] * e1[1] != e0[1] * e1[0];
}

template <class T>
struct FillLeaves {
  const T* vertices;
  const int32_t* faces;
  const int32_t* tri;
  int64_t vertex_count, triangles;
  T* corners;

  LG_HD void operator()(int64_t leaf) const {
    T* out = corners + 9 * leaf_size * leaf;
    for (int place = 0; place < leaf_size; ++place) {
      const int32_t number = tri[leaf_size * leaf + place];
      T corner[3][3];
      const bool valid = number >= 0 && number < triangles &&
                         corners_of(vertices, vertex_count, faces + 3 * static_cast<int64_t>(number), corner);
      for (int i = 0; i < 9; ++i) {
        out[leaf_size * i + place] = valid ? corner[i / 3][i % 3] : std::numeric_limits<T>::quiet_NaN();
      }
    }
  }
};

// The boxes of a node's children, and what tests of its children and of theirs that are leaves cost: the surface of
// every box that they lie in, which is in proportion to the rays that come there.
template <class T>
struct FillNodes {
  const int32_t* children;
  const T* corners;
  int64_t nodes, leaves;
  int64_t first;  // the node of item 0
  float* boxes;
  double* costs;

  LG_HD void operator()(int64_t item) const {
    const int64_t node = first + item;
    float* out = boxes + 6 * node_width * node;
    FloatBox all = FloatBox::none();
    double cost = 0;
    for (int c = 0; c < node_width; ++c) {
      const int32_t child = children[node_width * node + c];
      const FloatBox box = box_of(node, child);
      for (int a = 0; a < 3; ++a) {
        out[node_width * a + c] = box.low[a];
        out[node_width * (3 + a) + c] = box.high[a];
      }
      all.add(box);
      if (child < 0) cost += box.area();
    }
    costs[node] = cost + all.area();
  }

 private:
  LG_HD FloatBox box_of(int64_t node, int32_t child) const {
    FloatBox box = FloatBox::none();
    if (child < 0) {
      const int64_t leaf = -1 - static_cast<int64_t>(child);
      if (leaf >= leaves) return box;
      const T* corner = corners + 9 * leaf_size * leaf;
      for (int place = 0; place < leaf_size; ++place) {
        for (int k = 0; k < 3; ++k) {
          const T* at = corner + 3 * leaf_size * k + place;
          const T point[3] = {at[0], at[leaf_size], at[2 * leaf_size]};
          box.add(point);
        }
      }
    } else if (child > node && child < nodes) {
      box = children_box(boxes + int64_t{6 * node_width} * child);
    }
    return box;
  }
};

constexpr int64_t costs_per_sum = 256;

struct AddCosts {
  const double* costs;
  int64_t count;
  double* sums;

  LG_HD void operator()(int64_t item) const {
    double sum = 0;
    const int64_t begin = item * costs_per_sum;
    for (int64_t i = begin; i < begin + costs_per_sum && i < count; ++i) sum += costs[i];
    sums[item] = sum;
  }
};

// The box of the whole tree, and how many boxes and leaves a ray that meets it meets on average.
struct FinishTree {
  const float* boxes;
  const double* sums;
  int64_t count;
  float* bounds;
  double* cost;

  LG_HD void operator()(int64_t) const {
    const FloatBox all = count > 0 ? children_box(boxes) : FloatBox::none();
    for (int a = 0; a < 3; ++a) {
      bounds[a] = all.is_none() ? 0.0f : all.low[a];
      bounds[3 + a] = all.is_none() ? 0.0f : all.high[a];
    }
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += sums[i];
    const double area = all.area();
    *cost = area > 0 ? sum / area : 0.0;
  }
};

// The nodes of a level. starts: the first node of each level and, behind the last one, the number of nodes, as the
// caller says; a range that is wrong counts as empty.
struct LevelRange {
  int64_t first, end;
};
inline LevelRange level_range(const int64_t* starts, int64_t level, int64_t nodes) {
  const int64_t first = starts[level], end = starts[level + 1];
  return first >= 0 && first <= end && end <= nodes ? LevelRange{first, end} : LevelRange{0, 0};
}

}  // namespace lg::ray
