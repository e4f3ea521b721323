// Destinations of the gradients of primitives on CUDA. A warp sums its pixels' gradients for a primitive; then each of
// its lanes adds one value to memory.
#pragma once

#include "parallel/gradients_cuda.h"
#include "splat/pull_back.h"
#include "splat/tile_cuda.h"

namespace lg {
namespace splat {

// Of one input: into its tensor, or nowhere.
template <class T>
struct Target {
  T* data;
  int64_t first_slot;  // of GradientSum
  int64_t components;  // from one primitive to the next
  bool of_every_view;

  LG_DEVICE int64_t at(int64_t view, int64_t primitives) const {
    return of_every_view ? view * primitives * components : 0;
  }
};

template <class T>
struct Targets {
  Target<T> positions, shapes, depths, opacities, features;
};

// The address to which this lane adds: that of one of a primitive's values.
template <class T, class Footprint, int Group>
class LaneTarget {
  using R = Record<Footprint>;

 public:
  static constexpr int values = static_cast<int>(R::size(Group));
  static_assert(values <= 32, "a lane for each value");

  LG_DEVICE LaneTarget(const Targets<T>& to, const Compositing<T>& c, int64_t view) {
    const auto lane = static_cast<int>(lane_id());
    if (lane < R::shape)
      take(to.positions, c, view, lane);
    else if (lane < R::opacity)
      take(to.shapes, c, view, lane - R::shape);
    else if (lane < R::features)
      take(to.opacities, c, view, 0);
    else if (lane < R::depth(Group) && c.first_channel + lane - R::features < c.scene.channels)
      take(to.features, c, view, c.first_channel + lane - R::features);
    else if (lane == R::depth(Group))
      take(to.depths, c, view, 0);
  }

  // Converts a lane's sums to the values of a primitive, of which this lane adds one.
  LG_DEVICE void add(const GradientSum<T>& sum, const Stage<T, Footprint, Group>& stage, int at,
                     const Sums<T, Footprint, Group>& of_pixel) const {
    T sums[Footprint::sums + Group + 2];
#pragma unroll
    for (int k = 0; k < Footprint::sums; ++k) sums[k] = of_pixel.footprint[k];
    sums[Footprint::sums] = of_pixel.opacity;
#pragma unroll
    for (int i = 0; i < Group; ++i) sums[Footprint::sums + 1 + i] = of_pixel.features[i];
    sums[Footprint::sums + 1 + Group] = of_pixel.depth;
    add_up_warp(sums);
    T record[values];
    Footprint::finish(stage.item[at], sums, record);
#pragma unroll
    for (int k = R::opacity; k < values; ++k) record[k] = sums[Footprint::sums + k - R::opacity];
    T mine = 0;
#pragma unroll
    for (int k = 0; k < values; ++k) mine = static_cast<int>(lane_id()) == k ? record[k] : mine;
    const int64_t p = stage.primitive[at];
    if (place_) sum.add(place_ + p * step_, slot_ + p * step_, mine);
  }

 private:
  LG_DEVICE void take(const Target<T>& to, const Compositing<T>& c, int64_t view, int64_t component) {
    if (!to.data) return;
    const int64_t at = to.at(view, c.scene.primitives) + component;
    place_ = to.data + at;
    slot_ = to.first_slot + at;
    step_ = to.components;
  }

  T* place_ = nullptr;  // of the first primitive
  int64_t slot_ = 0, step_ = 0;
};

}  // namespace splat
}  // namespace lg
