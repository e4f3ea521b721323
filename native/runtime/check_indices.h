// Checks of vertex indices and of ranges of triangles, made before anything is read with them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/config.h"
#include "runtime/status.h"

namespace lg {

// Throws if an index of triangles [first, last) of `tri` is not below `vertices`. argument: the one that the vertices
// belong to.
inline void check_indices(const int32_t* tri, int64_t first, int64_t last, int64_t vertices,
                          const char* argument = "pos") {
  // As unsigned numbers, negative indices are beyond 2^31.
  const auto limit = static_cast<uint32_t>(std::min<int64_t>(vertices, int64_t{1} << 31));
  uint32_t wrong = 0;
  for (int64_t i = 3 * first; i < 3 * last; ++i) wrong |= static_cast<uint32_t>(tri[i]) >= limit;
  for (int64_t i = 3 * first; LG_UNLIKELY(wrong) && i < 3 * last; ++i) {
    if (static_cast<uint32_t>(tri[i]) < limit) continue;
    throw InvalidArgument("tri[%lld, %d] is %d, but %s has %lld vertices", static_cast<long long>(i / 3),
                          static_cast<int>(i % 3), static_cast<int>(tri[i]), argument,
                          static_cast<long long>(vertices));
  }
}

// Throws if the range (first, count) of a view is not within the triangles. ranges: [views, 2], or null.
inline void check_ranges(const int64_t* ranges, int64_t views, int64_t triangles) {
  for (int64_t view = 0; ranges && view < views; ++view) {
    const int64_t first = ranges[2 * view], count = ranges[2 * view + 1];
    if (first < 0 || count < 0 || first > triangles - count) {
      throw InvalidArgument("ranges[%lld] is (%lld, %lld), but tri has %lld triangles", static_cast<long long>(view),
                            static_cast<long long>(first), static_cast<long long>(count),
                            static_cast<long long>(triangles));
    }
  }
}

}  // namespace lg
