// One face and one pixel of soft rasterization: distance, weights and depth, and the way back to the face.
//
// The definition is lumigrad.reference.soft. A face is set up around an anchor pixel, in float64, as the lines of
// its edges in units of half the image's shorter side; pixels then evaluate them in the tensor's own type. The line
// of an edge is computed alike from both sides of it (but for the sign), so that neighbours leave no gaps.
// What pixels do has no branches: loops over pixels become vector code.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/config.h"

namespace lg::soft {

constexpr int soft_max_edges = 4;     // three of the triangle and, where it is cut, one along the near plane
constexpr double soft_absent = 1e15;  // where an edge that does not exist lies
constexpr int32_t soft_perspective = 1, soft_clip = 2, soft_cull = 4;

// Where pixels lie: in NDC and in isotropic units, in which the shorter side spans [-1, 1].
struct SoftViewport {
  int32_t width, height;
  double unit_x, unit_y;  // isotropic units per NDC unit
  double step;            // isotropic units per pixel
};

LG_HD SoftViewport make_soft_viewport(int64_t width, int64_t height) {
  const double shorter = static_cast<double>(width < height ? width : height);
  return {static_cast<int32_t>(width), static_cast<int32_t>(height), static_cast<double>(width) / shorter,
          static_cast<double>(height) / shorter, 2 / shorter};
}

// An end of an edge: vertex `from`, or, when `to` differs, the point at which the edge from `from` (in front of the
// near plane) to `to` (behind it) is cut.
struct SoftEnd {
  int8_t from, to;
};

// The float64 geometry of a face seen from the anchor pixel.
struct SoftFrame {
  double x[3], y[3], w[3], z[3];                    // x, y relative to the anchor, in isotropic units times w
  double line[soft_max_edges][3];                   // x, y, constant; unit normal, positive inside
  double from[soft_max_edges], to[soft_max_edges];  // along (ny, -nx)
  SoftEnd end[soft_max_edges][2];
  double weight[3];           // line i times this is c_i
  double anchor_x, anchor_y;  // NDC
  int edges;
};

// Every edge is `edges` floats of this; what is constant over the pixels.
template <class T>
struct SoftFace {
  T nx[soft_max_edges], ny[soft_max_edges], c[soft_max_edges];
  T from[soft_max_edges], to[soft_max_edges];
  T weight[3], z[3], w[3];
  int32_t edges;
};

LG_HD bool soft_finite(double value) { return value - value == 0; }

LG_HD bool soft_edge_present(const SoftFrame& f, int e) { return f.end[e][0].from >= 0; }

// The point at an end of an edge: homogeneous (x, y, w), and the parameter t of the cut.
LG_HD void soft_end_point(const SoftFrame& f, const SoftEnd& end, double point[3], double* t) {
  const int i = end.from, j = end.to;
  const double near_i = f.z[i] + f.w[i], near_j = f.z[j] + f.w[j];
  *t = i == j ? 0 : near_i / (near_i - near_j);
  point[0] = f.x[i] + *t * (f.x[j] - f.x[i]);
  point[1] = f.y[i] + *t * (f.y[j] - f.y[i]);
  point[2] = f.w[i] + *t * (f.w[j] - f.w[i]);
}

// Normalises a line and places its ends. False where it has no direction or an end has no place.
LG_HD bool soft_finish_edge(SoftFrame& f, int e, double sign) {
  double* line = f.line[e];
  const double length = sqrt(line[0] * line[0] + line[1] * line[1]);
  if (!(length > 0) || !soft_finite(length)) return false;
  for (int k = 0; k < 3; ++k) line[k] *= sign / length;
  if (e < 3) f.weight[e] = length;
  f.from[e] = soft_absent;
  f.to[e] = 2 * soft_absent;
  if (!soft_edge_present(f, e)) return true;
  double at[2];
  for (int k = 0; k < 2; ++k) {
    double point[3], t;
    soft_end_point(f, f.end[e][k], point, &t);
    if (!(point[2] > 0)) return false;
    at[k] = (line[1] * point[0] - line[0] * point[1]) / point[2];
  }
  const bool swap = at[0] > at[1];  // only where rounding decides, and for the near edge
  const SoftEnd first = f.end[e][0];
  if (swap) f.end[e][0] = f.end[e][1], f.end[e][1] = first;
  f.from[e] = at[swap ? 1 : 0];
  f.to[e] = at[swap ? 0 : 1];
  return true;
}

// Which ends the edges of the visible part have; `behind` is a bit per vertex.
LG_HD void soft_choose_ends(SoftFrame& f, unsigned behind) {
  int cuts = 0;
  SoftEnd cut[2] = {{0, 0}, {0, 0}};
  for (int e = 0; e < 3; ++e) {
    const int8_t j = static_cast<int8_t>((e + 1) % 3), k = static_cast<int8_t>((e + 2) % 3);
    const bool j_behind = behind >> j & 1, k_behind = behind >> k & 1;
    f.end[e][0] = {j, j};
    f.end[e][1] = {k, k};
    if (j_behind && k_behind) {
      f.end[e][0].from = -1;
    } else if (j_behind || k_behind) {
      const SoftEnd end = j_behind ? SoftEnd{k, j} : SoftEnd{j, k};
      f.end[e][j_behind ? 0 : 1] = end;
      if (cuts < 2) cut[cuts++] = end;
    }
  }
  f.edges = 3;
  if (cuts == 2) {
    f.end[3][0] = cut[0];
    f.end[3][1] = cut[1];
    f.edges = 4;
  }
}

// p[corner][x, y, z, w]; the anchor is the centre of pixel (column, row). False where there is nothing to draw.
LG_HD bool make_soft_frame(const double p[3][4], int64_t column, int64_t row, const SoftViewport& view, int32_t flags,
                           SoftFrame& f) {
  unsigned behind = 0;
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 4; ++k) {
      if (!soft_finite(p[i][k])) return false;
    }
    if (p[i][2] + p[i][3] < 0) {
      behind |= 1u << i;
    } else if (!(p[i][3] > 0)) {
      return false;
    }
  }
  if (behind == 7) return false;
  f.anchor_x = (2 * static_cast<double>(column) + 1) / view.width - 1;
  f.anchor_y = 1 - (2 * static_cast<double>(row) + 1) / view.height;
  for (int i = 0; i < 3; ++i) {
    f.w[i] = p[i][3];
    f.z[i] = p[i][2];
    f.x[i] = (p[i][0] - f.anchor_x * p[i][3]) * view.unit_x;
    f.y[i] = (p[i][1] - f.anchor_y * p[i][3]) * view.unit_y;
  }
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    f.line[i][0] = f.y[j] * f.w[k] - f.w[j] * f.y[k];
    f.line[i][1] = f.w[j] * f.x[k] - f.x[j] * f.w[k];
    f.line[i][2] = f.x[j] * f.y[k] - f.y[j] * f.x[k];
  }
  const double det = f.w[0] * f.line[0][2] + f.w[1] * f.line[1][2] + f.w[2] * f.line[2][2];
  const double size = det < 0 ? -det : det;
  if (!(size > 0) || !soft_finite(1 / size) || !soft_finite(size)) return false;
  if ((flags & soft_cull) && det < 0) return false;
  soft_choose_ends(f, behind);
  for (int k = 0; k < 3 && f.edges == 4; ++k) {
    f.line[3][k] = 0;
    for (int i = 0; i < 3; ++i) f.line[3][k] += f.line[i][k] * (f.z[i] + f.w[i]);
  }
  for (int e = 0; e < f.edges; ++e) {
    if (!soft_finish_edge(f, e, det < 0 ? -1 : 1)) return false;
  }
  for (int i = 0; i < 3; ++i) f.weight[i] /= size;
  return true;
}

