// How pieces of outlines change an image, and the gradients of colours and positions.
#pragma once

#include <cstdint>

#include "math/scalar.h"
#include "parallel/corner_gradients.h"
#include "runtime/config.h"
#include "surface/outline_piece.h"
#include "surface/pixel_triangle.h"

namespace lg::surface {

// Pieces as the op `outlines` makes them, and the colours of their samples. Pieces of one pixel are consecutive.
template <class T>
struct OutlineColors {
  const T* side_color;  // [views, 4, samples, channels]: of both sides, and of the surfaces that they stand for
  const int32_t* pixel;
  const T* weight;  // [views, 2, samples]
  ImageSize image;
  int64_t channels, samples;

  // The index of a sample's pixel among those of all views; -1 for an unused row.
  LG_HD int64_t target(int64_t view, int64_t sample) const {
    const int32_t p = pixel[view * samples + sample], pixels = static_cast<int32_t>(image.height * image.width);
    return p >= 0 && p < pixels ? view * pixels + p : -1;
  }
  // An item is one sample of one view.
  struct Item {
    int64_t view, sample, target;
  };
  LG_HD Item item(int64_t number) const {
    const int64_t view = number / samples, sample = number - view * samples;
    return {view, sample, target(view, sample)};
  }
  LG_HD int64_t row(int64_t view, int64_t number, int64_t sample) const {
    return ((4 * view + number) * samples + sample) * channels;
  }

  // The total weight of the sides of all pieces of a pixel, given its first piece.
  template <class Body>
  LG_HD void for_pieces(int64_t view, int64_t first, const Body& body) const {
    const int32_t* pixels = pixel + view * samples;
    for (int64_t i = first; i < samples && pixels[i] == pixels[first]; ++i) {
      const T* share = weight + 2 * view * samples + i;
      body(i, share[0], share[samples]);
    }
  }
  // Whether an item is the first piece of a pixel.
  LG_HD bool leads(const Item& at) const {
    const int32_t* pixels = pixel + at.view * samples;
    return at.target >= 0 && (at.sample == 0 || pixels[at.sample - 1] != pixels[at.sample]);
  }
};

template <class T>
OutlineColors<T> make_outline_colors(const void* side_color, const int32_t* pixel, const void* weight, int64_t views,
                                     int64_t height, int64_t width, int64_t channels, int64_t samples) {
  return {static_cast<const T*>(side_color),
          pixel,
          static_cast<const T*>(weight),
          {views, height, width},
          channels,
          samples};
}

// The first piece of a pixel adds up all of them. out: holds the colours before.
template <class T>
struct BlendPixel {
  OutlineColors<T> s;
  const T* color;
  T* out;

  LG_HD void operator()(int64_t number) const {
    const auto at = s.item(number);
    if (!s.leads(at)) return;
    const T* shown = color + at.target * s.channels;
    T* result = out + at.target * s.channels;
    s.for_pieces(at.view, at.sample, [&](int64_t i, T plus_share, T minus_share) {
      const T *a = s.side_color + s.row(at.view, 2, i), *b = s.side_color + s.row(at.view, 3, i);
      for (int64_t c = 0; c < s.channels; ++c) {
        result[c] += plus_share * (a[c] - shown[c]) + minus_share * (b[c] - shown[c]);
      }
    });
  }
};

// The gradient of a pixel's colour, computed likewise. grad_color: holds grad_out before.
template <class T>
struct PullPixelColor {
  OutlineColors<T> s;
  const T* grad_out;
  T* grad_color;

  LG_HD void operator()(int64_t number) const {
    const auto at = s.item(number);
    if (!s.leads(at)) return;
    T taken = 0;
    s.for_pieces(at.view, at.sample, [&](int64_t, T plus_share, T minus_share) { taken += plus_share + minus_share; });
    for (int64_t c = 0; c < s.channels; ++c) {
      grad_color[at.target * s.channels + c] -= taken * grad_out[at.target * s.channels + c];
    }
  }
};

// The gradient of the colours of one piece's surfaces. The colours beside the piece only determine the effect of its
// motion.
template <class T>
struct PullSideColors {
  OutlineColors<T> s;
  const T* grad_out;
  T* grad_side_color;

