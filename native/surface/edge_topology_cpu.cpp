// The neighbours of every triangle edge, as cycles of half-edges.
//
// Half-edge 3 t + k is the edge of triangle t opposite to its corner k, from corner k+1 to corner k+2. All
// half-edges on one undirected edge form a cycle: an entry holds 2 * next + (1 if next runs the same way).
// A boundary edge is a cycle of one, a non-manifold edge a cycle of three or more.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "lumigrad.h"
#include "runtime/status.h"

namespace lg::surface {
namespace {

struct HalfEdge {
  int32_t low, high;  // the edge's vertices, sorted
  int32_t code;       // 2 * half-edge + (1 if it runs from high to low)
};

// Vertex of corner k of triangle t after welding. weld may be null.
int32_t corner(const int32_t* tri, const int32_t* weld, int64_t t, int k) {
  const int32_t v = tri[3 * t + k];
  return weld ? weld[v] : v;
}

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

void link(const std::vector<HalfEdge>& edges, size_t begin, size_t end, int32_t* topology) {
  for (size_t i = begin; i < end; ++i) {
    const HalfEdge& here = edges[i];
    const HalfEdge& next = edges[i + 1 == end ? begin : i + 1];
    const int32_t same_direction = ((here.code ^ next.code) & 1) ^ 1;
    topology[here.code >> 1] = (next.code & ~1) | same_direction;
  }
}

// Half-edges sorted by their edge, by counting on the lower vertex and sorting its few edges.
std::vector<HalfEdge> sorted_half_edges(const int32_t* tri, const int32_t* weld, int64_t vertices, int64_t triangles,
                                        int32_t* topology) {
  std::vector<HalfEdge> edges;
  edges.reserve(static_cast<size_t>(3 * triangles));
  std::vector<int64_t> place(static_cast<size_t>(vertices) + 1, 0);
  for (int64_t t = 0; t < triangles; ++t) {
    const int32_t v[3] = {corner(tri, weld, t, 0), corner(tri, weld, t, 1), corner(tri, weld, t, 2)};
    const bool degenerate = v[0] == v[1] || v[1] == v[2] || v[2] == v[0];
    for (int k = 0; k < 3; ++k) {
      const int32_t a = v[(k + 1) % 3], b = v[(k + 2) % 3], h = static_cast<int32_t>(3 * t + k);
      if (degenerate) {
        topology[h] = 2 * h + 1;
      } else {
        edges.push_back({std::min(a, b), std::max(a, b), 2 * h + (a > b)});
        ++place[std::min(a, b) + 1];
      }
    }
  }
  for (int64_t v = 0; v < vertices; ++v) place[v + 1] += place[v];
  std::vector<HalfEdge> sorted(edges.size());
  std::vector<int64_t> cursor(place.begin(), place.end() - 1);
  for (const HalfEdge& e : edges) sorted[cursor[e.low]++] = e;
  for (int64_t v = 0; v < vertices; ++v) {
    std::sort(sorted.begin() + place[v], sorted.begin() + place[v + 1], [](const HalfEdge& a, const HalfEdge& b) {
      return a.high != b.high ? a.high < b.high : a.code < b.code;
    });
  }
  return sorted;
}

// The same triangles over vertices numbered from 0 on: a table of vertices is kept, and numbers may be any.
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
    if (*most == INT32_MAX) {  // this is also what int64 indices beyond int32 have become
      throw InvalidArgument("tri: expected indices below 2**31 - 1, got larger ones");
    }
    vertices = int64_t{*most} + 1;
    if (*least >= 0 && vertices > 16 * corners) {
      own = renumbered(tri, corners, &vertices);
      tri = own.data();
    }
  }
  check(tri, weld, triangles, vertices);
  const std::vector<HalfEdge> edges = sorted_half_edges(tri, weld, vertices, triangles, topology);
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
    if (triangles > INT32_MAX / 6) {
      throw lg::InvalidArgument("tri has %lld triangles; edge topology holds at most %d",
                                static_cast<long long>(triangles), INT32_MAX / 6);
    }
    lg::surface::build(tri, weld, vertices, triangles, topology);
  });
}
