// The two kinds of primitive that are projected, Gaussians and surfels, behind one interface.
#pragma once

#include <cstdint>

#include "splat/project_surfel.h"

namespace lg {
namespace splat {

// Components of scale, and of the four outputs, which `Projected` holds consecutively.
struct GaussianKind {
  using Projected = ProjectedGaussian;
  using Gradient = GaussianGradient;
  static constexpr int scales = 3;
  static LG_HD constexpr int size(int output) { return output == 0 ? 2 : output == 1 ? 3 : 1; }
  template <class T>
  static LG_HD bool project(const View& view, const T* mean, const T* quat, const T* scale, Projected* out) {
    return project_gaussian(view, mean, quat, scale, out);
  }
  template <class T>
  static LG_HD bool pull(const View& view, const T* mean, const T* quat, const T* scale, const Projected& grad,
                         Gradient* out, ViewGradient* sum) {
    return pull_gaussian(view, mean, quat, scale, grad, out, sum);
  }
};

struct SurfelKind {
  using Projected = ProjectedSurfel;
  using Gradient = SurfelGradient;
  static constexpr int scales = 2;
  static LG_HD constexpr int size(int output) { return output == 0 ? 2 : output == 1 ? 8 : output == 2 ? 1 : 3; }
  template <class T>
  static LG_HD bool project(const View& view, const T* mean, const T* quat, const T* scale, Projected* out) {
    return project_surfel(view, mean, quat, scale, out);
  }
  template <class T>
  static LG_HD bool pull(const View& view, const T* mean, const T* quat, const T* scale, const Projected& grad,
                         Gradient* out, ViewGradient* sum) {
    return pull_surfel(view, mean, quat, scale, grad, out, sum);
  }
};

// Calls body(output, index of primitive i's numbers in it, index within Projected, how many).
template <class Kind, class Body>
LG_HD void for_outputs(int64_t i, Body&& body) {
  int from = 0;
  LG_UNROLL
  for (int k = 0; k < 4; ++k) {
    body(k, i * Kind::size(k), from, Kind::size(k));
    from += Kind::size(k);
  }
}

}  // namespace splat
}  // namespace lg
