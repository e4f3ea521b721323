// The entries of a grid's lists on the CPU: the values of their triangles that are compared, side by side in list
// order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "math/bits.h"
#include "runtime/config.h"
#include "runtime/memory.h"
#include "runtime/threads.h"
#include "surface/outlines.h"

namespace lg::surface {

class EntryBoxes {
 public:
  static constexpr int lanes = 16;

  template <class T>
  EntryBoxes(int32_t threads, const OutlineView<T>& view, const CellLists& lists)
      : lists_(lists),
        stride_(lists.begin[lists.grid.cells()] + lanes),
        values_(static_cast<size_t>(6 * stride_)),
        vertices_(static_cast<size_t>(3 * stride_)) {
    constexpr int64_t entries_per_task = 8192;
    parallel_for(threads, divide_up(stride_, entries_per_task), [&](int64_t task, int) {
      const int64_t end = std::min(stride_, (task + 1) * entries_per_task);
      for (int64_t i = task * entries_per_task; i < end; ++i) {
        const bool exists = i < stride_ - lanes;
        const TriangleBox box = exists ? view.boxes[lists.entries[i]] : empty_box();
        const float value[6] = {box.x0, box.y0, box.z0, box.x1, box.y1, box.z1};
        for (int k = 0; k < 6; ++k) values_[static_cast<size_t>(k * stride_ + i)] = value[k];
        for (int k = 0; k < 3; ++k) {
          vertices_[static_cast<size_t>(k * stride_ + i)] = exists ? view.tri[3 * lists.entries[i] + k] : -1;
        }
      }
    });
  }

  // Like ScanEntries, sixteen entries at a time.
  template <class Body>
  void operator()(const SegmentSearch& s, const Body& body) const {
    const int64_t end = lists_.begin[s.cell + 1];
    for (int64_t at = lists_.begin[s.cell]; at < end; at += lanes) {
      for (uint32_t hits = find_hits(s, at); hits != 0; hits &= hits - 1) {
        const int64_t i = at + lowest_lane(hits);
        if (i < end) body(lists_.entries[i], values_[static_cast<size_t>(2 * stride_ + i)]);
      }
    }
  }

  // Calls body(triangle, other) for pairs of entries of a cell that may cross each other, if the first corner that
  // their boxes share lies in this cell. Triangles come in the order of their numbers.
  template <class T, class Body>
  void for_pairs(const OutlineView<T>& view, int64_t cell, const Body& body) const {
    const int32_t columns = lists_.grid.columns, shift = lists_.grid.shift;
    const float left = static_cast<float>((cell % columns) << shift),
                top = static_cast<float>((cell / columns) << shift);
    const int64_t begin = lists_.begin[cell], end = lists_.begin[cell + 1];
    for (int64_t i = begin; i + 1 < end; ++i) {
      const Entry entry(*this, view, i, left, top);
      for (int64_t at = begin + (i + 1 - begin) / lanes * lanes; at < end; at += lanes) {
        uint32_t pairs = find_pairs(entry, at);
        if (at <= i) pairs &= ~0u << (i + 1 - at);
        if (end - at < lanes) pairs &= (1u << (end - at)) - 1;
        for (; pairs != 0; pairs &= pairs - 1) body(lists_.entries[i], lists_.entries[at + lowest_lane(pairs)]);
      }
    }
  }

 private:
  // One entry, as compared with others.
  struct Entry {
    float low[3], high[3], begin_x, begin_y;
    int32_t vertex[3];
    int32_t surrounded[3];  // -1 if the vertex is surrounded once by its triangles

    template <class T>
    Entry(const EntryBoxes& all, const OutlineView<T>& view, int64_t i, float left, float top) {
      for (int k = 0; k < 3; ++k) {
        low[k] = all.values_[static_cast<size_t>(k * all.stride_ + i)];
        high[k] = all.values_[static_cast<size_t>((3 + k) * all.stride_ + i)];
        vertex[k] = all.vertices_[static_cast<size_t>(k * all.stride_ + i)];
        surrounded[k] = view.turns[vertex[k]] == 1 ? -1 : 0;
      }
      begin_x = low[0] >= left ? 0 : left;
      begin_y = low[1] >= top ? 0 : top;
    }
  };