  LG_HD void operator()(int64_t number) const {
    const auto at = s.item(number);
    for (int side = 0; side < 2; ++side) {
      T* beside = grad_side_color + s.row(at.view, side, at.sample);
      T* surface = grad_side_color + s.row(at.view, 2 + side, at.sample);
      const T share = s.weight[(2 * at.view + side) * s.samples + at.sample];
      for (int64_t c = 0; c < s.channels; ++c) {
        beside[c] = 0;
        surface[c] = at.target < 0 ? T(0) : share * grad_out[at.target * s.channels + c];
      }
    }
  }
};

// ---- Positions -----------------------------------------------------------------------------------------------------

// The gradients of a triangle's corners, x, y, z, w of each.
struct CornerGradients {
  double of[3][4];
};

// Adds the gradient of a corner given as (a, b, c), that of its homogeneous pixels (x, y, w).
LG_HD void add_to_corner(const Line& grad, double width, double height, double (&corner)[4]) {
  const double x = 0.5 * width * grad.a, y = 0.5 * height * grad.b;
  corner[0] += x;
  corner[1] -= y;
  corner[3] += (grad.c + x) + y;
}

LG_HD Line cross(const Line& p, const Line& q) {
  return {p.b * q.c - p.c * q.b, p.c * q.a - p.a * q.c, p.a * q.b - p.b * q.a};
}
LG_HD Line place_of(const PixelCorner& p) { return {p.x, p.y, p.w}; }

// From the gradient of the line through corners i and j.
LG_HD void pull_line(const PixelCorner (&p)[3], int i, int j, const Line& grad, double width, double height,
                     CornerGradients& out) {
  add_to_corner(cross(place_of(p[j]), grad), width, height, out.of[i]);
  add_to_corner(cross(grad, place_of(p[i])), width, height, out.of[j]);
}

// From the gradient of the depth plane z/w.
LG_HD void pull_depth(const PixelCorner (&p)[3], const Line& grad, double width, double height, CornerGradients& out) {
  Line edge[3];
  for (int k = 0; k < 3; ++k) edge[k] = line_through(p[(k + 1) % 3], p[(k + 2) % 3]);
  const double det = (p[0].x * edge[0].a + p[0].y * edge[0].b) + p[0].w * edge[0].c, inverse = 1 / det;
  double grad_det = 0;
  for (int k = 0; k < 3; ++k) {
    const double dot = ((grad.a * edge[k].a + grad.b * edge[k].b) + grad.c * edge[k].c) * inverse;
    out.of[k][2] += dot;
    grad_det -= p[k].z * dot * inverse;
  }
  for (int k = 0; k < 3; ++k) {
    const double z = p[k].z * inverse;
    pull_line(p, (k + 1) % 3, (k + 2) % 3, {z * grad.a, z * grad.b, z * grad.c}, width, height, out);
    add_to_corner({grad_det * edge[k].a, grad_det * edge[k].b, grad_det * edge[k].c}, width, height, out.of[k]);
  }
}

// The gradient of positions: a piece pulls its line in proportion to the jump and its length.
template <class T>
struct PullOutlines {
  OutlineColors<T> s;
  const T *pos, *grad_out, *place, *length;
  const int32_t* line;
  MeshIndex mesh;

  template <class Give>
  LG_HD void operator()(const ImagePixel& at, const Give& give) const {
    T value[2][12] = {};
    int32_t triangle[2] = {-1, -1};
    if (at.inside) pull(at.view, at.column, value, triangle);
    if (!give.any(triangle[0] >= 0)) return;
    give(at.view, triangle[0], value[0]);
    if (!give.any(triangle[1] >= 0)) return;
    give(at.view, triangle[1], value[1]);
  }

 private:
  LG_HD bool corners(int64_t view, int32_t triangle, PixelCorner (&p)[3]) const {
    int64_t row[3];
    if (!mesh.rows(view, triangle, row)) return false;
    for (int k = 0; k < 3; ++k) {
      p[k] = pixel_corner(pos + 4 * row[k], static_cast<double>(s.image.width), static_cast<double>(s.image.height));
    }
    return true;
  }

