// The rows of positions for the corners of a mesh's triangles.
//
// Images of triangle numbers and index lists come from the caller and may be invalid. On the CPU, an invalid number is
// an error; on CUDA, where no error can be reported, the triangle is skipped.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#if !defined(__CUDACC__) && !defined(LG_CUDA_EMULATED)
#include "runtime/status.h"
#endif

namespace lg {

struct MeshIndex {
  const int32_t* tri;
  int64_t vertices, triangles;
  bool shared;  // one set of positions for all views

  // Rows of positions in all views together.
  LG_HD int64_t rows_in(int64_t views) const { return (shared ? 1 : views) * vertices; }
  LG_HD int64_t first_row(int64_t view) const { return shared ? 0 : view * vertices; }

  // The triangle number of a pixel of frags.tri, or -1 where it shows nothing.
  LG_HD int32_t seen(int32_t triangle) const {
    if (LG_LIKELY(triangle < triangles)) return triangle < 0 ? -1 : triangle;
    reject_triangle(triangle);
    return -1;
  }

  // The row of one corner of a triangle. Both numbers must be valid.
  LG_HD int64_t row(int64_t view, int32_t triangle, int32_t corner) const {
    return first_row(view) + tri[3 * static_cast<int64_t>(triangle) + corner];
  }

  // The rows of a triangle's corners. False for -1 and for an invalid number.
  LG_HD bool rows(int64_t view, int32_t triangle, int64_t (&row)[3]) const {
    if (seen(triangle) < 0) return false;
    for (int k = 0; k < 3; ++k) {
      const int32_t index = tri[3 * static_cast<int64_t>(triangle) + k];
      if (LG_UNLIKELY(index < 0 || index >= vertices)) {
        reject_index(triangle, k, index);
        return false;
      }
      row[k] = first_row(view) + index;
    }
    return true;
  }

 private:
#if defined(__CUDACC__) || defined(LG_CUDA_EMULATED)
  LG_HD void reject_triangle(int32_t) const {}
  LG_HD void reject_index(int32_t, int, int32_t) const {}
#else
  [[noreturn]] LG_NOINLINE void reject_triangle(int32_t triangle) const {
    throw InvalidArgument("frags.tri holds triangle %d, but tri has %lld triangles", static_cast<int>(triangle),
                          static_cast<long long>(triangles));
  }
  [[noreturn]] LG_NOINLINE void reject_index(int32_t triangle, int k, int32_t index) const {
    throw InvalidArgument("tri[%d, %d] is %d, but pos has %lld vertices", static_cast<int>(triangle), k,
                          static_cast<int>(index), static_cast<long long>(vertices));
  }
#endif
};

}  // namespace lg
