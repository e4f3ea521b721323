// A face of soft rasterization, set up around an anchor pixel.
//
// The definition is lumigrad.reference.soft. A face is set up in float64, as the lines of its edges in units of half
// the image's shorter side. Pixels then evaluate these lines in the tensor's own type (pixel.h). The line of an edge is
// computed identically, up to its sign, for the faces on both sides, so neighbours leave no gaps.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/scalar.h"
#include "runtime/config.h"

namespace lg::soft {

constexpr int max_edges = 4;     // three of the triangle and, if it is clipped, one along the near plane
constexpr double absent = 1e15;  // the position of an edge that does not exist
constexpr int32_t flag_perspective = 1, flag_clip = 2, flag_cull = 4;

// The positions of pixels, in NDC and in isotropic units, in which the shorter side of the image spans [-1, 1].
struct Viewport {
  int32_t width, height;
  double unit_x, unit_y;  // isotropic units per NDC unit
  double step;            // isotropic units per pixel
};

LG_HD Viewport make_viewport(int64_t width, int64_t height) {
  const double shorter = static_cast<double>(width < height ? width : height);
  return {static_cast<int32_t>(width), static_cast<int32_t>(height), static_cast<double>(width) / shorter,
          static_cast<double>(height) / shorter, 2 / shorter};
}

// An end of an edge: vertex `from` or, if `to` differs, the point where the near plane cuts the edge from `from` (in
// front of the plane) to `to` (behind it).
struct EdgeEnd {
  int8_t from, to;
};

// The float64 geometry of a face relative to an anchor pixel.
struct FaceFrame {
  double x[3], y[3], w[3], z[3];          // x, y relative to the anchor, in isotropic units times w
  double line[max_edges][3];              // x, y, constant; unit normal, positive inside
  double from[max_edges], to[max_edges];  // along (ny, -nx)
  EdgeEnd end[max_edges][2];
  double weight[3];           // times line i this is c_i
  double anchor_x, anchor_y;  // NDC
  int edges;
};

// A face as evaluated by pixels: the values that are constant over the pixels.
template <class T>
struct Face {
  T nx[max_edges], ny[max_edges], c[max_edges];
  T from[max_edges], to[max_edges];
  T weight[3], z[3], w[3];
  int32_t edges;
};

LG_HD bool has_edge(const FaceFrame& f, int e) { return f.end[e][0].from >= 0; }

// The point at an end of an edge: homogeneous (x, y, w), and the parameter t of the cut.
LG_HD void end_point(const FaceFrame& f, const EdgeEnd& end, double point[3], double* t) {
  const int i = end.from, j = end.to;
  const double near_i = f.z[i] + f.w[i], near_j = f.z[j] + f.w[j];
  *t = i == j ? 0 : near_i / (near_i - near_j);
  point[0] = f.x[i] + *t * (f.x[j] - f.x[i]);
  point[1] = f.y[i] + *t * (f.y[j] - f.y[i]);
  point[2] = f.w[i] + *t * (f.w[j] - f.w[i]);
}

// A position that float32 can hold: no pixel is so far away that the difference matters.
LG_HD double bounded(double position) { return position < -absent ? -absent : position > absent ? absent : position; }

// Normalises a line and computes the positions of its ends. Returns false if the line has no direction or an end has no
// position. Without Cut, edge e ends at (e + 1) % 3 and (e + 2) % 3, whatever f.end says.
template <bool Cut>
LG_HD bool finish_edge(FaceFrame& f, int e, double sign) {
  double* line = f.line[e];
  const double length = sqrt(line[0] * line[0] + line[1] * line[1]);
  if (!(length > 0) || !is_finite(length)) return false;
  for (int k = 0; k < 3; ++k) line[k] *= sign / length;
  if (e < 3) f.weight[e] = length;
  f.from[e] = absent;
  f.to[e] = 2 * absent;
  if (Cut && !has_edge(f, e)) return true;
  double at[2];
  LG_UNROLL
  for (int k = 0; k < 2; ++k) {
    const int corner = (e + 1 + k) % 3;
    double point[3] = {f.x[corner], f.y[corner], f.w[corner]}, t;
    if (Cut) end_point(f, f.end[e][k], point, &t);
    if (!(point[2] > 0)) return false;
    at[k] = (line[1] * point[0] - line[0] * point[1]) / point[2];
  }
  const bool swap = at[0] > at[1];  // only through rounding, and only for the edge along the near plane
  if (Cut && swap) {
    const EdgeEnd first = f.end[e][0];
    f.end[e][0] = f.end[e][1], f.end[e][1] = first;
  }
  f.from[e] = bounded(at[swap ? 1 : 0]);
  f.to[e] = bounded(at[swap ? 0 : 1]);
  return true;
}

// Chooses the ends of the edges of the visible part. `behind` holds a bit per vertex.
LG_HD void choose_ends(FaceFrame& f, unsigned behind) {
  int cuts = 0;
  EdgeEnd cut[2] = {{0, 0}, {0, 0}};
  for (int e = 0; e < 3; ++e) {
    const int8_t j = static_cast<int8_t>((e + 1) % 3), k = static_cast<int8_t>((e + 2) % 3);
    const bool j_behind = behind >> j & 1, k_behind = behind >> k & 1;
    f.end[e][0] = {j, j};
    f.end[e][1] = {k, k};
    if (j_behind && k_behind) {
      f.end[e][0].from = -1;
    } else if (j_behind || k_behind) {
      const EdgeEnd end = j_behind ? EdgeEnd{k, j} : EdgeEnd{j, k};
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

// Whether the corners are collinear on the screen, by a number that does not depend on the rounding of the anchor.
LG_HD bool is_edge_on(const double p[3][4]) {
  const double a = p[1][0] * p[2][1] - p[1][1] * p[2][0], b = p[2][0] * p[0][1] - p[2][1] * p[0][0],
               c = p[0][0] * p[1][1] - p[0][1] * p[1][0];
  return p[0][3] * a + p[1][3] * b + p[2][3] * c == 0;
}

// Sets a bit for every corner p[corner][x, y, z, w] behind the near plane. Returns false if there is nothing to draw.
LG_HD bool find_behind(const double p[3][4], unsigned& behind) {
  behind = 0;
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 4; ++k) {
      if (!is_finite(p[i][k])) return false;
    }
    if (p[i][2] + p[i][3] < 0) {
      behind |= 1u << i;
    } else if (!(p[i][3] > 0)) {
      return false;
    }
  }
  return behind != 7;
}

// The rest of make_frame(). Without Cut, for a face without a vertex behind the near plane: f.end is not used, and all
// indices are known at compile time, so that a GPU keeps the frame in registers.
template <bool Cut>
LG_HD bool make_frame_of(const double p[3][4], unsigned behind, int64_t column, int64_t row, const Viewport& view,
                         int32_t flags, FaceFrame& f) {
  f.anchor_x = (2 * static_cast<double>(column) + 1) / view.width - 1;
  f.anchor_y = 1 - (2 * static_cast<double>(row) + 1) / view.height;
  LG_UNROLL
  for (int i = 0; i < 3; ++i) {
    f.w[i] = p[i][3];
    f.z[i] = p[i][2];
    f.x[i] = (p[i][0] - f.anchor_x * p[i][3]) * view.unit_x;
    f.y[i] = (p[i][1] - f.anchor_y * p[i][3]) * view.unit_y;
  }
  LG_UNROLL
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    f.line[i][0] = f.y[j] * f.w[k] - f.w[j] * f.y[k];
    f.line[i][1] = f.w[j] * f.x[k] - f.x[j] * f.w[k];
    f.line[i][2] = f.x[j] * f.y[k] - f.y[j] * f.x[k];
  }
  if (is_edge_on(p)) return false;
  const double det = f.w[0] * f.line[0][2] + f.w[1] * f.line[1][2] + f.w[2] * f.line[2][2];
  const double size = det < 0 ? -det : det;
  if (!(size > 0) || !is_finite(1 / size) || !is_finite(size)) return false;
  if ((flags & flag_cull) && det < 0) return false;
  const double sign = det < 0 ? -1 : 1;
  if constexpr (Cut) {
    choose_ends(f, behind);
    for (int k = 0; k < 3 && f.edges == 4; ++k) {
      f.line[3][k] = 0;
      for (int i = 0; i < 3; ++i) f.line[3][k] += f.line[i][k] * (f.z[i] + f.w[i]);
    }
    for (int e = 0; e < f.edges; ++e) {
      if (!finish_edge<true>(f, e, sign)) return false;
    }
  } else {
    f.edges = 3;
    LG_UNROLL
    for (int e = 0; e < 3; ++e) {
      if (!finish_edge<false>(f, e, sign)) return false;
    }
  }
  for (int i = 0; i < 3; ++i) f.weight[i] /= size;
  return true;
}

// p[corner][x, y, z, w]; the anchor is the centre of pixel (column, row). Returns false if there is nothing to draw.
LG_HD bool make_frame(const double p[3][4], int64_t column, int64_t row, const Viewport& view, int32_t flags,
                      FaceFrame& f) {
  unsigned behind;
  return find_behind(p, behind) && make_frame_of<true>(p, behind, column, row, view, flags, f);
}

// Weights are affine on the screen only if all vertices are in front of the near plane.
LG_HD bool is_affine(int edges, int32_t flags) { return !(flags & flag_perspective) && edges == 3; }

template <class T>
LG_HD void set_edge(const FaceFrame& f, int e, Face<T>& face) {
  face.nx[e] = static_cast<T>(f.line[e][0]);
  face.ny[e] = static_cast<T>(f.line[e][1]);
  face.c[e] = static_cast<T>(f.line[e][2]);
  face.from[e] = static_cast<T>(f.from[e]);
  face.to[e] = static_cast<T>(f.to[e]);
}

// Cut: as for the frame.
template <bool Cut = true, class T>
LG_HD void make_face(const FaceFrame& f, int32_t flags, Face<T>& face) {
  const int edges = Cut ? f.edges : 3;
  const bool affine = is_affine(edges, flags);
  face.edges = edges;
  if constexpr (Cut) {
    for (int e = 0; e < edges; ++e) set_edge(f, e, face);
  } else {
    LG_UNROLL
    for (int e = 0; e < 3; ++e) set_edge(f, e, face);
  }
  LG_UNROLL
  for (int i = 0; i < 3; ++i) {
    face.weight[i] = static_cast<T>(affine ? f.weight[i] * f.w[i] : f.weight[i]);
    face.z[i] = static_cast<T>(affine ? f.z[i] / f.w[i] : f.z[i]);
    face.w[i] = affine ? T(1) : static_cast<T>(f.w[i]);
  }
}

}  // namespace lg::soft
