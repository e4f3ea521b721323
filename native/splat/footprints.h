// The available footprints and blendings, by their numbers in lumigrad.h.
#pragma once

#include <cstdint>
#include <type_traits>

#include "splat/blending.h"
#include "splat/conic.h"
#include "splat/sphere.h"
#include "splat/spot.h"
#include "splat/surfel.h"

namespace lg {
namespace splat {

template <class Value>
struct Type {
  using type = Value;
};

// Calls body(Type<Footprint>{}). False if there is no such footprint.
template <class T, class Body>
bool with_footprint(int32_t footprint, Body&& body) {
  switch (footprint) {
    case 0:
      body(Type<Conic<T>>{});
      return true;
    case 1:
      body(Type<Spot<T, false>>{});
      return true;
    case 2:
      body(Type<Spot<T, true>>{});
      return true;
    case 3:
      body(Type<Sphere<T, false>>{});
      return true;
    case 4:
      body(Type<Sphere<T, true>>{});
      return true;
    case 5:
      body(Type<Surfel<T>>{});
      return true;
    default:
      return false;
  }
}

template <Blend blend>
using BlendConstant = std::integral_constant<Blend, blend>;

// Calls body(Type<Footprint>{}, BlendConstant<blend>{}). False if there is no such footprint, or not with this
// blending.
template <class T, class Body>
bool with_blend(int32_t footprint, int32_t blend, Body&& body) {
  bool fits = false;
  const auto use = [&](auto shape, auto blending) {
    if (blend != static_cast<int32_t>(decltype(blending)::value)) return;
    body(shape, blending);
    fits = true;
  };
  with_footprint<T>(footprint, [&](auto shape) {
    using Footprint = typename decltype(shape)::type;
    if constexpr (Footprint::needs_plane) {
      use(shape, BlendConstant<Blend::softmax>{});
    } else {
      use(shape, BlendConstant<Blend::alpha>{});
      if constexpr (Footprint::extras == 0) {
        use(shape, BlendConstant<Blend::normalised>{});
        use(shape, BlendConstant<Blend::nearest>{});
      }
    }
  });
  return fits;
}

}  // namespace splat
}  // namespace lg
