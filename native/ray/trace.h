// What every ray of a batch hits, and the gradients of hits.
#pragma once

#include <cstdint>

#include "parallel/mesh_index.h"
#include "ray/bvh.h"
#include "ray/ray.h"
#include "ray/traverse.h"
#include "runtime/config.h"

namespace lg::ray {

template <class T>
struct RayBatch {
  const T *origins, *directions;
  const T* limits;  // t_min and t_max of each ray, or null: those for all
  T t_min, t_max;

  LG_HD Ray<T> operator[](int64_t i) const {
    const T *o = origins + 3 * i, *d = directions + 3 * i;
    return {{o[0], o[1], o[2]}, {d[0], d[1], d[2]}, limits ? limits[2 * i] : t_min, limits ? limits[2 * i + 1] : t_max};
  }
};

template <class T>
RayBatch<T> make_batch(const void* origins, const void* directions, const void* limits, double t_min, double t_max) {
  return {static_cast<const T*>(origins), static_cast<const T*>(directions), static_cast<const T*>(limits),
          static_cast<T>(t_min), static_cast<T>(t_max)};
}

template <class T>
BvhView<T> make_view(const float* boxes, const int32_t* children, const void* corners, const int32_t* leaf_tri,
                     const float* bounds, int64_t nodes, int64_t leaves, int64_t triangles) {
  return {boxes, children, static_cast<const T*>(corners), leaf_tri, bounds, nodes, leaves, triangles};
}

template <class T>
struct HitArrays {
  int32_t* tri;
  T *bary, *t;

  LG_HD void write(int64_t i, const Hit<T>& hit) const {
    tri[i] = hit.tri;
    bary[2 * i] = hit.u;
    bary[2 * i + 1] = hit.v;
    t[i] = hit.t;
  }
};

template <class T, int capacity>
struct TraceRays {
  BvhView<T> bvh;
  RayBatch<T> rays;
  HitArrays<T> hits;

  LG_HD void operator()(int64_t i) const { hits.write(i, closest_hit<capacity>(bvh, rays[i])); }
};

template <class T, int capacity>
struct FindOccluded {
  BvhView<T> bvh;
  RayBatch<T> rays;
  uint8_t* hit;

  LG_HD void operator()(int64_t i) const { hit[i] = any_hit<capacity>(bvh, rays[i]); }
};

// ---- Gradients ------------------------------------------------------------------------------------------------
//
// A hit x = o + t d = sum of b_k v_k moves with the ray and with the corners v_k of its triangle. With n the normal
// (v_0 - v_2) x (v_1 - v_2), e_k the edge opposite of v_k, g_k = n x e_k / n.n the slope of b_k in the plane, and
// G_k = g_k - (g_k.d) / (n.d) n its slope where x is moved off the plane and back along d:
//   dt = n.(sum of b_k dv_k - do - t dd) / (n.d)
//   db_k = G_k.(do + t dd - sum of b_j dv_j)
// So a gradient (a_t, a_0, a_1) of t and of b_0 and b_1 is, with q = a_0 G_0 + a_1 G_1 - a_t / (n.d) n, the gradient q
// of o, t q of d, and -b_k q of v_k.

template <class T>
struct HitGradient {
  double q[3], t, b[3];
  bool exists;
};

template <class T>
LG_HD HitGradient<T> hit_gradient(const T* const (&corner)[3], const T* direction, const T* bary, double t, double a_t,
                                  double a_u, double a_v) {
  double e0[3], e1[3], d[3];  // from vertex 2
  for (int a = 0; a < 3; ++a) {
    e0[a] = double{corner[0][a]} - corner[2][a];
    e1[a] = double{corner[1][a]} - corner[2][a];
    d[a] = direction[a];
  }
  const double n[3] = {e0[1] * e1[2] - e0[2] * e1[1], e0[2] * e1[0] - e0[0] * e1[2], e0[0] * e1[1] - e0[1] * e1[0]};
  // n x (opposite edge): e1 is opposite of vertex 0 and -e0 of vertex 1, in the direction in which b grows.
  const double g0[3] = {e1[1] * n[2] - e1[2] * n[1], e1[2] * n[0] - e1[0] * n[2], e1[0] * n[1] - e1[1] * n[0]};
  const double g1[3] = {n[1] * e0[2] - n[2] * e0[1], n[2] * e0[0] - n[0] * e0[2], n[0] * e0[1] - n[1] * e0[0]};
  double nn = 0, nd = 0, gd0 = 0, gd1 = 0;
  for (int a = 0; a < 3; ++a) {
    nn += n[a] * n[a];
    nd += n[a] * d[a];
    gd0 += g0[a] * d[a];
    gd1 += g1[a] * d[a];
  }
  HitGradient<T> out;
  const double along = (a_t + (a_u * gd0 + a_v * gd1) / nn) / nd;
  double all = 0;
  for (int a = 0; a < 3; ++a) {
    out.q[a] = (a_u * g0[a] + a_v * g1[a]) / nn - along * n[a];
    all += out.q[a];
  }
  out.t = t;
  out.b[0] = bary[0];
  out.b[1] = bary[1];
  out.b[2] = 1 - out.b[0] - out.b[1];
  out.exists = is_finite(all);
  return out;
}

template <class T>
struct PullBackHits {
  const T *directions, *vertices;
  MeshIndex mesh;
  const int32_t* hit_tri;
  const T *bary, *t, *grad_bary, *grad_t;  // gradients may be null
  T *grad_origins, *grad_directions;

  // Writes the gradients of a ray; whether its triangle's corners have any, which go to value.
  LG_HD bool operator()(int64_t i, T (&value)[9]) const {
    int64_t row[3];
    HitGradient<T> g;
    g.exists = mesh.rows(0, hit_tri[i], row);
    if (g.exists) {
      const T* const corner[3] = {vertices + 3 * row[0], vertices + 3 * row[1], vertices + 3 * row[2]};
      g = hit_gradient(corner, directions + 3 * i, bary + 2 * i, t[i], grad_t ? grad_t[i] : T(0),
                       grad_bary ? grad_bary[2 * i] : T(0), grad_bary ? grad_bary[2 * i + 1] : T(0));
    }
    for (int a = 0; a < 3; ++a) {
      const double q = g.exists ? g.q[a] : 0;
      if (grad_origins) grad_origins[3 * i + a] = static_cast<T>(q);
      if (grad_directions) grad_directions[3 * i + a] = static_cast<T>(g.exists ? g.t * q : 0);
      for (int k = 0; k < 3; ++k) value[3 * k + a] = static_cast<T>(g.exists ? -g.b[k] * q : 0);
    }
    return g.exists;
  }
};

template <class T>
PullBackHits<T> make_pull_back(const void* directions, const void* vertices, const int32_t* faces,
                               const int32_t* hit_tri, const void* bary, const void* t, int64_t vertex_count,
                               int64_t triangles, const void* grad_bary, const void* grad_t, void* grad_origins,
                               void* grad_directions) {
  return {static_cast<const T*>(directions),
          static_cast<const T*>(vertices),
          {faces, vertex_count, triangles, true},
          hit_tri,
          static_cast<const T*>(bary),
          static_cast<const T*>(t),
          static_cast<const T*>(grad_bary),
          static_cast<const T*>(grad_t),
          static_cast<T*>(grad_origins),
          static_cast<T*>(grad_directions)};
}

}  // namespace lg::ray
