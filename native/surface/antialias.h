// Antialiasing of one pair of neighbouring pixels and of one pixel, and the way back.
//
// Where a silhouette edge crosses the line between the centres of two neighbouring pixels, the pixel that the edge cuts
// into takes a share of the other one's colour: the distance by which the crossing lies beyond the middle of the pair
// (Laine et al. 2020, section 3.5).
#pragma once

#include <cstdint>

#include "parallel/image_size.h"
#include "parallel/mesh_index.h"
#include "runtime/config.h"
#include "surface/crossing.h"
#include "surface/fragments.h"
#include "surface/silhouettes.h"

namespace lg::surface {

template <class T>
struct AntialiasScene {
  const T* color;
  Fragments<T> fragments;
  const T* pos;
  MeshIndex mesh;
  const int32_t* topology;
  ImageSize image;
  int64_t channels;
  bool own_edges;        // nvdiffrast's rule: only edges of visible triangles, and weights may have any sum
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
AntialiasScene<T> make_antialias_scene(const void* color, const int32_t* frag_tri, const void* depth, const void* rast,
                                       const void* pos, const int32_t* tri, const int32_t* topology, int32_t shared,
                                       int64_t views, int64_t vertices, int64_t triangles, int64_t height,
                                       int64_t width, int64_t channels, int32_t own_edges, const uint8_t* flags) {
  return {static_cast<const T*>(color),
          make_fragments<T>(frag_tri, nullptr, depth, rast),
          static_cast<const T*>(pos),
          {tri, vertices, triangles, shared != 0},
          topology,
          {views, height, width},
          channels,
          own_edges != 0,
          flags};
}

// ---- One pair ----------------------------------------------------------------------------------------------

// A silhouette crossing between two neighbours: how much of its neighbour's colour a pixel takes.
struct PairBlend {
  double weight = 0;        // zero where the crossing is half-way; its derivative is not
  bool first_takes = true;  // the left or upper pixel is the one that takes
  Crossing crossing;        // not found: nothing to do
};

// The crossing between a pair's pixels: on the outline of the nearer surface or, if that continues, of the farther
// one.
template <class T>
LG_HD Crossing find_crossing(const AntialiasScene<T>& s, const PixelPair& pair, int64_t nearer, int64_t farther,
                             bool first_is_nearer) {
  const SurfaceView<T> surface = s.surface(pair.view);
  const PairView view = make_pair_view(pair, first_is_nearer, s.image);
  Crossing crossing = s.own_edges ? find_own_edge(surface, nearer, view) : find_outline(surface, nearer, farther, view);
  crossing.owned_by_first = first_is_nearer;
  if (crossing.found() || s.own_edges || farther < 0) return crossing;
  const PairView from_farther = make_pair_view(pair, !first_is_nearer, s.image);
  crossing = find_outline(surface, farther, nearer, from_farther);
  if (!crossing.found() || !is_in_front_of(surface, crossing, nearer, from_farther)) return {};
  crossing.owned_by_first = !first_is_nearer;
  return crossing;
}

// How the pair's pixels blend.
template <class T>
LG_HD PairBlend blend_pair(const AntialiasScene<T>& s, const PixelPair& pair) {
  PairBlend blend;
  const int64_t first = s.image.pixel(pair.view, pair.row, pair.column);
  const int64_t second = first + (pair.vertical ? s.image.width : 1);
  const int32_t t0 = s.mesh.seen(s.fragments.triangle(first)), t1 = s.mesh.seen(s.fragments.triangle(second));
  if (t0 == t1) return blend;
  const bool first_is_nearer = t1 < 0 || (t0 >= 0 && s.fragments.depth_at(first) <= s.fragments.depth_at(second));
  const int32_t nearer = first_is_nearer ? t0 : t1, farther = first_is_nearer ? t1 : t0;
  blend.crossing = find_crossing(s, pair, nearer, farther, first_is_nearer);
  if (!blend.crossing.found()) return blend;
  const double owner_takes = 0.5 - blend.crossing.distance;
  blend.first_takes = blend.crossing.owned_by_first ? owner_takes > 0 : owner_takes < 0;
  blend.weight = magnitude(owner_takes);
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

// The divisor of a pixel's four weights that keeps the blend within the range of its colours.
LG_HD double weight_divisor(const double weight[4], bool own_edges) {
  const double sum = weight[0] + weight[1] + weight[2] + weight[3];
  return !own_edges && sum > 1 ? sum : 1;
}

// Adds to a pixel's colour what it takes from its neighbours. target: the pixel's colour in the output.
template <class T>
LG_HD void blend_pixel(const AntialiasScene<T>& s, int64_t pixel, const double weight[4], T* LG_RESTRICT target) {
  const double divisor = weight_divisor(weight, s.own_edges);
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

// d loss / d weight for the four sides of a pixel; zero where there is no crossing.
template <class T>
LG_HD void weight_gradients(const AntialiasScene<T>& s, const T* grad_out, int64_t pixel, const double weight[4],
                            const Crossing crossing[4], double grad[4]) {
  const double divisor = weight_divisor(weight, s.own_edges);
  double mean = 0;
  for (int side = 0; side < 4; ++side) {
    grad[side] = 0;
    if (!crossing[side].found()) continue;
    grad[side] = share_gradient(s, grad_out, pixel, neighbour(pixel, side, s.image.width));
    mean += grad[side] * weight[side] / divisor;
  }
  for (int side = 0; side < 4 && divisor > 1; ++side) {
    if (crossing[side].found()) grad[side] = (grad[side] - mean) / divisor;
  }
}

// The gradients of x, y, z, w at both ends of the silhouette edge that makes a pixel take colour from a side. False if
// there are none: a clamped crossing does not move.
template <class T>
LG_HD bool edge_gradient(const AntialiasScene<T>& s, const PixelPair& pair, int side, const Crossing& crossing,
                         double grad_weight, T grad[8]) {
  if (crossing.clamped) return false;
  // The weight is the distance of the crossing from the middle; the owner takes if the crossing is the nearer of the
  // two.
  const bool takes_first = side == right || side == below, takes_owner = takes_first == crossing.owned_by_first;
  const double grad_distance = takes_owner ? -grad_weight : grad_weight;
  const SurfaceView<T> surface = s.surface(pair.view);
  double grad_a[4], grad_b[4];
  crossing_gradients(surface.corner(crossing.triangle, (crossing.edge + 1) % 3),
                     surface.corner(crossing.triangle, (crossing.edge + 2) % 3),
                     make_pair_view(pair, crossing.owned_by_first, s.image), grad_a, grad_b);
  for (int i = 0; i < 4; ++i) {
    grad[i] = static_cast<T>(grad_distance * grad_a[i]);
    grad[4 + i] = static_cast<T>(grad_distance * grad_b[i]);
  }
  return true;
}

}  // namespace lg::surface
