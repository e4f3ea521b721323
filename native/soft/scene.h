// The input of soft rasterization, the part of the image that a face may reach, and the anchors of faces. With the same
// anchors, CPU and CUDA compute the same numbers.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/scalar.h"
#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"
#include "soft/face.h"

namespace lg::soft {

// The anchor of a face is the first pixel of the tile in which it is seen. With many faces per pixel, tiles are
// smaller, so that their lists stay in one of the CPU's inner caches.
LG_HD int64_t fragment_tile_size(int64_t faces_per_pixel) { return faces_per_pixel <= 4 ? 32 : 16; }
constexpr int64_t blend_tile_size = 32;

template <class T>
struct Scene {
  const T* pos;
  MeshIndex mesh;
  const int64_t* ranges;  // on the host, or null
  ImageSize image;
  double blur;   // squared, in isotropic units
  double reach;  // pixels
  int32_t flags;
  Viewport viewport;

  LG_HD void corners(int64_t view, int64_t face, double p[3][4]) const {
    const int32_t* index = mesh.tri + 3 * face;
    for (int k = 0; k < 3; ++k) {
      const T* corner = pos + 4 * (mesh.first_row(view) + index[k]);
      for (int c = 0; c < 4; ++c) p[k][c] = corner[c];
    }
  }
};

template <class T>
Scene<T> make_scene(const void* pos, const int32_t* tri, const int64_t* ranges, bool shared, int64_t views,
                    int64_t vertices, int64_t triangles, int64_t height, int64_t width, double blur, int32_t flags) {
  const Viewport viewport = make_viewport(width, height);
  return {static_cast<const T*>(pos),
          {tri, vertices, triangles, shared},
          ranges,
          {views, height, width},
          blur,
          std::sqrt(blur) / viewport.step,
          flags,
          viewport};
}

// ---- Boxes ----------------------------------------------------------------------------------------------------

// Pixels [x0, x1] x [y0, y1], possibly none.
struct Box {
  int32_t x0, y0, x1, y1;
  LG_HD bool empty() const { return x0 > x1 || y0 > y1; }
};

// NaN bounds include the whole image.
LG_HD int32_t first_pixel(double low, int32_t size) {
  return static_cast<int32_t>(minimum<double>(maximum(ceil(low - 0.5 - 1e-3), 0.0), size));
}
LG_HD int32_t last_pixel(double high, int32_t size) {
  return static_cast<int32_t>(maximum(minimum<double>(floor(high - 0.5 + 1e-3), size - 1), -1.0));
}

// The pixels whose centres are within `reach` of [x_low, x_high] x [y_low, y_high] (in pixels), limited to the image.
LG_HD Box make_box(double x_low, double y_low, double x_high, double y_high, double reach, int32_t width,
                   int32_t height) {
  return {first_pixel(x_low - reach, width), first_pixel(y_low - reach, height), last_pixel(x_high + reach, width),
          last_pixel(y_high + reach, height)};
}

// The extent on the screen of the visible part of a face, in pixels. The anchor is the centre of pixel (0, 0).
LG_HD Box frame_box(const FaceFrame& f, const Viewport& view, double reach) {
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  for (int e = 0; e < f.edges; ++e) {
    for (int k = 0; k < 2 && has_edge(f, e); ++k) {
      double point[3], t;
      end_point(f, f.end[e][k], point, &t);
      const double place[2] = {0.5 + point[0] / point[2] / view.step, 0.5 - point[1] / point[2] / view.step};
      for (int c = 0; c < 2; ++c) {
        low[c] = minimum(low[c], place[c]);
        high[c] = maximum(high[c], place[c]);
      }
    }
  }
  return make_box(low[0], low[1], high[0], high[1], reach, view.width, view.height);
}

// A vertex in pixels.
struct ScreenVertex {
  float x, y;
  int32_t flags;
};
constexpr int32_t vertex_coarse = 1, vertex_unusable = 2;

template <class T>
LG_HD ScreenVertex make_screen_vertex(const T* p, int64_t width, int64_t height) {
  const T w = p[3], inverse = 1 / w;
  const T x = (p[0] * inverse + 1) * (T(width) / 2), y = (1 - p[1] * inverse) * (T(height) / 2);
  const bool finite = is_finite(p[0]) && is_finite(p[1]) && is_finite(p[2]) && is_finite(p[3]);
  // Faces that are clipped, or whose positions are too coarse in float32 pixels, are examined in float64.
  const bool fine = x > -T(1 << 16) && x < T(1 << 16) && y > -T(1 << 16) && y < T(1 << 16) && w > 0 && p[2] + w >= 0;
  return {static_cast<float>(x), static_cast<float>(y), (fine ? 0 : vertex_coarse) | (finite ? 0 : vertex_unusable)};
}

// The box of a face none of whose vertices has a flag.
template <class T>
LG_HD Box box_of(const Scene<T>& scene, const ScreenVertex& a, const ScreenVertex& b, const ScreenVertex& c) {
  return make_box(minimum(a.x, minimum(b.x, c.x)), minimum(a.y, minimum(b.y, c.y)), maximum(a.x, maximum(b.x, c.x)),
                  maximum(a.y, maximum(b.y, c.y)), scene.reach, scene.viewport.width, scene.viewport.height);
}

// The box of any other face with finite coordinates.
template <class T>
LG_HD_LARGE Box box_of_cut_face(const Scene<T>& scene, int64_t view, int64_t face) {
  double p[3][4];
  scene.corners(view, face, p);
  FaceFrame frame;
  if (!make_frame(p, 0, 0, scene.viewport, scene.flags, frame)) return {0, 0, -1, -1};
  return frame_box(frame, scene.viewport, scene.reach);
}

// ---- A face and the pixels of a part of the image -----------------------------------------------------------------

// A lower bound of the depth of the face at all pixels.
template <class T>
LG_HD T min_z_of(const Face<T>& face, int32_t flags) {
  if (face.edges != 3 || !(flags & flag_clip)) return T(-1);
  const T least = minimum(face.z[0] / face.w[0], minimum(face.z[1] / face.w[1], face.z[2] / face.w[2]));
  // Through rounding, a weighted mean may lie slightly outside the range of its values.
  return least - T(1e-5) * (least < 0 ? -least : least);
}

// Whether a face may reach some point within `margin` of (x, y). The margin includes the blur radius.
template <class T>
LG_HD bool may_reach(const Face<T>& face, T x, T y, T margin) {
  bool reaches = true;
  for (int e = 0; e < face.edges; ++e) reaches &= face.nx[e] * x + face.ny[e] * y + face.c[e] >= -margin;
  return reaches;
}

}  // namespace lg::soft
