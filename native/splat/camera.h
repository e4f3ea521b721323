// The camera, for footprints that lie in the world.
#pragma once

#include "runtime/config.h"

namespace lg {
namespace splat {

// A camera in double precision; axes x right, y up, z into the scene.
struct Camera {
  double rotation[9], translation[3];  // world to camera
  double fx, fy, cx, cy;
};

LG_HD void to_camera(const Camera& camera, const double* world, double* out) {
  for (int k = 0; k < 3; ++k) {
    const double* row = camera.rotation + 3 * k;
    out[k] = (row[0] * world[0] + row[1] * world[1]) + (row[2] * world[2] + camera.translation[k]);
  }
}

}  // namespace splat
}  // namespace lg
