// Fragments at places that need not be pixel centres: barycentrics, depth and their derivatives, forward and backward.
#pragma once

#include <cstdint>

#include "parallel/corner_gradients.h"
#include "runtime/config.h"
#include "surface/attributes.h"

namespace lg::surface {

template <class T>
struct Samples {
  const T* pos;
  MeshIndex mesh;
  const int32_t *frag_tri, *pixel;
  const T* place;
  ImageSize samples;  // views, rows, samples
  int64_t height, width;
};

template <class T>
Samples<T> make_samples(const void* pos, const int32_t* tri, const int32_t* frag_tri, const int32_t* pixel,
                        const void* place, int32_t shared, int64_t views, int64_t vertices, int64_t triangles,
                        int64_t rows, int64_t samples, int64_t height, int64_t width) {
  return {static_cast<const T*>(pos),
          {tri, vertices, triangles, shared != 0},
          frag_tri,
          pixel,
          static_cast<const T*>(place),
          {views, rows, samples},
          height,
          width};
}

// The planes of the triangle at a sample, and the sample's offset from their anchor, the centre of its pixel.
template <class T>
struct SamplePlanes {
  TriangleFrame<double> frame;
  Planes<T> planes;
  T x, y;
};

// False if nothing is visible.
template <class T>
LG_HD bool planes_of(const Samples<T>& s, int64_t view, int64_t row, int64_t sample, SamplePlanes<T>& out) {
  int64_t corner[3];
  if (!s.mesh.rows(view, s.frag_tri[s.samples.pixel(view, row, sample)], corner)) return false;
  const int32_t pixel = s.pixel[view * s.samples.width + sample];
  if (pixel < 0 || pixel >= s.height * s.width) return false;
  double p[3][4];
  for (int k = 0; k < 3; ++k) {
    for (int axis = 0; axis < 4; ++axis) p[k][axis] = s.pos[4 * corner[k] + axis];
  }
  const auto column = static_cast<double>(pixel % s.width), line = static_cast<double>(pixel / s.width);
  make_frame(p, column, line, s.width, s.height, out.frame);
  PlaneValues<double> values;
  make_planes(out.frame, values);
  for (int k = 0; k < 4; ++k) {
    out.planes.at[k] = static_cast<T>(values.at[k]);
    out.planes.dx[k] = static_cast<T>(values.dx[k]);
    out.planes.dy[k] = static_cast<T>(values.dy[k]);
  }
  const T* place = s.place + 2 * s.samples.pixel(view, row, sample);
  out.x = place[0];
  out.y = place[1];
  return true;
}

template <class T>
struct FindFragments {
  Samples<T> s;
  T *bary, *depth, *bary_d;  // bary_d: null if not wanted

  LG_HD void operator()(int64_t item) const {
    const int64_t line = item / s.samples.width, sample = item - line * s.samples.width;
    const int64_t view = line / s.samples.height, row = line - view * s.samples.height;
    SamplePlanes<T> at;
    T d[4] = {0, 0, 0, 0};
    PixelAttributes<T> found = {0, 0, 0};
    if (planes_of(s, view, row, sample, at)) {
      const PixelPlanes<T> values = evaluate(at.planes, at.x, at.y);
      found = clamp_attributes(values);
      derivatives(at.planes, values, d);
    }
    bary[2 * item] = found.u;
    bary[2 * item + 1] = found.v;
    depth[item] = found.depth;
    for (int k = 0; bary_d && k < 4; ++k) bary_d[4 * item + k] = d[k];
  }
};

// Gradients of the outputs; null: zero.
template <class T>
struct PullFragments {
  Samples<T> s;
  const T *grad_bary, *grad_depth, *grad_bary_d;

  template <class Give>
  LG_HD void operator()(const ImagePixel& at, const Give& give) const {
    T value[12] = {};
    const int32_t triangle = at.inside ? pull(at, value) : -1;
    give(at.view, triangle, value);
  }

 private:
  LG_HD int32_t pull(const ImagePixel& at, T (&value)[12]) const {
    const int64_t item = s.samples.pixel(at.view, at.row, at.column);
    SamplePlanes<T> sample;
    if (!planes_of(s, at.view, at.row, at.column, sample)) return -1;
    const PixelPlanes<T> values = evaluate(sample.planes, sample.x, sample.y);
    T grad_u = grad_bary ? grad_bary[2 * item] : T(0), grad_v = grad_bary ? grad_bary[2 * item + 1] : T(0);
    T grad_z = grad_depth ? grad_depth[item] : T(0), shared = 0;
    unclamp_gradients(values, &grad_u, &grad_v, &grad_z);
    T grad_dx[3] = {0, 0, 0}, grad_dy[3] = {0, 0, 0}, grad_a[3];
    if (grad_bary_d) {
      derivative_gradients(sample.planes, values, grad_bary_d + 4 * item, &grad_u, &grad_v, &shared, grad_dx, grad_dy);
    }
    project_gradients(values, grad_u, grad_v, shared, grad_a);
    PlaneValues<double> planes;
    for (int k = 0; k < 4; ++k) {
      const T grad = k < 3 ? grad_a[k] : grad_z;
      planes.at[k] = grad;
      planes.dx[k] = grad * sample.x + (k < 3 ? grad_dx[k] : T(0));
      planes.dy[k] = grad * sample.y + (k < 3 ? grad_dy[k] : T(0));
    }
    double out[3][4];
    vertex_gradients(sample.frame, planes, out);
    for (int k = 0; k < 12; ++k) value[k] = static_cast<T>(out[k / 4][k % 4]);
    return s.frag_tri[item];
  }
};

}  // namespace lg::surface
