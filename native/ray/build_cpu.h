// Building a tree: a binary one by the surface area heuristic, from which wide nodes are made.
//
// A range of triangles is divided where the centres of their boxes, counted in bins along each axis, promise the lowest
// cost (Wald 2007, "On fast Construction of SAH-based Bounding Volume Hierarchies"). Decisions follow from the set of
// triangles alone: neither their order nor who works on them counts. Large ranges are divided by all threads together,
// smaller ones are tasks of their own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "math/divide_up.h"
#include "math/lanes.h"
#include "ray/bvh.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace lg::ray {

using Point = Lanes<float, 4>;  // x, y, z, and a value that does not count

struct Box {
  Point low, high;

  static Box none() {
    const float infinite = std::numeric_limits<float>::infinity();
    return {Point(infinite), Point(-infinite)};
  }
  LG_INLINE void add(const Box& other) {
    low = minimum(low, other.low);
    high = maximum(high, other.high);
  }
  LG_INLINE void add(const Point& point) {
    low = minimum(low, point);
    high = maximum(high, point);
  }
  // Half of its surface.
  LG_INLINE float area() const {
    const Point size = high - low;
    return size[0] * size[1] + (size[1] * size[2] + size[2] * size[0]);
  }
};

// A triangle's box. The values behind x, y, z are numbers that cost no time, unlike denormal ones.
struct Primitive {
  float low[3], high[3], zero;
  int32_t tri;

  LG_INLINE Box box() const { return {Point::load(low), Point::load(high)}; }
  LG_INLINE Point centre() const { return Point(0.5f) * Point::load(low) + Point(0.5f) * Point::load(high); }
};
static_assert(sizeof(Primitive) == 32, "two registers");

struct BinaryNode {
  Box box;
  int32_t left, right;   // of a node; a leaf has left = -1
  int32_t first, count;  // its primitives

  bool is_leaf() const { return left < 0; }
};

struct PrimitiveRange {
  int32_t first, count, depth;
};

// The boxes of a range's triangles together, and that of their centres.
struct RangeBounds {
  Box box = Box::none(), centres = Box::none();

  LG_INLINE void add(const Primitive& primitive) {
    box.add(primitive.box());
    centres.add(primitive.centre());
  }
  void add(const RangeBounds& other) {
    box.add(other.box);
    centres.add(other.centres);
  }
};

constexpr int bin_count = 16;

// In which bins a triangle lies along x, y, z.
class BinMap {
 public:
  explicit BinMap(const Box& centres)
      : low_(centres.low), scale_(Point(static_cast<float>(bin_count)) / (centres.high - centres.low)) {}

  LG_INLINE void find(const Primitive& primitive, int32_t (&bin)[4]) const {
    // What is no number becomes 0: all centres are at one place then.
    const Point at = maximum((primitive.centre() - low_) * scale_, Point(0.0f));
    minimum(at, Point(static_cast<float>(bin_count - 1))).store(bin);
  }

 private:
  Point low_, scale_;
};

struct Bins {
  Box box[3][bin_count];
  int32_t count[3][bin_count];

  Bins() {
    for (auto& row : box) std::fill_n(row, bin_count, Box::none());
    for (auto& row : count) std::fill_n(row, bin_count, 0);
  }
  LG_INLINE void add(const Primitive& primitive, const BinMap& map) {
    int32_t bin[4];
    map.find(primitive, bin);
    const Box own = primitive.box();
    for (int a = 0; a < 3; ++a) {
      box[a][bin[a]].add(own);
      ++count[a][bin[a]];
    }
  }
  void add(const Bins& other) {
    for (int a = 0; a < 3; ++a) {
      for (int i = 0; i < bin_count; ++i) {
        box[a][i].add(other.box[a][i]);
        count[a][i] += other.count[a][i];
      }
    }
  }
};

// Triangles in bins below `bin` along an axis go to the left. axis -1: there is no such place.
struct Split {
  int axis = -1, bin = 0;

  LG_INLINE bool is_left(const Primitive& primitive, const BinMap& map) const {
    int32_t at[4];
    map.find(primitive, at);
    return at[axis] < bin;
  }
};

