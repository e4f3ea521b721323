// Finds the visible triangle of every pixel, on CUDA.
#pragma once

#include <cstdint>

#include "runtime/cuda/launch.h"
#include "surface/visibility.h"

namespace lg::surface {

// Depth and triangle as one number, whose minimum is visible. At equal depths that is the triangle with the larger
// number.
constexpr uint64_t nothing_seen = ~uint64_t{0};

LG_DEVICE uint64_t visibility_key(float depth, int32_t triangle) {
  const uint32_t bits = float_bits(depth + 0.0f);  // -0 becomes 0
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | ~static_cast<uint32_t>(triangle);
}
LG_DEVICE int32_t key_triangle(uint64_t key) { return static_cast<int32_t>(~static_cast<uint32_t>(key)); }
LG_DEVICE float key_depth(uint64_t key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return bits_float(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

// Workspace of a visibility pass.
class VisibilityPass {
 public:
  explicit VisibilityPass(const VisibilityRequest& request);
  void plan(Workspace& workspace);
  // keys [views, height, width] of `stride` numbers each; only the first is written.
  void run(Queue& queue, uint64_t* keys, int32_t stride);

 private:
  int64_t geometry_views() const { return r_.mesh.shared ? 1 : r_.image.views; }

  VisibilityRequest r_;
  int64_t most_triangles_, queue_capacity_;
  SnappedVertex* snapped_ = nullptr;
  struct LargeTriangle* queue_ = nullptr;
  uint64_t* queue_counter_ = nullptr;
  uint32_t* ranges_ = nullptr;
};

}  // namespace lg::surface
