// The silhouette flags of all triangles of a mesh, several triangles at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "math/gather.h"
#include "runtime/check_indices.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "surface/antialias.h"
#include "surface/silhouettes.h"

namespace lg::surface {

// Throws if a link of triangles [first, last) leads to no half-edge.
template <class T>
void check_links(const AntialiasScene<T>& s, int64_t first, int64_t last) {
  const auto half_edges = static_cast<uint32_t>(std::min<int64_t>(3 * s.mesh.triangles, INT32_MAX));
  const auto is_wrong = [&](int32_t link) {
    // The sign bit of a negative link makes it larger than any half-edge.
    const auto bits = static_cast<uint32_t>(link);
    return static_cast<uint32_t>((bits >> 1) >= half_edges) | (bits >> 31);
  };
  uint32_t wrong = 0;
  for (int64_t i = 3 * first; i < 3 * last; ++i) wrong |= is_wrong(s.topology[i]);
  for (int64_t i = 3 * first; LG_UNLIKELY(wrong) && i < 3 * last; ++i) {
    if (!is_wrong(s.topology[i])) continue;
    throw InvalidArgument("topology[%lld, %d] is %d, which is no half-edge of %lld triangles",
                          static_cast<long long>(i / 3), static_cast<int>(i % 3), static_cast<int>(s.topology[i]),
                          static_cast<long long>(s.mesh.triangles));
  }
}

constexpr int64_t triangles_per_task = 1024;

// Calls body(view, first, last) for runs of triangles that together cover all triangles of every set of positions.
template <class T, class Body>
void for_triangles(int32_t threads, const AntialiasScene<T>& s, Body&& body) {
  const int64_t tasks_per_view = divide_up(s.mesh.triangles, triangles_per_task);
  parallel_for(threads, s.geometry_views() * tasks_per_view, [&](int64_t task, int) {
    const int64_t view = task / tasks_per_view, begin = task % tasks_per_view * triangles_per_task;
    body(view, begin, std::min(s.mesh.triangles, begin + triangles_per_task));
  });
}

// Facing flags of `count` triangles with these vertices, side by side in plain loops, which compilers vectorise.
constexpr int64_t facing_lanes = gather_lanes;
template <class T>
void face_lanes(const T* pos, const int32_t* index, int64_t count, uint8_t* facing) {
  alignas(64) T corner[3][4][facing_lanes];
  uint8_t flags[facing_lanes];
  gather_corners(pos, index, count, &corner[0][0][0], &corner[1][0][0], &corner[2][0][0]);
  for (int64_t l = 0; l < facing_lanes; ++l) {
    flags[l] = facing_flag(corner[0][0][l], corner[0][1][l], corner[0][2][l], corner[0][3][l], corner[1][0][l],
                           corner[1][1][l], corner[1][2][l], corner[1][3][l], corner[2][0][l], corner[2][1][l],
                           corner[2][2][l], corner[2][3][l]);
  }
  std::copy_n(flags, count, facing);
}

template <class T>
void face_triangles(const AntialiasScene<T>& s, int64_t view, int64_t begin, int64_t end, uint8_t* facing) {
  check_indices(s.mesh.tri, begin, end, s.mesh.vertices);
  check_links(s, begin, end);  // all links are checked before any is followed, because they may lead to any triangle
  const T* pos = s.surface(view).pos;
  for (int64_t first = begin; first < end; first += facing_lanes) {
    const int64_t next = std::min(end, first + facing_lanes);
    prefetch_corners(pos, 4, s.mesh.tri + 3 * next, std::min(facing_lanes, end - next));
    face_lanes(pos, s.mesh.tri + 3 * first, next - first, facing + first);
  }
}

// Whether the surface continues beyond each edge of `facing_lanes` triangles starting at `first`: continues() for all
// of them side by side.
inline bool all_continue(const int32_t* topology, const uint8_t* facing, int64_t first) {
  constexpr int edges = 3 * facing_lanes;
  const int32_t* entry = topology + 3 * first;
  uint32_t other[edges], mine[edges];
  for (int i = 0; i < edges; ++i) other[i] = (static_cast<uint32_t>(entry[i]) >> 1) / 3;
  for (int i = 0; i < edges; ++i) other[i] = facing[other[i]];
  for (int i = 0; i < edges; ++i) mine[i] = facing[first + i / 3];
  uint32_t ends = 0;
  for (int i = 0; i < edges; ++i) {
    const uint32_t e = static_cast<uint32_t>(entry[i]), alone = (e >> 1) == static_cast<uint32_t>(3 * first + i);
    const uint32_t behind = (other[i] == mine[i]) ^ (e & 1);
    ends |= alone | (other[i] == 0) | (behind ^ 1);
  }
  return ends == 0;
}

// flags = facing plus the silhouette edges, for triangles [begin, end).
inline void mark_silhouettes(const int32_t* topology, const uint8_t* facing, int64_t begin, int64_t end,
                             uint8_t* flags) {
  std::copy_n(facing + begin, end - begin, flags + begin);
  for (int64_t first = begin; first < end; first += facing_lanes) {
    const int64_t last = std::min(end, first + facing_lanes);
    if (last - first == facing_lanes && all_continue(topology, facing, first)) continue;
    for (int64_t t = first; t < last; ++t) flags[t] |= silhouettes_of(topology, facing, t);
  }
}

template <class T>
void make_flags(int32_t threads, const AntialiasScene<T>& s, uint8_t* flags) {
  Buffer<uint8_t> facing(static_cast<size_t>(s.geometry_views() * s.mesh.triangles));
  for_triangles(threads, s, [&](int64_t view, int64_t begin, int64_t end) {
    face_triangles(s, view, begin, end, facing.data() + view * s.mesh.triangles);
  });
  for_triangles(threads, s, [&](int64_t view, int64_t begin, int64_t end) {
    mark_silhouettes(s.topology, facing.data() + view * s.mesh.triangles, begin, end, flags + view * s.mesh.triangles);
  });
}

}  // namespace lg::surface