  // The change of the loss when the outline moves by one pixel.
  LG_HD double force(int64_t view, int64_t sample, int64_t target) const {
    const T *a = s.side_color + s.row(view, 0, sample), *b = s.side_color + s.row(view, 1, sample);
    const T* grad = grad_out + target * s.channels;
    T sum = 0;
    for (int64_t c = 0; c < s.channels; ++c) sum += grad[c] * (a[c] - b[c]);
    return static_cast<double>(sum) * static_cast<double>(length[view * s.samples + sample]);
  }

  LG_HD void pull(int64_t view, int64_t sample, T (&value)[2][12], int32_t (&triangle)[2]) const {
    const int64_t i = view * s.samples + sample, target = s.target(view, sample);
    const int32_t first = line[2 * i], second = line[2 * i + 1];
    if (target < 0 || first < 0) return;
    const double sweep = force(view, sample, target);
    if (sweep == 0 || !(sweep - sweep == 0)) return;
    const int32_t pixel = s.pixel[i];
    const T* middle = place + 2 * (4 * view * s.samples + sample);
    const double x = static_cast<double>(pixel % s.image.width) + 0.5 + static_cast<double>(middle[0]);
    const double y = static_cast<double>(pixel / s.image.width) + 0.5 + static_cast<double>(middle[1]);
    const Line moment = {sweep * x, sweep * y, sweep};
    if (second == of_edge) {
      pull_edge(view, first, moment, value[0], triangle[0]);
    } else {
      pull_planes(view, first, second, moment, value, triangle);
    }
  }

  LG_HD void pull_edge(int64_t view, int32_t half_edge, const Line& moment, T (&value)[12], int32_t& triangle) const {
    PixelCorner p[3];
    const int32_t t = half_edge / 3, k = half_edge % 3;
    if (!corners(view, t, p)) return;
    const int i = (k + 1) % 3, j = (k + 2) % 3;
    CornerGradients out = {};
    pull_line(p, i, j, scaled(moment, line_through(p[i], p[j])), extent(0), extent(1), out);
    if (store(out, value)) triangle = t;
  }

  LG_HD void pull_planes(int64_t view, int32_t first, int32_t second, const Line& moment, T (&value)[2][12],
                         int32_t (&triangle)[2]) const {
    PixelCorner p[3], q[3];
    PixelTriangle a, b;
    if (!corners(view, first, p) || !make_pixel_triangle(p, a)) return;
    CornerGradients out = {};
    if (second < 0) {
      const double plane = second == of_near_plane ? 1 : -1;
      const Line grad = scaled(moment, a.depth);
      pull_depth(p, {plane * grad.a, plane * grad.b, plane * grad.c}, extent(0), extent(1), out);
      if (store(out, value[0])) triangle[0] = first;
      return;
    }
    if (!corners(view, second, q) || !make_pixel_triangle(q, b)) return;
    const Line grad = scaled(moment, a.depth - b.depth);
    pull_depth(p, grad, extent(0), extent(1), out);
    if (store(out, value[0])) triangle[0] = first;
    out = {};
    pull_depth(q, {-grad.a, -grad.b, -grad.c}, extent(0), extent(1), out);
    if (store(out, value[1])) triangle[1] = second;
  }

  LG_HD double extent(int axis) const { return static_cast<double>(axis == 0 ? s.image.width : s.image.height); }

  // The gradient of a line's coefficients: dividing their change by the slope gives the distance that the line moves.
  LG_HD static Line scaled(const Line& moment, const Line& l) {
    const double norm = root(l.a * l.a + l.b * l.b);
    return {moment.a / norm, moment.b / norm, moment.c / norm};
  }

  // Returns false and leaves zero if a gradient is not finite.
  LG_HD static bool store(const CornerGradients& out, T (&value)[12]) {
    T sum = 0;
    for (int k = 0; k < 12; ++k) {
      value[k] = static_cast<T>(out.of[k / 4][k % 4]);
      sum += value[k] - value[k];
    }
    return sum == 0;
  }
};

}  // namespace lg::surface