  uint32_t find_hits(const SegmentSearch& s, int64_t at) const {
    const float *low = values_.data() + at, *high = low + 3 * stride_;
    int32_t hit[lanes];
    LG_VECTORIZE
    for (int l = 0; l < lanes; ++l) {
      const bool found =
          (low[l] <= s.x1) & (low[stride_ + l] <= s.y1) & (high[l] >= s.x0) & (high[stride_ + l] >= s.y0);
      hit[l] = found ? -1 : 0;
    }
    return sign_lanes(hit);
  }

  // The entries, out of sixteen, whose boxes meet a given entry's box and that are not its neighbours as defined by
  // are_neighbours().
  uint32_t find_pairs(const Entry& entry, int64_t at) const {
    const Entry e = entry;
    const float *low = values_.data() + at, *high = low + 3 * stride_;
    const int32_t* vertex = vertices_.data() + at;
    int32_t pair[lanes];
    LG_VECTORIZE
    for (int l = 0; l < lanes; ++l) {
      const bool meets = (low[l] <= e.high[0]) & (low[stride_ + l] <= e.high[1]) & (low[2 * stride_ + l] <= e.high[2]) &
                         (high[l] >= e.low[0]) & (high[stride_ + l] >= e.low[1]) & (high[2 * stride_ + l] >= e.low[2]) &
                         (low[l] >= e.begin_x) & (low[stride_ + l] >= e.begin_y);
      const int32_t p = vertex[l], q = vertex[stride_ + l], r = vertex[2 * stride_ + l];
      const int32_t a = (p == e.vertex[0]) | (q == e.vertex[0]) | (r == e.vertex[0]) ? -1 : 0;
      const int32_t b = (p == e.vertex[1]) | (q == e.vertex[1]) | (r == e.vertex[1]) ? -1 : 0;
      const int32_t c = (p == e.vertex[2]) | (q == e.vertex[2]) | (r == e.vertex[2]) ? -1 : 0;
      const int32_t neighbours = (a & (b | c | e.surrounded[0])) | (b & (c | e.surrounded[1])) | (c & e.surrounded[2]);
      pair[l] = (meets ? -1 : 0) & ~neighbours;
    }
    return sign_lanes(pair);
  }

  const CellLists& lists_;
  const int64_t stride_;
  Buffer<float> values_;
  Buffer<int32_t> vertices_;
};

// Pairs of triangles that may cross, grouped by first triangle, in the order of the cells.
class CrossingPairs {
 public:
  template <class T>
  CrossingPairs(int32_t threads, const OutlineView<T>& view, const CellLists& lists, const EntryBoxes& entries)
      : begin_(static_cast<size_t>(view.triangles + 1)) {
    constexpr int64_t cells_per_task = 1024;
    const int64_t cells = lists.grid.cells(), tasks = divide_up(cells, cells_per_task);
    std::vector<Array<Pair>> found(static_cast<size_t>(tasks));
    parallel_for(threads, tasks, [&](int64_t task, int) {
      Array<Pair>& pairs = found[static_cast<size_t>(task)];
      for (int64_t cell = task * cells_per_task; cell < std::min(cells, (task + 1) * cells_per_task); ++cell) {
        entries.for_pairs(view, cell, [&](int32_t t, int32_t other) { pairs.push_back({t, other}); });
      }
    });
    sort(found);
  }

  template <class Body>
  void for_others(int64_t triangle, const Body& body) const {
    for (int64_t i = begin_[triangle]; i < begin_[triangle + 1]; ++i) body(others_[i]);
  }

 private:
  struct Pair {
    int32_t triangle, other;
  };

  // By triangle, otherwise in the order in which they were found.
  void sort(const std::vector<Array<Pair>>& found) {
    const auto triangles = static_cast<int64_t>(begin_.size()) - 1;
    std::fill_n(begin_.data(), begin_.size(), 0);
    for (const Array<Pair>& pairs : found) {
      for (size_t i = 0; i < pairs.size(); ++i) ++begin_[pairs[i].triangle];
    }
    int64_t total = 0;
    for (int64_t t = 0; t <= triangles; ++t) total += std::exchange(begin_[t], total);
    others_ = Buffer<int32_t>(static_cast<size_t>(total));
    for (const Array<Pair>& pairs : found) {
      for (size_t i = 0; i < pairs.size(); ++i) others_[begin_[pairs[i].triangle]++] = pairs[i].other;
    }
    for (int64_t t = triangles; t > 0; --t) begin_[t] = begin_[t - 1];
    begin_[0] = 0;
  }

  Buffer<int64_t> begin_;
  Buffer<int32_t> others_;
};

}  // namespace lg::surface