// Weights are affine on the screen only where all vertices have a place on it.
LG_HD bool soft_is_affine(int edges, int32_t flags) { return !(flags & soft_perspective) && edges == 3; }

template <class T>
LG_HD void make_soft_face(const SoftFrame& f, int32_t flags, SoftFace<T>& face) {
  const bool affine = soft_is_affine(f.edges, flags);
  face.edges = f.edges;
  for (int e = 0; e < f.edges; ++e) {
    face.nx[e] = static_cast<T>(f.line[e][0]);
    face.ny[e] = static_cast<T>(f.line[e][1]);
    face.c[e] = static_cast<T>(f.line[e][2]);
    face.from[e] = static_cast<T>(f.from[e]);
    face.to[e] = static_cast<T>(f.to[e]);
  }
  for (int i = 0; i < 3; ++i) {
    face.weight[i] = static_cast<T>(affine ? f.weight[i] * f.w[i] : f.weight[i]);
    face.z[i] = static_cast<T>(affine ? f.z[i] / f.w[i] : f.z[i]);
    face.w[i] = affine ? T(1) : static_cast<T>(f.w[i]);
  }
}

// ---- One pixel ------------------------------------------------------------------------------------------------

template <class T>
LG_HD T soft_min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
LG_HD T soft_max(T a, T b) {
  return a > b ? a : b;
}

