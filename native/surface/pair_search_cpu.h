// Searches for the pairs of neighbouring pixels that may have a crossing, in parallel over triangles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/memory.h"
#include "runtime/threads.h"
#include "surface/antialias.h"
#include "surface/band_marks_cpu.h"
#include "surface/silhouette_pairs.h"
#include "surface/silhouettes_cpu.h"

namespace lg::surface {

// The pairs that one task found in one view, possibly with duplicates.
struct FoundPairs {
  int64_t view = 0;
  Array<PairKey> keys;
};

// Calls body(triangle) for the triangles with silhouette edges. They are few, so flags are tested eight at a time.
template <class Body>
void for_triangles_with_silhouettes(const uint8_t* flags, int64_t begin, int64_t end, Body&& body) {
  constexpr uint64_t eight_edges = 0x0101010101010101u * silhouette_edges;
  int64_t t = begin;
  for (; t + 8 <= end; t += 8) {
    uint64_t eight;
    std::memcpy(&eight, flags + t, 8);
    if (!(eight & eight_edges)) continue;
    for (int64_t i = t; i < t + 8; ++i) {
      if (flags[i] & silhouette_edges) body(i);
    }
  }
  for (; t < end; ++t) {
    if (flags[t] & silhouette_edges) body(t);
  }
}

// Whether edge k of triangle t has to be followed. An edge that is a silhouette for both of its triangles is followed
// only for the first.
template <class T>
bool is_followed(const SurfaceView<T>& surface, int64_t t, int k) {
  if (!(surface.flags[t] & (1 << k))) return false;
  const auto here = static_cast<uint32_t>(3 * t + k), other = static_cast<uint32_t>(surface.topology[here]) >> 1;
  return other >= here || !(surface.flags[other / 3] & (1 << other % 3));
}

// Calls use(line, place) for the pairs (place, place + 1) on the lines of a span.
template <class Use>
void for_pairs(const LineSpan& span, int64_t places, Use&& use) {
  for (int64_t line = span.first; line <= span.last; ++line) {
    const PlaceRange range = places_on_line(span, line, places);
    for (int64_t place = range.first; place <= range.last; ++place) use(line, place);
  }
}

// The pairs that a silhouette edge passes between.
template <class T>
std::vector<FoundPairs> find_silhouette_pairs(int32_t threads, const AntialiasScene<T>& s) {
  const int64_t height = s.image.height, width = s.image.width;
  const int64_t tasks_per_view = divide_up(s.mesh.triangles, triangles_per_task);
  std::vector<FoundPairs> found(static_cast<size_t>(s.image.views * tasks_per_view));
  parallel_for(threads, s.image.views * tasks_per_view, [&](int64_t task, int) {
    const int64_t view = task / tasks_per_view, begin = task % tasks_per_view * triangles_per_task;
    const int64_t end = std::min(s.mesh.triangles, begin + triangles_per_task);
    const SurfaceView<T> surface = s.surface(view);
    Array<PairKey>& keys = found[task].keys;
    found[task].view = view;
    for_triangles_with_silhouettes(surface.flags, begin, end, [&](int64_t t) {
      for (int k = 0; k < 3; ++k) {
        if (!is_followed(surface, t, k)) continue;
        const EdgeSpans spans =
            make_edge_spans(surface.corner(t, (k + 1) % 3), surface.corner(t, (k + 2) % 3), height, width);
        for_pairs(spans.rows, width,
                  [&](int64_t row, int64_t column) { keys.push_back(pair_key(row, column, false)); });
        for_pairs(spans.columns, height,
                  [&](int64_t column, int64_t row) { keys.push_back(pair_key(row, column, true)); });
      }
    });
  });
  return found;
}

}  // namespace lg::surface
