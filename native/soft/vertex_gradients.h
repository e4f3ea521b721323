// Converts the sums of a face's gradients over its pixels to the gradients of its three vertices.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "soft/face.h"
#include "soft/pixel.h"

namespace lg::soft {

// Adds the gradient of the screen position of an edge's end to its vertices: out[3][x, y, z, w].
LG_HD void end_gradient(const FaceFrame& f, const Viewport& view, const EdgeEnd& end, double gx, double gy,
                        double out[3][4]) {
  double point[3], t;
  end_point(f, end, point, &t);
  const double inverse = 1 / point[2];
  const double g[3] = {gx * inverse, gy * inverse, -(gx * point[0] + gy * point[1]) * inverse * inverse};
  const int i = end.from, j = end.to;
  double grad_t = 0;
  for (int k = 0; k < 2; ++k) {
    const int v = k == 0 ? i : j;
    const double share = k == 0 ? 1 - t : t;
    out[v][0] += share * g[0] * view.unit_x;
    out[v][1] += share * g[1] * view.unit_y;
    out[v][3] += share * (g[2] - f.anchor_x * view.unit_x * g[0] - f.anchor_y * view.unit_y * g[1]);
  }
  if (i == j) return;
  grad_t = g[0] * (f.x[j] - f.x[i]) + g[1] * (f.y[j] - f.y[i]) + g[2] * (f.w[j] - f.w[i]);
  const double near_i = f.z[i] + f.w[i], near_j = f.z[j] + f.w[j], gap = near_i - near_j;
  const double to_i = -grad_t * near_j / (gap * gap), to_j = grad_t * near_i / (gap * gap);
  out[i][2] += to_i, out[i][3] += to_i;
  out[j][2] += to_j, out[j][3] += to_j;
}

// Converts a face's sums for its edges to gradients of its vertices.
LG_HD void edges_to_vertices(const FaceFrame& f, const Viewport& view, const double* sums, double out[3][4]) {
  for (int e = 0; e < f.edges; ++e) {
    if (!has_edge(f, e)) continue;
    const double nx = f.line[e][0], ny = f.line[e][1];
    for (int k = 0; k < 2; ++k) {
      const double across = sums[4 * e + 2 * k], along = sums[4 * e + 2 * k + 1];
      if (across == 0 && along == 0) continue;
      end_gradient(f, view, f.end[e][k], across * nx + along * ny, across * ny - along * nx, out);
    }
  }
}

// Adds the vertex gradients that follow from the gradients plane[i][1, column, row] of the planes c_i(column, row) =
// a_i / det of a face.
LG_HD void planes_to_vertices(const FaceFrame& f, const Viewport& view, const double plane[3][3], double out[3][4]) {
  double a[3], ax[3], ay[3], det = 0;
  const double sx = view.step, sy = -view.step;
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    a[i] = f.x[j] * f.y[k] - f.y[j] * f.x[k];
    ax[i] = f.y[j] * f.w[k] - f.w[j] * f.y[k];
    ay[i] = f.w[j] * f.x[k] - f.x[j] * f.w[k];
    det += f.w[i] * a[i];
  }
  double grad_det = 0, gx[3] = {0, 0, 0}, gy[3] = {0, 0, 0}, gw[3] = {0, 0, 0};
  for (int i = 0; i < 3; ++i) {
    grad_det -= (plane[i][0] * a[i] + plane[i][1] * sx * ax[i] + plane[i][2] * sy * ay[i]) / (det * det);
  }
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    const double at = plane[i][0] / det + grad_det * f.w[i], dx = plane[i][1] * sx / det, dy = plane[i][2] * sy / det;
    gw[i] += grad_det * a[i];
    gx[j] += at * f.y[k] - dy * f.w[k];
    gy[j] += dx * f.w[k] - at * f.x[k];
    gw[j] += dy * f.x[k] - dx * f.y[k];
    gx[k] += dy * f.w[j] - at * f.y[j];
    gy[k] += at * f.x[j] - dx * f.w[j];
    gw[k] += dx * f.y[j] - dy * f.x[j];
  }
  for (int i = 0; i < 3; ++i) {
    out[i][0] += gx[i] * view.unit_x;
    out[i][1] += gy[i] * view.unit_y;
    out[i][3] += gw[i] - f.anchor_x * view.unit_x * gx[i] - f.anchor_y * view.unit_y * gy[i];
  }
}

// Converts a face's sums for its weights to gradients of its vertices.
LG_HD void weights_to_vertices(const FaceFrame& f, const Viewport& view, int32_t flags, const double* sums,
                               double out[3][4]) {
  const bool affine = is_affine(f.edges, flags);
  double plane[3][3];
  for (int i = 0; i < 3; ++i) {
    const double scale = affine ? f.w[i] : 1;
    for (int k = 0; k < 3; ++k) plane[i][k] = sums[edge_sums + 3 * i + k] * scale;
    const double grad_z = sums[edge_sums + 9 + i], grad_w = sums[edge_sums + 12 + i];
    if (affine) {  // m_i = c_i w_i and the vertex's depth is z_i / w_i
      const double* line = f.line[i];
      const double* sum = sums + edge_sums + 3 * i;
      out[i][2] += grad_z / f.w[i];
      out[i][3] += f.weight[i] * (line[2] * sum[0] + view.step * (line[0] * sum[1] - line[1] * sum[2])) -
                   grad_z * f.z[i] / (f.w[i] * f.w[i]);
    } else {
      out[i][2] += grad_z;
      out[i][3] += grad_w;
    }
  }
  planes_to_vertices(f, view, plane, out);
}

// Converts a face's sums to the gradients of x, y, z, w of its three vertices. Sums of the weights are used only if
// `weights` is set.
template <class T>
LG_HD void sums_to_vertices(const FaceFrame& f, const Viewport& view, int32_t flags, const T* sums, bool weights,
                            T* out) {
  double all[all_sums], vertex[3][4] = {};
  for (int k = 0; k < all_sums; ++k) all[k] = weights || k < edge_sums ? sums[k] : T(0);
  edges_to_vertices(f, view, all, vertex);
  if (weights) weights_to_vertices(f, view, flags, all, vertex);
  for (int k = 0; k < 12; ++k) out[k] = static_cast<T>(vertex[k / 4][k % 4]);
}

}  // namespace lg::soft
