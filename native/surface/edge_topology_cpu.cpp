// edge_topology on the CPU: half-edges are sorted by their edge.
#include "surface/edge_topology.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lumigrad.h"
#include "runtime/status.h"

namespace lg::surface {
namespace {

struct SortedHalfEdge {
  int32_t low, high;
  int32_t code;  // 2 * half-edge + downwards
};

void check(const int32_t* tri, const int32_t* weld, int64_t triangles, int64_t vertices) {
  for (int64_t v = 0; weld && v < vertices; ++v) {
    if (weld[v] < 0 || weld[v] >= vertices) {
      throw InvalidArgument("weld[%lld] is %d, but there are %lld vertices", static_cast<long long>(v),
                            static_cast<int>(weld[v]), static_cast<long long>(vertices));
    }
  }
  for (int64_t i = 0; i < 3 * triangles; ++i) {
    if (tri[i] < 0 || tri[i] >= vertices) {
      throw InvalidArgument("tri[%lld, %d] is %d, but there are %lld vertices", static_cast<long long>(i / 3),
                            static_cast<int>(i % 3), static_cast<int>(tri[i]), static_cast<long long>(vertices));
    }
  }
}

// Half-edges sorted by their edge: counted by lower vertex, then each vertex's few edges are sorted. Half-edges that
// are not linked get their entries at once. weld may be null.
std::vector<SortedHalfEdge> sorted_half_edges(const int32_t* tri, const int32_t* weld, int64_t vertices,
                                              int64_t triangles, int32_t* topology) {
  std::vector<SortedHalfEdge> edges;
  edges.reserve(static_cast<size_t>(3 * triangles));
  std::vector<int64_t> place(static_cast<size_t>(vertices) + 1, 0);
  for (int64_t t = 0; t < triangles; ++t) {
    int32_t v[3];
    for (int k = 0; k < 3; ++k) v[k] = weld ? weld[tri[3 * t + k]] : tri[3 * t + k];
    for (int k = 0; k < 3; ++k) {
      const auto h = static_cast<int32_t>(3 * t + k);
      const HalfEdge edge = make_half_edge(v, k);
      if (edge.linked) {
        edges.push_back({edge.low, edge.high, 2 * h + edge.downwards});
        ++place[edge.low + 1];
      } else {
        topology[h] = topology_entry(h, true);
      }
    }
  }
  for (int64_t v = 0; v < vertices; ++v) place[v + 1] += place[v];
  std::vector<SortedHalfEdge> sorted(edges.size());
  std::vector<int64_t> cursor(place.begin(), place.end() - 1);
  for (const SortedHalfEdge& e : edges) sorted[cursor[e.low]++] = e;
  for (int64_t v = 0; v < vertices; ++v) {
    std::sort(sorted.begin() + place[v], sorted.begin() + place[v + 1],
              [](const SortedHalfEdge& a, const SortedHalfEdge& b) {
                return a.high != b.high ? a.high < b.high : a.code < b.code;
              });
  }
  return sorted;
}

// Links the half-edges [begin, end) of one edge to a cycle.
void link(const std::vector<SortedHalfEdge>& edges, size_t begin, size_t end, int32_t* topology) {
  for (size_t i = begin; i < end; ++i) {
    const int32_t here = edges[i].code, next = edges[i + 1 == end ? begin : i + 1].code;
    topology[here >> 1] = topology_entry(next >> 1, ((here ^ next) & 1) == 0);
  }
}

// The same triangles over vertices numbered from 0. Vertices are kept in a table, so numbers may be arbitrary.
std::vector<int32_t> renumbered(const int32_t* tri, int64_t count, int64_t* vertices) {
  std::vector<int32_t> known(tri, tri + count);
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::vector<int32_t> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<int32_t>(std::lower_bound(known.begin(), known.end(), tri[i]) - known.begin());
  }
  *vertices = static_cast<int64_t>(known.size());
  return out;
}

void build(const int32_t* tri, const int32_t* weld, int64_t vertices, int64_t triangles, int32_t* topology) {
  std::vector<int32_t> own;
  const int64_t corners = 3 * triangles;
  if (!weld && triangles > 0) {
    const auto [least, most] = std::minmax_element(tri, tri + corners);
    if (*most == INT32_MAX) {  // int64 indices beyond int32 have become this number too
      throw InvalidArgument("tri: expected indices below 2**31 - 1, got larger ones");
    }
    vertices = int64_t{*most} + 1;
    if (*least >= 0 && vertices > 16 * corners) {
      own = renumbered(tri, corners, &vertices);
      tri = own.data();
    }
  }
  check(tri, weld, triangles, vertices);
  const std::vector<SortedHalfEdge> edges = sorted_half_edges(tri, weld, vertices, triangles, topology);
  for (size_t begin = 0; begin < edges.size();) {
    size_t end = begin + 1;
    while (end < edges.size() && edges[end].low == edges[begin].low && edges[end].high == edges[begin].high) ++end;
    link(edges, begin, end, topology);
    begin = end;
  }
}

}  // namespace
}  // namespace lg::surface

int32_t lg_edge_topology(lg_call*, const int32_t* tri, const int32_t* weld, int64_t vertices, int64_t triangles,
                         int32_t* topology) {
  return lg::guarded([&] {
    if (triangles > lg::surface::max_topology_triangles) {
      throw lg::InvalidArgument("tri has %lld triangles; edge topology holds at most %d",
                                static_cast<long long>(triangles),
                                static_cast<int>(lg::surface::max_topology_triangles));
    }
    lg::surface::build(tri, weld, vertices, triangles, topology);
  });
}
