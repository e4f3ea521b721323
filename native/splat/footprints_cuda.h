// Footprints by their number, for the kernels of CUDA.
#pragma once

#include "runtime/cuda/launch.h"
#include "splat/surfel.h"

namespace lg {
namespace splat {

template <class Value>
struct Type {
  using type = Value;
};

// Calls body(Type<Footprint>{}) and returns LG_OK.
template <class T, class Body>
int32_t with_footprint(int32_t footprint, Body&& body) {
  switch (footprint) {
    case 0:
      body(Type<Conic<T>>{});
      return LG_OK;
    case 1:
      body(Type<Spot<T, false>>{});
      return LG_OK;
    case 2:
      body(Type<Spot<T, true>>{});
      return LG_OK;
    case 3:
      body(Type<Sphere<T, false>>{});
      return LG_OK;
    case 4:
      body(Type<Sphere<T, true>>{});
      return LG_OK;
    case 5:
      body(Type<Surfel<T>>{});
      return LG_OK;
    default:
      return reject("there is no footprint %d", static_cast<int>(footprint));
  }
}

}  // namespace splat
}  // namespace lg