inline Split best_split(const Bins& bins) {
  const auto cost_of = [](float area, int32_t count) {
    return area * static_cast<float>((count + leaf_size - 1) / leaf_size);
  };
  Split best;
  float best_cost = std::numeric_limits<float>::infinity();
  for (int axis = 0; axis < 3; ++axis) {
    float right_cost[bin_count];
    Box box = Box::none();
    int32_t count = 0;
    for (int i = bin_count - 1; i > 0; --i) {
      box.add(bins.box[axis][i]);
      count += bins.count[axis][i];
      right_cost[i] = count ? cost_of(box.area(), count) : std::numeric_limits<float>::infinity();
    }
    box = Box::none();
    count = 0;
    for (int i = 1; i < bin_count; ++i) {
      box.add(bins.box[axis][i - 1]);
      count += bins.count[axis][i - 1];
      if (count == 0) continue;
      const float cost = cost_of(box.area(), count) + right_cost[i];
      if (cost < best_cost) {
        best_cost = cost;
        best.axis = axis;
        best.bin = i;
      }
    }
  }
  return best;
}

class BinaryBuilder {
 public:
  BinaryBuilder(int threads, Primitive* primitives, int64_t count)
      : threads_(threads), primitives_(primitives), count_(static_cast<int32_t>(count)) {}

