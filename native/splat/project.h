// The projection of one 3D Gaussian, and its reverse. lumigrad.reference.project_gaussians is the definition.
#pragma once

#include <cmath>
#include <cstdint>

#include "runtime/config.h"

namespace lg {
namespace splat {

// Axes x right, y down, z into the scene.
struct View {
  double rotation[9], translation[3];  // world to camera
  double fx, fy, cx, cy, width, height, blur, near, far;
  bool orthographic;
};

// matrix [views, 4, 4], intrinsics [views, 4]; settings: height, width, blur, near, far, whether it is orthographic.
template <class T>
LG_HD View view_of(const T* matrix, const T* intrinsics, const double* settings, int64_t v) {
  View view;
  for (int i = 0; i < 3; ++i) {
    const double sign = i == 0 ? 1 : -1;  // from x right, y up, looking along -z
    for (int k = 0; k < 3; ++k) view.rotation[3 * i + k] = sign * double(matrix[16 * v + 4 * i + k]);
    view.translation[i] = sign * double(matrix[16 * v + 4 * i + 3]);
  }
  view.fx = intrinsics[4 * v], view.fy = intrinsics[4 * v + 1], view.cx = intrinsics[4 * v + 2];
  view.cy = intrinsics[4 * v + 3];
  view.height = settings[0], view.width = settings[1], view.blur = settings[2], view.near = settings[3];
  view.far = settings[4], view.orthographic = settings[5] != 0;
  return view;
}

constexpr double compensation_floor = 0.005;
constexpr double frame_margin = 0.15;  // part of the image's side: how far beyond the image the Jacobian follows x/z

struct ProjectedGaussian {
  double xy[2], conic[3], depth, compensation;
};

// Intermediate results for both passes. r: rotation of the unit quaternion; m = r diag(scale); q: the view's rotation
// times m; h = J q.
struct GaussianOnScreen {
  double p[3], unit[4], length, r[9], m[9], q[9], h[6], j[4], t[2];  // j: J00, J02, J11, J12; t: x/z and y/z as used
  double a, b, c, det, ratio;
  bool inside[2];
};

LG_HD void multiply(const double* a, const double* b, double* out) {
  for (int i = 0; i < 3; ++i) {
    for (int k = 0; k < 3; ++k) out[3 * i + k] = a[3 * i] * b[k] + a[3 * i + 1] * b[3 + k] + a[3 * i + 2] * b[6 + k];
  }
}

LG_HD void rotation_of(const double* u, double* r) {
  const double w = u[0], x = u[1], y = u[2], z = u[3];
  r[0] = 1 - 2 * (y * y + z * z), r[1] = 2 * (x * y - w * z), r[2] = 2 * (x * z + w * y);
  r[3] = 2 * (x * y + w * z), r[4] = 1 - 2 * (x * x + z * z), r[5] = 2 * (y * z - w * x);
  r[6] = 2 * (x * z - w * y), r[7] = 2 * (y * z + w * x), r[8] = 1 - 2 * (x * x + y * y);
}

// x/z limited to the image and a margin.
LG_HD double kept_inside(double value, double f, double centre, double side, bool* inside) {
  const double low = -(centre + frame_margin * side) / f, high = (side - centre + frame_margin * side) / f;
  *inside = value >= low && value <= high;
  return *inside ? value : value < low ? low : high;
}

// False if the Gaussian is not to be drawn.
template <class T>
LG_HD bool place_gaussian(const View& view, const T* mean, const T* quat, const T* scale, GaussianOnScreen* g) {
  double finite = 0;
  for (int k = 0; k < 3; ++k) {
    const double* row = view.rotation + 3 * k;
    g->p[k] = row[0] * double(mean[0]) + row[1] * double(mean[1]) + row[2] * double(mean[2]) + view.translation[k];
    finite += double(mean[k]) + double(scale[k]);
  }
  finite += double(quat[0]) + double(quat[1]) + double(quat[2]) + double(quat[3]);
  const double z = g->p[2];
  if (!(z > view.near && z < view.far) || finite - finite != 0) return false;
  g->length = 0;
  for (int k = 0; k < 4; ++k) g->length += double(quat[k]) * double(quat[k]);
  g->length = std::sqrt(g->length);
  for (int k = 0; k < 4; ++k) g->unit[k] = g->length > 0 ? double(quat[k]) / g->length : double(k == 0);
  rotation_of(g->unit, g->r);
  for (int i = 0; i < 9; ++i) g->m[i] = g->r[i] * double(scale[i % 3]);
  multiply(view.rotation, g->m, g->q);
  if (view.orthographic) {
    g->j[0] = view.fx, g->j[2] = view.fy, g->j[1] = g->j[3] = 0;
  } else {
    g->t[0] = kept_inside(g->p[0] / z, view.fx, view.cx, view.width, &g->inside[0]);
    g->t[1] = kept_inside(g->p[1] / z, view.fy, view.cy, view.height, &g->inside[1]);
    g->j[0] = view.fx / z, g->j[1] = -view.fx * g->t[0] / z, g->j[2] = view.fy / z, g->j[3] = -view.fy * g->t[1] / z;
  }
  for (int k = 0; k < 3; ++k) {
    g->h[k] = g->j[0] * g->q[k] + g->j[1] * g->q[6 + k];
    g->h[3 + k] = g->j[2] * g->q[3 + k] + g->j[3] * g->q[6 + k];
  }
  const double* h = g->h;
  const double a = h[0] * h[0] + h[1] * h[1] + h[2] * h[2], c = h[3] * h[3] + h[4] * h[4] + h[5] * h[5];
  g->b = h[0] * h[3] + h[1] * h[4] + h[2] * h[5];
  g->a = a + view.blur, g->c = c + view.blur;
  g->det = g->a * g->c - g->b * g->b;
  g->ratio = (a * c - g->b * g->b) / g->det;
  return g->det > 0 && g->det - g->det == 0;
}

template <class T>
LG_HD bool project_gaussian(const View& view, const T* mean, const T* quat, const T* scale, ProjectedGaussian* out) {
  GaussianOnScreen g{};
  if (!place_gaussian(view, mean, quat, scale, &g)) return false;
  const double over = view.orthographic ? 1 : 1 / g.p[2];
  out->xy[0] = view.fx * g.p[0] * over + view.cx;
  out->xy[1] = view.fy * g.p[1] * over + view.cy;
  out->conic[0] = g.c / g.det, out->conic[1] = -g.b / g.det, out->conic[2] = g.a / g.det;
  out->depth = g.p[2];
  out->compensation =
      std::sqrt(g.ratio > compensation_floor * compensation_floor ? g.ratio : compensation_floor * compensation_floor);
  return true;
}

struct GaussianGradient {
  double mean[3], quat[4], scale[3];
};
// Sums over Gaussians: the gradients of the rows of the rotation, of the translation, and of fx, fy, cx, cy.
struct ViewGradient {
  double rotation[9], translation[3], intrinsics[4];
};

// Converts the gradients of the conic and the compensation to those of the covariance on the screen (a, b, c).
LG_HD void pull_covariance(const View& view, const GaussianOnScreen& g, const ProjectedGaussian& grad, double* out) {
  const double ka = g.c / g.det, kb = -g.b / g.det, kc = g.a / g.det;
  const double ga = grad.conic[0], gb = 0.5 * grad.conic[1], gc = grad.conic[2];
  // - K G K, of symmetric matrices
  const double x0 = ka * ga + kb * gb, x1 = ka * gb + kb * gc, y0 = kb * ga + kc * gb, y1 = kb * gb + kc * gc;
  out[0] = -(x0 * ka + x1 * kb);
  out[1] = -2 * (x0 * kb + x1 * kc);
  out[2] = -(y0 * kb + y1 * kc);
  if (g.ratio > compensation_floor * compensation_floor) {
    const double k = 0.5 * grad.compensation / (std::sqrt(g.ratio) * g.det);
    out[0] += k * (g.c - view.blur - g.ratio * g.c);
    out[1] += k * (-2 * g.b + 2 * g.ratio * g.b);
    out[2] += k * (g.a - view.blur - g.ratio * g.a);
  }
}

// Converts the gradients of the Jacobian's four entries (j) along one axis to those of the point on this axis, z, f and
// the centre.
LG_HD void pull_axis(double gj0, double gj2, double p, double z, double f, double t, bool inside, double* gp,
                     double* gz, double* gf, double* gcentre) {
  *gf += gj0 / z - gj2 * t / z;
  *gz += (-gj0 + gj2 * t) * f / (z * z);
  const double gt = -gj2 * f / z;
  if (inside) {
    *gp += gt / z;
    *gz -= gt * p / (z * z);
  } else {
    *gf -= gt * t / f;
    *gcentre -= gt / f;
  }
}

LG_HD void pull_rotation(const GaussianOnScreen& g, const double* gr, double* grad_quat) {
  if (!(g.length > 0)) {
    for (int k = 0; k < 4; ++k) grad_quat[k] = 0;
    return;
  }
  const double w = g.unit[0], x = g.unit[1], y = g.unit[2], z = g.unit[3];
  const double u[4] = {2 * (-z * gr[1] + y * gr[2] + z * gr[3] - x * gr[5] - y * gr[6] + x * gr[7]),
                       2 * (y * (gr[1] + gr[3]) + z * (gr[2] + gr[6]) + w * (gr[7] - gr[5]) - 2 * x * (gr[4] + gr[8])),
                       2 * (x * (gr[1] + gr[3]) + z * (gr[5] + gr[7]) + w * (gr[2] - gr[6]) - 2 * y * (gr[0] + gr[8])),
                       2 * (x * (gr[2] + gr[6]) + y * (gr[5] + gr[7]) + w * (gr[3] - gr[1]) - 2 * z * (gr[0] + gr[4]))};
  const double along = u[0] * w + u[1] * x + u[2] * y + u[3] * z;
  for (int k = 0; k < 4; ++k) grad_quat[k] = (u[k] - g.unit[k] * along) / g.length;
}

// Converts the gradients of the covariance (a, b, c) to those of the Jacobian's four entries (j) and of q.
LG_HD void pull_spread(const GaussianOnScreen& g, const double* cov, double* gj, double* gq) {
  double gh[6];
  for (int k = 0; k < 4; ++k) gj[k] = 0;
  for (int k = 0; k < 3; ++k) {
    gh[k] = 2 * cov[0] * g.h[k] + cov[1] * g.h[3 + k];
    gh[3 + k] = cov[1] * g.h[k] + 2 * cov[2] * g.h[3 + k];
    gj[0] += gh[k] * g.q[k];
    gj[1] += gh[k] * g.q[6 + k];
    gj[2] += gh[3 + k] * g.q[3 + k];
    gj[3] += gh[3 + k] * g.q[6 + k];
    gq[k] = g.j[0] * gh[k];
    gq[3 + k] = g.j[2] * gh[3 + k];
    gq[6 + k] = g.j[1] * gh[k] + g.j[3] * gh[3 + k];
  }
}

// Converts the gradients of the Jacobian and the screen position to those of the point in camera space; adds those of
// fx, fy, cx, cy.
LG_HD void pull_place(const View& view, const GaussianOnScreen& g, const double* gj, const double* gxy, double* gp,
                      double* gl) {
  gl[2] += gxy[0];
  gl[3] += gxy[1];
  if (view.orthographic) {
    gl[0] += gj[0] + gxy[0] * g.p[0];
    gl[1] += gj[2] + gxy[1] * g.p[1];
    gp[0] += gxy[0] * view.fx;
    gp[1] += gxy[1] * view.fy;
    return;
  }
  const double z = g.p[2];
  pull_axis(gj[0], gj[1], g.p[0], z, view.fx, g.t[0], g.inside[0], &gp[0], &gp[2], &gl[0], &gl[2]);
  pull_axis(gj[2], gj[3], g.p[1], z, view.fy, g.t[1], g.inside[1], &gp[1], &gp[2], &gl[1], &gl[3]);
  gl[0] += gxy[0] * g.p[0] / z;
  gl[1] += gxy[1] * g.p[1] / z;
  gp[0] += gxy[0] * view.fx / z;
  gp[1] += gxy[1] * view.fy / z;
  gp[2] -= (gxy[0] * view.fx * g.p[0] + gxy[1] * view.fy * g.p[1]) / (z * z);
}

template <class T>
LG_HD bool pull_gaussian(const View& view, const T* mean, const T* quat, const T* scale, const ProjectedGaussian& grad,
                         GaussianGradient* out, ViewGradient* sum) {
  GaussianOnScreen g{};
  if (!place_gaussian(view, mean, quat, scale, &g)) return false;
  double cov[3], gj[4], gq[9], gp[3] = {0, 0, grad.depth}, gr[9];
  pull_covariance(view, g, grad, cov);
  pull_spread(g, cov, gj, gq);
  pull_place(view, g, gj, grad.xy, gp, sum->intrinsics);
  for (int k = 0; k < 3; ++k) out->scale[k] = out->mean[k] = 0;
  for (int i = 0; i < 3; ++i) {
    sum->translation[i] += gp[i];
    for (int k = 0; k < 3; ++k) {
      const double gm = view.rotation[i] * gq[k] + view.rotation[3 + i] * gq[3 + k] + view.rotation[6 + i] * gq[6 + k];
      out->scale[k] += g.r[3 * i + k] * gm;
      gr[3 * i + k] = gm * double(scale[k]);
      out->mean[k] += view.rotation[3 * i + k] * gp[i];
      sum->rotation[3 * i + k] += gp[i] * double(mean[k]) + gq[3 * i] * g.m[3 * k] + gq[3 * i + 1] * g.m[3 * k + 1] +
                                  gq[3 * i + 2] * g.m[3 * k + 2];
    }
  }
  pull_rotation(g, gr, out->quat);
  return true;
}

}  // namespace splat
}  // namespace lg
