// Antialiasing of one pair of neighbouring pixels and of one pixel, and the way back.
//
// Where a silhouette edge crosses the line between the centres of two neighbouring pixels, the pixel that the edge
// cuts into takes part of the other one's colour: as much as the crossing lies beyond the middle of the pair
// (Laine et al. 2020, section 3.5).
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"
#include "surface/crossing.h"
#include "surface/silhouettes.h"

namespace lg::surface {

template <class T>
struct AntialiasScene {
  const T* color;
  const int32_t* frag_tri;
  const T* depth;
  const T* pos;
  MeshIndex mesh;
  const int32_t* topology;
  ImageSize image;
  int64_t channels;
  bool unbounded;        // nvdiffrast's rule: crossings at any distance, weights of any sum
  const uint8_t* flags;  // [views or 1, triangles]: see silhouettes.h

  LG_HD int64_t geometry_views() const { return mesh.shared ? (image.views < 1 ? image.views : 1) : image.views; }
  LG_HD SurfaceView<T> surface(int64_t view) const {
    return {pos + 4 * mesh.first_row(view),
            mesh.tri,
            {topology, 3 * mesh.triangles},
            flags + (mesh.shared ? 0 : view * mesh.triangles),
            mesh.vertices};
  }
};

template <class T>
AntialiasScene<T> make_antialias_scene(const void* color, const int32_t* frag_tri, const void* depth, const void* pos,
                                       const int32_t* tri, const int32_t* topology, int32_t shared, int64_t views,
                                       int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                                       int64_t channels, int32_t unbounded, const uint8_t* flags) {
  return {static_cast<const T*>(color),
          frag_tri,
          static_cast<const T*>(depth),
          static_cast<const T*>(pos),
          {tri, vertices, triangles, shared != 0},
          topology,
          {views, height, width},
          channels,
          unbounded != 0,
          flags};
}

// ---- One pair ----------------------------------------------------------------------------------------------

// A silhouette crossing between two neighbours: how much of its neighbour's colour a pixel takes.
struct PairBlend {
  double weight = 0;        // zero: nothing to do
  bool first_takes = true;  // the left or upper pixel is the one that takes
  Crossing crossing;
};

// How the pair's pixels blend; weight zero if they do not.
template <class T>
LG_HD PairBlend blend_pair(const AntialiasScene<T>& s, const PixelPair& pair) {
  PairBlend blend;
  const int64_t first = s.image.pixel(pair.view, pair.row, pair.column);
  const int64_t second = first + (pair.vertical ? s.image.width : 1);
  const int32_t t0 = s.mesh.seen(s.frag_tri[first]), t1 = s.mesh.seen(s.frag_tri[second]);
  if (t0 == t1) return blend;
  const bool first_in_front = t1 < 0 || (t0 >= 0 && s.depth[first] <= s.depth[second]);
  const int32_t front = first_in_front ? t0 : t1, other = first_in_front ? t1 : t0;
  const PairView from_front = make_pair_view(pair, first_in_front, s.image);
  const SurfaceView<T> surface = s.surface(pair.view);
  blend.crossing =
      s.unbounded ? find_own_edge(surface, front, from_front) : find_outline(surface, front, other, from_front);
  if (blend.crossing.triangle < 0) return blend;
  const double signed_weight = 0.5 - blend.crossing.distance;  // positive: the front pixel takes
  blend.first_takes = (signed_weight > 0) == first_in_front;
  blend.weight = magnitude(signed_weight);
  return blend;
}

// ---- One pixel ---------------------------------------------------------------------------------------------

enum Side { right, left, below, above };  // where the colour comes from

LG_HD int64_t neighbour(int64_t pixel, int side, int64_t width) {
  return side == right ? pixel + 1 : side == left ? pixel - 1 : side == below ? pixel + width : pixel - width;
}

// The pair of a pixel and its neighbour on one side.
LG_HD PixelPair pair_on_side(int64_t view, int64_t row, int64_t column, int side) {
  return {view, row - (side == above), column - (side == left), side >= below};
}

// By how much the weights of a pixel's four sides must be divided so that the blend stays within its colours.
LG_HD double weight_divisor(const double weight[4], bool unbounded) {
  const double sum = weight[0] + weight[1] + weight[2] + weight[3];
  return !unbounded && sum > 1 ? sum : 1;
}

// Adds to a pixel's colour what it takes from its neighbours. target: the pixel's colour in the output.
template <class T>
LG_HD void blend_pixel(const AntialiasScene<T>& s, int64_t pixel, const double weight[4], T* LG_RESTRICT target) {
  const double divisor = weight_divisor(weight, s.unbounded);
  const T* here = s.color + pixel * s.channels;
  for (int side = 0; side < 4; ++side) {
    if (weight[side] == 0) continue;
    const T share = static_cast<T>(weight[side] / divisor);
    const T* other = s.color + neighbour(pixel, side, s.image.width) * s.channels;
    for (int64_t c = 0; c < s.channels; ++c) target[c] += share * (other[c] - here[c]);
  }
}

// ---- Backward ----------------------------------------------------------------------------------------------

// d loss / d (weight / divisor) for what a pixel takes from one side. grad_out: the gradient of the output.
template <class T>
LG_HD double share_gradient(const AntialiasScene<T>& s, const T* grad_out, int64_t here, int64_t other) {
  double sum = 0;
  for (int64_t c = 0; c < s.channels; ++c) {
    const double difference = static_cast<double>(s.color[other * s.channels + c]) - s.color[here * s.channels + c];
    sum += static_cast<double>(grad_out[here * s.channels + c]) * difference;
  }
  return sum;
}

// d loss / d weight for the four sides of a pixel; zero where it takes nothing.
template <class T>
LG_HD void weight_gradients(const AntialiasScene<T>& s, const T* grad_out, int64_t pixel, const double weight[4],
                            double grad[4]) {
  const double divisor = weight_divisor(weight, s.unbounded);
  double mean = 0;
  for (int side = 0; side < 4; ++side) {
    grad[side] = 0;
    if (weight[side] == 0) continue;
    grad[side] = share_gradient(s, grad_out, pixel, neighbour(pixel, side, s.image.width));
    mean += grad[side] * weight[side] / divisor;
  }
  for (int side = 0; side < 4 && divisor > 1; ++side) {
    if (weight[side] != 0) grad[side] = (grad[side] - mean) / divisor;
  }
}

// The gradients of both ends' x, y, z, w of the silhouette edge because of which a pixel takes colour from a side.
// False where there is none: a clamped crossing does not move.
template <class T>
LG_HD bool edge_gradient(const AntialiasScene<T>& s, const PixelPair& pair, int side, const Crossing& crossing,
                         double grad_weight, T grad[8]) {
  if (crossing.clamped) return false;
  // The weight is how far the crossing is from the middle; the pixel in front takes where it is nearer than that.
  const bool takes_in_front = crossing.distance < 0.5, is_first = side == right || side == below;
  const double grad_distance = takes_in_front ? -grad_weight : grad_weight;
  const SurfaceView<T> surface = s.surface(pair.view);
  double grad_a[4], grad_b[4];
  crossing_gradients(surface.corner(crossing.triangle, (crossing.edge + 1) % 3),
                     surface.corner(crossing.triangle, (crossing.edge + 2) % 3),
                     make_pair_view(pair, takes_in_front == is_first, s.image), grad_a, grad_b);
  for (int i = 0; i < 4; ++i) {
    grad[i] = static_cast<T>(grad_distance * grad_a[i]);
    grad[4 + i] = static_cast<T>(grad_distance * grad_b[i]);
  }
  return true;
}

}  // namespace lg::surface
