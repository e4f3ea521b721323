// The attributes of a triangle's vertices on the CPU, checked.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "runtime/status.h"
#include "surface/interpolate.h"

namespace lg::surface {

template <class T>
struct AttributeLookup : InterpolateInputs<T> {
  const T* zeros;  // one vertex worth of zeros

  TriangleAttributes<T> attributes(int64_t view, int32_t triangle) const {
    if (LG_UNLIKELY(triangle >= this->triangles)) {
      throw InvalidArgument("frags.tri holds triangle %d, but tri has %lld triangles", static_cast<int>(triangle),
                            static_cast<long long>(this->triangles));
    }
    const int32_t* index = this->tri + 3 * static_cast<int64_t>(triangle);
    const T* base = attributes_of(view);
    TriangleAttributes<T> out;
    for (int k = 0; k < 3; ++k) {
      if (LG_UNLIKELY(index[k] >= this->vertices)) {
        throw InvalidArgument("tri[%d, %d] is %d, but attr has %lld vertices", static_cast<int>(triangle), k,
                              static_cast<int>(index[k]), static_cast<long long>(this->vertices));
      }
      out.a[k] = index[k] < 0 ? zeros : base + index[k] * this->channels;
    }
    return out;
  }

  // Prefetches what attributes() will read: the indices well before the attributes themselves.
  void prefetch_indices(int32_t triangle) const { LG_PREFETCH(this->tri + 3 * static_cast<int64_t>(triangle)); }
  void prefetch_attributes(int64_t view, int32_t triangle) const {
    if (LG_UNLIKELY(triangle >= this->triangles)) return;
    const int32_t* index = this->tri + 3 * static_cast<int64_t>(triangle);
    const T* base = attributes_of(view);
    for (int k = 0; k < 3; ++k) {
      if (LG_LIKELY(index[k] >= 0)) LG_PREFETCH(base + index[k] * this->channels);
    }
  }

 private:
  const T* attributes_of(int64_t view) const {
    return this->attr + (this->attr_views > 1 ? view * this->vertices * this->channels : 0);
  }
};

}  // namespace lg::surface