// How far beyond an edge's ends a place along its line lies: negative before, positive behind, else zero.
template <class T>
LG_HD T soft_overshoot(const SoftFace<T>& f, int e, T s) {
  return soft_min(s - f.from[e], T(0)) + soft_max(s - f.to[e], T(0));
}

template <class T>
struct SoftPlace {
  T line[soft_max_edges];  // distance from the edges' lines, positive inside
  T inner;                 // the least of them: the pixel is inside where it is not negative
  T dist;                  // squared distance to the nearest edge
};

template <int Edges, class T>
LG_HD void soft_locate(const SoftFace<T>& f, T x, T y, SoftPlace<T>& at) {
  for (int e = 0; e < Edges; ++e) {
    at.line[e] = (f.nx[e] * x + f.ny[e] * y) + f.c[e];
    const T beyond = soft_overshoot(f, e, f.ny[e] * x - f.nx[e] * y);
    const T d = at.line[e] * at.line[e] + beyond * beyond;
    at.inner = e == 0 ? at.line[e] : soft_min(at.inner, at.line[e]);
    at.dist = e == 0 ? d : soft_min(at.dist, d);
  }
}

template <class T>
struct SoftWeights {
  T bary[3];
  T inverse_sum;  // of the unnormalised weights
  T below;        // sum bary w: the clip coordinate w of the point, where weights are perspective-correct
  T z;
  bool valid;
};

template <bool Clip, class T>
LG_HD void soft_weigh(const SoftFace<T>& f, const T* line, SoftWeights<T>& out) {
  T m[3];
  for (int i = 0; i < 3; ++i) {
    m[i] = line[i] * f.weight[i];
    m[i] = Clip ? soft_max(m[i], T(0)) : m[i];
  }
  const T sum = (m[0] + m[1]) + m[2];
  out.inverse_sum = 1 / sum;
  for (int i = 0; i < 3; ++i) out.bary[i] = m[i] * out.inverse_sum;
  out.below = (out.bary[0] * f.w[0] + out.bary[1] * f.w[1]) + out.bary[2] * f.w[2];
  out.z = soft_max(((out.bary[0] * f.z[0] + out.bary[1] * f.z[1]) + out.bary[2] * f.z[2]) / out.below, T(-1));
  out.valid = (sum > 0) & (out.below > 0);
}

// ---- Gradients ------------------------------------------------------------------------------------------------

// Sums over the pixels of a face, of gradients with respect to what it is made of. S is T, or T for each of
// several lanes.
constexpr int soft_edge_sums = 4 * soft_max_edges;  // per edge: first end across and along it, second end likewise
constexpr int soft_weight_sums = 15;                // m_i times (1, column, row); z_i; w_i
constexpr int soft_sums = soft_edge_sums + soft_weight_sums;

// From the gradient of the squared unsigned distance to that of the ends of the nearest edge.
template <int Edges, class T, class Add>
LG_HD void soft_distance_gradient(const SoftFace<T>& f, T x, T y, const SoftPlace<T>& at, T grad, Add&& add) {
  // Q = A + t (B - A) is the nearest point, p - Q = line n + beyond u; d |p - Q|^2 / dA = -2 (1 - t) (p - Q).
  T left = -2 * grad;  // only the first of several nearest edges counts
  for (int e = 0; e < Edges; ++e) {
    const T s = f.ny[e] * x - f.nx[e] * y;
    const T beyond = soft_overshoot(f, e, s);
    const T length = f.to[e] - f.from[e];
    const T within = soft_min(soft_max(s - f.from[e], T(0)), length);
    const T t = within / (length > 0 ? length : T(1));
    const T d = at.line[e] * at.line[e] + beyond * beyond;
    const T g = d == at.dist ? left : T(0);
    left = d == at.dist ? T(0) : left;
    add(4 * e, g * (1 - t) * at.line[e]);
    add(4 * e + 1, g * (1 - t) * beyond);
    add(4 * e + 2, g * t * at.line[e]);
    add(4 * e + 3, g * t * beyond);
  }
}