  // Node 0 is the root.
  std::vector<BinaryNode> build() {
    std::vector<BinaryNode> nodes(1);
    divide_large({0, count_, 0}, nodes);
    std::vector<std::vector<BinaryNode>> parts(tasks_.size());
    parallel_for(threads_, static_cast<int64_t>(tasks_.size()), [&](int64_t i, int) {
      std::vector<BinaryNode>& part = parts[i];
      part.reserve(static_cast<size_t>(tasks_[i].range.count));
      part.resize(1);
      divide_small(tasks_[i].range, part, 0);
    });
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto shift = static_cast<int32_t>(nodes.size()) - 1;  // their roots have places already
      for (BinaryNode& node : parts[i]) {
        if (node.is_leaf()) continue;
        node.left += shift;
        node.right += shift;
      }
      nodes[static_cast<size_t>(tasks_[i].node)] = parts[i][0];
      nodes.insert(nodes.end(), parts[i].begin() + 1, parts[i].end());
    }
    return nodes;
  }

 private:
  static constexpr int32_t small_range = 8192, chunk = 4096;

  struct Task {
    PrimitiveRange range;
    int32_t node;
  };

  static int32_t add_children(std::vector<BinaryNode>& nodes, int32_t node) {
    const auto left = static_cast<int32_t>(nodes.size());
    nodes.resize(nodes.size() + 2);
    nodes[static_cast<size_t>(node)].left = left;
    nodes[static_cast<size_t>(node)].right = left + 1;
    return left;
  }

  // Whether halving is all that keeps the tree from becoming too deep.
  static bool must_halve(const PrimitiveRange& range) {
    int bits = 0;
    while ((int64_t{1} << bits) < range.count) ++bits;
    return range.depth + bits >= max_levels - 1;
  }

  // By the order of centres along the axis in which they lie farthest apart.
  int32_t halve(const PrimitiveRange& range, const Box& centres) {
    const Point size = centres.high - centres.low;
    const int axis = size[0] >= size[1] ? (size[0] >= size[2] ? 0 : 2) : (size[1] >= size[2] ? 1 : 2);
    Primitive* first = primitives_ + range.first;
    std::nth_element(first, first + range.count / 2, first + range.count,
                     [axis](const Primitive& a, const Primitive& b) {
                       const float left = a.centre()[axis], right = b.centre()[axis];
                       return left < right || (left == right && a.tri < b.tri);
                     });
    return range.count / 2;
  }

  // ---- Large ranges, by all threads ------------------------------------------------------------------------

  int64_t chunks_of(const PrimitiveRange& range) const { return divide_up(int64_t{range.count}, int64_t{chunk}); }

  template <class Body>
  void for_chunks(const PrimitiveRange& range, Body&& body) {
    parallel_for(threads_, chunks_of(range), [&](int64_t i, int) {
      const int64_t first = range.first + i * chunk, end = std::min<int64_t>(first + chunk, range.first + range.count);
      body(i, primitives_ + first, primitives_ + end);
    });
  }

  // What a chunk gives, added up over all chunks.
  template <class Sum, class AddPrimitive>
  Sum sum_up(const PrimitiveRange& range, AddPrimitive&& add) {
    std::vector<Sum> sums(static_cast<size_t>(chunks_of(range)));
    for_chunks(range, [&](int64_t i, const Primitive* from, const Primitive* end) {
      for (; from < end; ++from) add(sums[static_cast<size_t>(i)], *from);
    });
    for (size_t i = 1; i < sums.size(); ++i) sums[0].add(sums[i]);
    return sums[0];
  }

  void divide_large(const PrimitiveRange& whole, std::vector<BinaryNode>& nodes) {
    std::vector<Task> open = {{whole, 0}};
    while (!open.empty()) {
      const Task task = open.back();
      open.pop_back();
      if (task.range.count <= small_range) {
        tasks_.push_back(task);
        continue;
      }
      const auto bounds =
          sum_up<RangeBounds>(task.range, [](RangeBounds& sum, const Primitive& primitive) { sum.add(primitive); });
      const BinMap map(bounds.centres);
      const auto bins =
          sum_up<Bins>(task.range, [&](Bins& sum, const Primitive& primitive) { sum.add(primitive, map); });
      const Split split = must_halve(task.range) ? Split{} : best_split(bins);
      const int32_t on_left = split.axis < 0 ? halve(task.range, bounds.centres) : part(task.range, split, map);
      BinaryNode& node = nodes[static_cast<size_t>(task.node)];
      node.box = bounds.box;
      node.first = task.range.first;
      node.count = task.range.count;
      const int32_t left = add_children(nodes, task.node);
      const int32_t depth = task.range.depth + 1;
      open.push_back({{task.range.first, on_left, depth}, left});
      open.push_back({{task.range.first + on_left, task.range.count - on_left, depth}, left + 1});
    }
  }

  // Brings those on the left to the front; returns how many they are.
  int32_t part(const PrimitiveRange& range, const Split& split, const BinMap& map) {
    if (other_.size() == 0) other_ = Buffer<Primitive>(static_cast<size_t>(count_));
    std::vector<int32_t> left(static_cast<size_t>(chunks_of(range)));
    for_chunks(range, [&](int64_t i, const Primitive* from, const Primitive* end) {
      left[static_cast<size_t>(i)] = static_cast<int32_t>(
          std::count_if(from, end, [&](const Primitive& primitive) { return split.is_left(primitive, map); }));
    });
    int32_t on_left = 0;
    for (int32_t& count : left) {
      const int32_t own = count;
      count = on_left;
      on_left += own;
    }
    for_chunks(range, [&](int64_t i, const Primitive* from, const Primitive* end) {
      const int32_t before = left[static_cast<size_t>(i)];
      Primitive* to_left = other_.data() + range.first + before;
      Primitive* to_right = other_.data() + range.first + on_left + i * chunk - before;
      for (; from < end; ++from) *(split.is_left(*from, map) ? to_left++ : to_right++) = *from;
    });
    for_chunks(range, [&](int64_t i, Primitive* from, const Primitive* end) {
      std::copy_n(other_.data() + range.first + i * chunk, end - from, from);
    });
    return on_left;
  }

  // ---- Small ranges, by one thread ---------------------------------------------------------------------------

  void divide_small(const PrimitiveRange& range, std::vector<BinaryNode>& nodes, int32_t number) {
    Primitive* first = primitives_ + range.first;
    Primitive* end = first + range.count;
    RangeBounds bounds;
    for (const Primitive* p = first; p < end; ++p) bounds.add(*p);
    nodes[static_cast<size_t>(number)] = {bounds.box, -1, -1, range.first, range.count};
    if (range.count <= leaf_size) return;
    const BinMap map(bounds.centres);
    Split split;
    if (!must_halve(range)) {
      Bins bins;
      for (const Primitive* p = first; p < end; ++p) bins.add(*p, map);
      split = best_split(bins);
    }
    const int32_t on_left =
        split.axis < 0
            ? halve(range, bounds.centres)
            : static_cast<int32_t>(
                  std::partition(first, end, [&](const Primitive& p) { return split.is_left(p, map); }) - first);
    const int32_t left = add_children(nodes, number);
    divide_small({range.first, on_left, range.depth + 1}, nodes, left);
    divide_small({range.first + on_left, range.count - on_left, range.depth + 1}, nodes, left + 1);
  }

  int threads_;
  Primitive* primitives_;
  int32_t count_;
  Buffer<Primitive> other_;
  std::vector<Task> tasks_;
};

// ---- Wide nodes -----------------------------------------------------------------------------------------------

struct TreeSizes {
  int64_t nodes, leaves, levels;
};

