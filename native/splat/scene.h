// The inputs of a call of the splatting kernels, and its primitives as seen by a footprint.
#pragma once

#include <cmath>
#include <cstdint>

#include "lumigrad.h"
#include "splat/blending.h"
#include "splat/bounds.h"
#include "splat/camera.h"
#include "splat/footprint.h"
#include "splat/tiles.h"

namespace lg {
namespace splat {

// Values of primitives, separate for each view or shared by all.
template <class T>
struct PerPrimitive {
  const T* data;
  int64_t views, primitives, channels, stride;  // stride: from one primitive to the next
  LG_HD const T* at(int64_t view, int64_t p) const { return data + ((views > 1 ? view * primitives : 0) + p) * stride; }
};

template <class T>
struct Scene {
  PerPrimitive<T> positions, shapes, depths, opacities, features;
  const T* background;  // [1 or views, channels]
  int64_t background_views, primitives, channels;
  Tiles tiles;
  const T* matrix;      // [views, 4, 4], null for footprints in pixels
  const T* intrinsics;  // [views, 4]
  T gamma;
  Settings settings;

  LG_HD const T* background_of(int64_t v) const { return background + (background_views > 1 ? v * channels : 0); }

  LG_HD Camera camera(int64_t v) const {
    Camera out{};
    if (!matrix) return out;
    const T *m = matrix + 16 * v, *f = intrinsics + 4 * v;
    for (int k = 0; k < 3; ++k) {
      const double sign = k == 2 ? -1 : 1;  // cameras look along -z, here z is into the scene
      for (int j = 0; j < 3; ++j) out.rotation[3 * k + j] = sign * double(m[4 * k + j]);
      out.translation[k] = sign * double(m[4 * k + 3]);
    }
    out.fx = f[0], out.fy = f[1], out.cx = f[2], out.cy = f[3];
    return out;
  }
};

// The inputs of a call. The caller reads its gamma, because with CUDA it lies on the device.
template <class T>
Scene<T> make_scene(const lg_splat_scene& in) {
  const auto values = [](const void* data) { return static_cast<const T*>(data); };
  const int64_t count = in.primitives;
  Scene<T> scene{};
  scene.positions = {values(in.positions), in.position_views, count, in.position_components, in.position_components};
  scene.shapes = {values(in.shapes), in.shape_views, count, in.shape_components, in.shape_components};
  scene.depths = {values(in.depths), in.depth_views, count, 1, 1};
  scene.opacities = {values(in.opacities), in.opacity_views, count, 1, 1};
  scene.features = {values(in.features), in.feature_views, count, in.channels, in.channels};
  scene.background = values(in.background);
  scene.background_views = in.background_views;
  scene.primitives = count;
  scene.channels = in.channels;
  scene.tiles = {in.views, in.height, in.width};
  scene.matrix = values(in.matrix);
  scene.intrinsics = values(in.intrinsics);
  scene.gamma = T(1);
  scene.settings = {in.max_alpha, in.min_alpha, in.stop, in.min_depth, in.max_depth, in.merge, in.max_contributors};
  return scene;
}

// From 1 on, spheres are as good as opaque. Beyond this limit, sums over several of them would not be finite.
constexpr double max_sphere_opacity = 1e9;

// Uniform access to primitives, whether their footprints are in the world or in pixels.
template <class T, class Footprint, bool InWorld = (Footprint::position == 3)>
struct Primitives;

template <class T, class Footprint>
struct Primitives<T, Footprint, false> {
  static LG_HD bool bound(const Scene<T>& scene, const Camera&, int64_t v, int64_t p, Bound* out, float* depth) {
    const T *xy = scene.positions.at(v, p), z = *scene.depths.at(v, p), opacity = *scene.opacities.at(v, p);
    if (!std::isfinite(xy[0] + xy[1] + z + opacity)) return false;
    *depth = static_cast<float>(z);
    const T min_alpha = static_cast<T>(scene.settings.min_alpha);
    return Footprint::bound(xy, scene.shapes.at(v, p), opacity, min_alpha, out);
  }
  static LG_HD typename Footprint::Item load(const Scene<T>& scene, const Camera&, int64_t v, int64_t p,
                                             const Window& window) {
    return Footprint::load(scene.positions.at(v, p), scene.shapes.at(v, p), *scene.depths.at(v, p), window);
  }
};

template <class T, class Footprint>
struct Primitives<T, Footprint, true> {
  static LG_HD void centre_of(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, double* centre) {
    const T* x = scene.positions.at(v, p);
    const double world[3] = {double(x[0]), double(x[1]), double(x[2])};
    to_camera(camera, world, centre);
  }
  static LG_HD bool bound(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, Bound* out, float* depth) {
    const double radius = *scene.shapes.at(v, p), opacity = *scene.opacities.at(v, p);
    double c[3];
    centre_of(scene, camera, v, p, c);
    const double front = Footprint::front(c, radius);
    if (!(radius > 0) || !std::isfinite(c[0] + c[1] + c[2] + radius)) return false;
    if (!(opacity > 0 && opacity <= max_sphere_opacity)) return false;
    if (!(front >= scene.settings.min_depth && front <= scene.settings.max_depth && front > 0)) return false;
    *depth = static_cast<float>(front);
    return Footprint::bound(c, radius, camera, out);
  }
  static LG_HD typename Footprint::Item load(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p,
                                             const Window& window) {
    double c[3];
    centre_of(scene, camera, v, p, c);
    return Footprint::load(c, double(*scene.shapes.at(v, p)), camera, window);
  }
};

}  // namespace splat
}  // namespace lg
