// The outputs of one fragment, and the gradients that it adds to its face.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "soft/pixel.h"
#include "soft/scene.h"

namespace lg::soft {

template <class T>
LG_HD void locate_any(const Face<T>& face, T x, T y, Place<T>& at) {
  face.edges == 3 ? locate<3>(face, x, y, at) : locate<4>(face, x, y, at);
}

template <class T>
LG_HD void weigh_any(const Face<T>& face, int32_t flags, const T* line, Weights<T>& out) {
  flags& flag_clip ? weigh<true>(face, line, out) : weigh<false>(face, line, out);
}

template <class T>
struct FragmentOutputs {
  int32_t* tri;
  T *z, *dist, *bary;

  LG_HD void write_pad(int64_t i) const {
    tri[i] = -1;
    z[i] = dist[i] = T(0);
    for (int k = 0; k < 3; ++k) bary[3 * i + k] = T(0);
  }

  // Writes fragment i, which shows face `number`; `column` and `row` count from the face's anchor.
  LG_HD void write(int64_t i, const Face<T>& face, int32_t number, int32_t flags, int32_t column, int32_t row,
                   T step) const {
    Place<T> at;
    locate_any(face, T(column) * step, -T(row) * step, at);
    Weights<T> weights;
    weigh_any(face, flags, at.line, weights);
    tri[i] = number;
    z[i] = weights.z;
    dist[i] = at.inner >= 0 ? -at.dist : at.dist;
    for (int k = 0; k < 3; ++k) bary[3 * i + k] = weights.bary[k];
  }
};

template <class T>
struct FragmentGradients {
  const int32_t* tri;
  const T *z, *dist, *bary;  // any may be null

  // Whether fragment i has a gradient other than zero.
  LG_HD bool matter(int64_t i) const {
    return (dist && dist[i] != 0) || (z && z[i] != 0) ||
           (bary && (bary[3 * i] != 0 || bary[3 * i + 1] != 0 || bary[3 * i + 2] != 0));
  }

  // Calls add(which, value) for the contributions of fragment i to its face's sums (pixel.h).
  template <class Add>
  LG_HD void pull_back(int64_t i, const Face<T>& face, int32_t flags, int32_t column, int32_t row, T step,
                       Add&& add) const {
    const T grad_dist = dist ? dist[i] : T(0), grad_z = z ? z[i] : T(0);
    T grad_bary[3] = {0, 0, 0};
    for (int k = 0; k < 3 && bary; ++k) grad_bary[k] = bary[3 * i + k];
    const T x = T(column) * step, y = -T(row) * step;
    Place<T> at;
    locate_any(face, x, y, at);
    const T unsigned_grad = at.inner >= 0 ? -grad_dist : grad_dist;
    if (grad_dist != 0) {
      face.edges == 3 ? distance_gradient<3>(face, x, y, at, unsigned_grad, add)
                      : distance_gradient<4>(face, x, y, at, unsigned_grad, add);
    }
    if (grad_z == 0 && grad_bary[0] == 0 && grad_bary[1] == 0 && grad_bary[2] == 0) return;
    Weights<T> at_weights;
    weigh_any(face, flags, at.line, at_weights);
    if (!at_weights.valid) return;
    flags& flag_clip
        ? weight_gradient<true>(face, at.line, at_weights, T(column), T(row), grad_bary, grad_z, T(0), add)
        : weight_gradient<false>(face, at.line, at_weights, T(column), T(row), grad_bary, grad_z, T(0), add);
  }
};

template <class T>
FragmentGradients<T> make_fragment_gradients(const int32_t* frag_tri, const void* z, const void* dist,
                                             const void* bary) {
  return {frag_tri, static_cast<const T*>(z), static_cast<const T*>(dist), static_cast<const T*>(bary)};
}

}  // namespace lg::soft