// From gradients of bary, z and `below` to those of the unnormalised weights and of the vertices' z and w.
// column, row: of the pixel, from the anchor.
template <bool Clip, class T, class Add>
LG_HD void soft_weight_gradient(const SoftFace<T>& f, const T* line, const SoftWeights<T>& at, T column, T row,
                                const T grad_bary[3], T grad_z, T grad_below, Add&& add) {
  const T through_z = at.z > -1 ? grad_z / at.below : T(0);
  const T through_w = grad_below - through_z * at.z;
  T g[3];
  for (int i = 0; i < 3; ++i) g[i] = grad_bary[i] + through_z * f.z[i] + through_w * f.w[i];
  const T mean = (g[0] * at.bary[0] + g[1] * at.bary[1]) + g[2] * at.bary[2];
  for (int i = 0; i < 3; ++i) {
    const bool free = !Clip || line[i] > 0;
    const T m = free ? (g[i] - mean) * at.inverse_sum : T(0);
    add(soft_edge_sums + 3 * i, m);
    add(soft_edge_sums + 3 * i + 1, m * column);
    add(soft_edge_sums + 3 * i + 2, m * row);
    add(soft_edge_sums + 9 + i, through_z * at.bary[i]);
    add(soft_edge_sums + 12 + i, through_w * at.bary[i]);
  }
}

// Adds the gradient of an end's place on the screen to its vertices: out[3][x, y, z, w].
LG_HD void soft_end_gradient(const SoftFrame& f, const SoftViewport& view, const SoftEnd& end, double gx, double gy,
                             double out[3][4]) {
  double point[3], t;
  soft_end_point(f, end, point, &t);
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

// The part of the edges, from a face's sums to its vertices.
LG_HD void soft_edges_to_vertices(const SoftFrame& f, const SoftViewport& view, const double* sums, double out[3][4]) {
  for (int e = 0; e < f.edges; ++e) {
    if (!soft_edge_present(f, e)) continue;
    const double nx = f.line[e][0], ny = f.line[e][1];
    for (int k = 0; k < 2; ++k) {
      const double across = sums[4 * e + 2 * k], along = sums[4 * e + 2 * k + 1];
      if (across == 0 && along == 0) continue;
      soft_end_gradient(f, view, f.end[e][k], across * nx + along * ny, across * ny - along * nx, out);
    }
  }
}

// The planes c_i(column, row) = a_i / det of the frame's face have the gradient plane[i][1, column, row]: to vertices.
LG_HD void soft_planes_to_vertices(const SoftFrame& f, const SoftViewport& view, const double plane[3][3],
                                   double out[3][4]) {
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

// The part of the weights, from a face's sums to its vertices.
LG_HD void soft_weights_to_vertices(const SoftFrame& f, const SoftViewport& view, int32_t flags, const double* sums,
                                    double out[3][4]) {
  const bool affine = soft_is_affine(f.edges, flags);
  double plane[3][3];
  for (int i = 0; i < 3; ++i) {
    const double scale = affine ? f.w[i] : 1;
    for (int k = 0; k < 3; ++k) plane[i][k] = sums[soft_edge_sums + 3 * i + k] * scale;
    const double grad_z = sums[soft_edge_sums + 9 + i], grad_w = sums[soft_edge_sums + 12 + i];
    if (affine) {  // m_i = c_i w_i and the vertex's depth is z_i / w_i
      const double* line = f.line[i];
      const double* sum = sums + soft_edge_sums + 3 * i;
      out[i][2] += grad_z / f.w[i];
      out[i][3] += f.weight[i] * (line[2] * sum[0] + view.step * (line[0] * sum[1] - line[1] * sum[2])) -
                   grad_z * f.z[i] / (f.w[i] * f.w[i]);
    } else {
      out[i][2] += grad_z;
      out[i][3] += grad_w;
    }
  }
  soft_planes_to_vertices(f, view, plane, out);
}

// From a face's sums to its three vertices' x, y, z, w. Sums of the weights are looked at only if asked for.
template <class T>
LG_HD void soft_finish(const SoftFrame& f, const SoftViewport& view, int32_t flags, const T* sums, bool weights,
                       T* out) {
  double all[soft_sums], vertex[3][4] = {};
  for (int k = 0; k < soft_sums; ++k) all[k] = weights || k < soft_edge_sums ? sums[k] : T(0);
  soft_edges_to_vertices(f, view, all, vertex);
  if (weights) soft_weights_to_vertices(f, view, flags, all, vertex);
  for (int k = 0; k < 12; ++k) out[k] = static_cast<T>(vertex[k / 4][k % 4]);
}

}  // namespace lg::soft