// Chooses the binary nodes that become wide ones, so that rays meet as few nodes and leaves as possible (Ylitie, Karras
// and Laine 2017, "Efficient Incoherent Ray Traversal on GPUs Through Compressed Wide BVHs").
//
// A subtree can stand below a wide node as one child, itself a wide node or a leaf, or as up to seven, which divide it.
// From the leaves up, the least cost of each is known from those of its halves.
class Widening {
 public:
  explicit Widening(const std::vector<BinaryNode>& binary) : binary_(binary), plans_(binary.size()) {
    for (size_t i = binary.size(); i-- > 0;) {  // children come behind their parents
      const float own = binary[i].box.area();
      Plan& plan = plans_[i];
      if (binary[i].is_leaf()) {
        std::fill_n(plan.cost, node_width, own);
        std::fill_n(plan.left, node_width, int8_t{0});
        continue;
      }
      const Plan &left = plans_[static_cast<size_t>(binary[i].left)],
                 &right = plans_[static_cast<size_t>(binary[i].right)];
      for (int children = 2; children <= node_width; ++children) {
        float best = std::numeric_limits<float>::infinity();
        int8_t best_left = 1;
        for (int k = 1; k < children; ++k) {
          const float cost = left.cost[k - 1] + right.cost[children - k - 1];
          if (!(cost < best)) continue;
          best = cost;
          best_left = static_cast<int8_t>(k);
        }
        plan.cost[children - 1] = best;
        plan.left[children - 1] = best_left;
      }
      plan.root = plan.left[node_width - 1];
      plan.cost[0] = own + plan.cost[node_width - 1];
      plan.left[0] = 0;
      for (int children = 2; children <= node_width; ++children) {
        if (plan.cost[children - 1] < plan.cost[children - 2]) continue;
        plan.cost[children - 1] = plan.cost[children - 2];
        plan.left[children - 1] = plan.left[children - 2];
      }
    }
  }

  // The children of a wide node; returns how many they are.
  int children_of(int32_t node, int32_t (&children)[node_width]) const {
    const BinaryNode& binary = binary_[static_cast<size_t>(node)];
    int count = 0;
    if (binary.is_leaf()) {
      children[count++] = node;
    } else {
      const int left = plans_[static_cast<size_t>(node)].root;
      collect(binary.left, left, children, &count);
      collect(binary.right, node_width - left, children, &count);
    }
    return count;
  }

 private:
  struct Plan {
    float cost[node_width];   // with 1, 2, ... children at the most
    int8_t left[node_width];  // how many of them the left half has; 0: the subtree is one child
    int8_t root;              // the same where the subtree is a wide node
  };

  void collect(int32_t node, int most, int32_t (&children)[node_width], int* count) const {
    const int left = plans_[static_cast<size_t>(node)].left[most - 1];
    if (left == 0) {
      children[(*count)++] = node;
      return;
    }
    collect(binary_[static_cast<size_t>(node)].left, left, children, count);
    collect(binary_[static_cast<size_t>(node)].right, used(node, most) - left, children, count);
  }

  // Fewer children than there might be, where more would not be better.
  int used(int32_t node, int most) const {
    const Plan& plan = plans_[static_cast<size_t>(node)];
    while (most > 1 && plan.cost[most - 1] == plan.cost[most - 2]) --most;
    return most;
  }

  const std::vector<BinaryNode>& binary_;
  std::vector<Plan> plans_;
};

// Writes children [nodes, node_width] and tri [leaves, leaf_size], for which the caller has room, and the first node of
// each level.
inline TreeSizes widen(const std::vector<BinaryNode>& binary, const Primitive* primitives, int32_t* children,
                       int32_t* tri, int64_t* level_starts) {
  const Widening widening(binary);
  std::vector<int32_t> nodes = {0};
  int32_t leaves = 0;
  int64_t level = 0, level_end = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (static_cast<int64_t>(i) == level_end) {
      level_starts[level++] = level_end;
      level_end = static_cast<int64_t>(nodes.size());
    }
    int32_t own[node_width];
    const int count = widening.children_of(nodes[i], own);
    int32_t* out = children + static_cast<int64_t>(i) * node_width;
    std::fill_n(out, node_width, no_child);
    for (int c = 0; c < count; ++c) {
      const BinaryNode& node = binary[static_cast<size_t>(own[c])];
      if (!node.is_leaf()) {
        out[c] = static_cast<int32_t>(nodes.size());
        nodes.push_back(own[c]);
        continue;
      }
      if (node.count == 0) continue;
      int32_t* numbers = tri + int64_t{leaf_size} * leaves;
      std::fill_n(numbers, leaf_size, -1);
      for (int32_t k = 0; k < node.count; ++k) numbers[k] = primitives[node.first + k].tri;
      std::sort(numbers, numbers + node.count);
      out[c] = -1 - leaves++;
    }
  }
  level_starts[level] = static_cast<int64_t>(nodes.size());
  return {static_cast<int64_t>(nodes.size()), leaves, level};
}

}  // namespace lg::ray
