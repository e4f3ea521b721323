// The projection of one Gaussian surfel, from the world to the input of surfel.h, and its reverse.
#pragma once

#include <cmath>

#include "splat/project.h"

namespace lg {
namespace splat {

struct ProjectedSurfel {
  double xy[2], shape[8], depth, normal[3];
};

// Intermediate results for both passes: the point and the rotation (p, unit, length, r, m and q of `turned`), and the
// standard deviations as vectors in camera space, the columns of `sides`.
struct SurfelOnScreen {
  GaussianOnScreen turned;
  double sides[6], place[2], sign;
};

// False if the surfel is not to be drawn.
template <class T>
LG_HD bool place_surfel(const View& view, const T* mean, const T* quat, const T* scale, SurfelOnScreen* s) {
  GaussianOnScreen& g = s->turned;
  const T scales[3] = {scale[0], scale[1], T(0)};
  // A flat Gaussian. Its return value is ignored, because the surfel need not have an area on the screen.
  place_gaussian(view, mean, quat, scales, &g);
  double finite = double(scale[0]) + double(scale[1]);
  for (int k = 0; k < 3; ++k) finite += double(mean[k]);
  for (int k = 0; k < 4; ++k) finite += double(quat[k]);
  if (!(g.p[2] > view.near && g.p[2] < view.far) || finite - finite != 0) return false;
  for (int k = 0; k < 3; ++k) s->sides[2 * k] = g.q[3 * k], s->sides[2 * k + 1] = g.q[3 * k + 1];
  const double over = view.orthographic ? 1 : 1 / g.p[2];
  s->place[0] = g.p[0] * over, s->place[1] = g.p[1] * over;
  double along = 0;  // of the normal and the direction from the eye
  for (int k = 0; k < 3; ++k) {
    const double* row = view.rotation + 3 * k;
    const double normal = row[0] * g.r[2] + row[1] * g.r[5] + row[2] * g.r[8];
    along += normal * (view.orthographic ? double(k == 2) : g.p[k]);
  }
  s->sign = along > 0 ? -1 : 1;
  return true;
}

template <class T>
LG_HD bool project_surfel(const View& view, const T* mean, const T* quat, const T* scale, ProjectedSurfel* out) {
  SurfelOnScreen s{};
  if (!place_surfel(view, mean, quat, scale, &s)) return false;
  const double z = s.turned.p[2], f[2] = {view.fx, view.fy}, centre[2] = {view.cx, view.cy};
  for (int i = 0; i < 2; ++i) {
    out->xy[i] = f[i] * s.place[i] + centre[i];
    for (int j = 0; j < 2; ++j) {
      const double side = s.sides[2 * i + j], slope = s.sides[4 + j];
      out->shape[2 * i + j] = view.orthographic ? f[i] * side : f[i] * (side - s.place[i] * slope) / z;
    }
  }
  for (int j = 0; j < 2; ++j) {
    out->shape[4 + j] = view.orthographic ? 0 : s.sides[4 + j] / z;
    out->shape[6 + j] = s.sides[4 + j];
  }
  out->depth = z;
  for (int k = 0; k < 3; ++k) out->normal[k] = s.sign * s.turned.r[3 * k + 2];
  return true;
}

struct SurfelGradient {
  double mean[3], quat[4], scale[2];
};

// Converts the gradients of the outputs to those of `sides` and of the centre in camera space; adds those of fx, fy,
// cx, cy.
LG_HD void pull_screen(const View& view, const SurfelOnScreen& s, const ProjectedSurfel& grad, double* gs, double* gp,
                       double* gl) {
  const double* p = s.turned.p;
  const double f[2] = {view.fx, view.fy}, over = view.orthographic ? 1 : 1 / p[2];
  gp[2] = grad.depth;
  for (int j = 0; j < 2; ++j) {
    gs[4 + j] = grad.shape[6 + j];
    if (view.orthographic) continue;
    gs[4 + j] += grad.shape[4 + j] * over;
    gp[2] -= grad.shape[4 + j] * s.sides[4 + j] * over * over;
  }
  for (int i = 0; i < 2; ++i) {
    double g_place = grad.xy[i] * f[i];
    gl[i] += grad.xy[i] * s.place[i];
    gl[2 + i] += grad.xy[i];
    for (int j = 0; j < 2; ++j) {
      const double given = grad.shape[2 * i + j], slope = view.orthographic ? 0 : s.sides[4 + j];
      const double across = (s.sides[2 * i + j] - s.place[i] * slope) * over;
      gl[i] += given * across;
      gs[2 * i + j] = given * f[i] * over;
      if (view.orthographic) continue;
      gs[4 + j] -= given * f[i] * s.place[i] * over;
      g_place -= given * f[i] * slope * over;
      gp[2] -= given * f[i] * across * over;
    }
    gp[i] = g_place * over;
    if (!view.orthographic) gp[2] -= g_place * s.place[i] * over;
  }
}

template <class T>
LG_HD bool pull_surfel(const View& view, const T* mean, const T* quat, const T* scale, const ProjectedSurfel& grad,
                       SurfelGradient* out, ViewGradient* sum) {
  SurfelOnScreen s{};
  double finite = grad.xy[0] + grad.xy[1] + grad.depth;
  for (int k = 0; k < 8; ++k) finite += grad.shape[k];
  // A surfel of absurd size or position, whose gradient has overflowed, gets none, and does not spoil the camera's.
  if (finite - finite != 0 || !place_surfel(view, mean, quat, scale, &s)) return false;
  const GaussianOnScreen& g = s.turned;
  double gs[6], gp[3], gr[9];
  pull_screen(view, s, grad, gs, gp, sum->intrinsics);
  for (int k = 0; k < 2; ++k) out->scale[k] = 0;
  for (int k = 0; k < 3; ++k) out->mean[k] = 0;
  for (int i = 0; i < 3; ++i) {
    sum->translation[i] += gp[i];
    for (int j = 0; j < 2; ++j) {  // of r times the scales
      const double gm = view.rotation[i] * gs[j] + view.rotation[3 + i] * gs[2 + j] + view.rotation[6 + i] * gs[4 + j];
      out->scale[j] += g.r[3 * i + j] * gm;
      gr[3 * i + j] = gm * double(scale[j]);
    }
    gr[3 * i + 2] = s.sign * grad.normal[i];
    for (int k = 0; k < 3; ++k) {
      out->mean[k] += view.rotation[3 * i + k] * gp[i];
      sum->rotation[3 * i + k] += gp[i] * double(mean[k]) + gs[2 * i] * g.m[3 * k] + gs[2 * i + 1] * g.m[3 * k + 1];
    }
  }
  pull_rotation(g, gr, out->quat);
  return true;
}

}  // namespace splat
}  // namespace lg
