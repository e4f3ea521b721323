// The gradient of marching to the grid on the CPU, by blocks of segments.
#pragma once

#include <cstdint>
#include <new>
#include <vector>

#include "field/block_cpu.h"
#include "field/grid_gradient_cpu.h"
#include "field/voxel_layout_cpu.h"
#include "math/lanes.h"

namespace lg::field {

// Rays whose gradients are found side by side. Their trails have to stay in the cache.
constexpr int trail_bundle_size = most_givers;
// Of which so many go through each pass together.
constexpr int trail_group_size = 8;

// A ray's segments, kept for the way back.
template <class T>
struct Trail {
  struct Part {
    // What the segments give. Before the way back, `density` is the derivative of their optical depths by the
    // interpolated densities, and `weight` what reaches them.
    Gifts<T> gifts;
    // Zero, passed one, behind the last segment that counts. gain: the derivative of the loss by a segment's weight.
    alignas(64) T passed[block_size], absorbed[block_size], gain[block_size];
  };
  std::vector<Part> parts;
  size_t count;
};

// Goes along ray `item` and back, to what its segments give the grid.
template <class T, class Layout>
class PullTrail {
 public:
  PullTrail(const March<T>& march, const OutputGradients<T>& out, int64_t item, Trail<T>& trail)
      : march_(march),
        item_(item),
        ray_(march.ray(item)),
        walk_(march, ray_),
        trail_(trail),
        given_(march.volume, out.features ? out.features + item * march.features() : nullptr) {
    for (int64_t c = 0; out.features && c < march.features(); ++c) all_ += out.features[item * march.features() + c];
    alpha_ = out.alpha ? out.alpha[item] : T(0);
    depth_ = out.depth ? out.depth[item] : T(0);
    trail_.count = 0;
  }
  PullTrail(const PullTrail&) = delete;

  // Begins one more part with a block; false where the ray has ended.
  bool start(Block<T>& block) {
    if (!(passed_ > march_.min_transmittance) || !walk_.next(block)) return false;
    if (trail_.count == trail_.parts.size()) trail_.parts.resize(2 * trail_.count + 8);
    ++trail_.count;
    return true;
  }

  void find_gain(const Block<T>& block) {
    T* gain = last().gain;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) gain[i] = alpha_ + depth_ * block.middle[i];
    given_.add_gain(march_.volume, block, gain);
  }

  void reach(const Block<T>& block, Reach<T>& reach) {
    passed_ = reach.set(block, march_.min_transmittance, passed_).behind();
  }

  void finish(const Block<T>& block, const Reach<T>& reach) {
    auto& part = last();
    Gifts<T>& gifts = part.gifts;
    const int count = reach.count;
    gifts.count = count;
    gifts.ray = item_;
    gifts.set_places(block.places);
    const T norm = ray_.norm;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const bool counts = i < count;
      gifts.density[i] = block.slope[i] * norm * block.length[i];
      gifts.weight[i] = counts ? reach.reaches[i] : T(0);
      part.passed[i] = counts ? block.passed[i] : T(1);
      part.absorbed[i] = counts ? block.absorbed[i] : T(0);
      part.gain[i] = counts ? part.gain[i] : T(0);
    }
  }

  size_t count() const { return trail_.count; }

  // Part `number` on the way back: first what the segments behind each of its own give, then what it gives.
  void sum_behind(size_t number) {
    const auto& part = trail_.parts[number];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) after_[i] = part.absorbed[i] * part.gain[i];
    for (int i = block_size; i-- > 0;) {
      const T own = after_[i];
      after_[i] = behind_;
      behind_ = own + part.passed[i] * behind_;
    }
  }
  void find_gifts(size_t number) {
    auto& part = trail_.parts[number];
    Gifts<T>& gifts = part.gifts;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T reaches = gifts.weight[i], by_tau = reaches * part.passed[i] * (part.gain[i] - after_[i]);
      gifts.density[i] = by_tau * gifts.density[i];
      gifts.weight[i] = reaches * part.absorbed[i];
    }
    sum_ += load(gifts.density) + load(gifts.weight);
  }

  // Of all that is given; known at the end of the way back.
  bool is_finite() const { return lg::is_finite(lg::sum(sum_) + all_); }

  const Gifts<T>& gifts(size_t number) const { return trail_.parts[number].gifts; }

 private:
  typename Trail<T>::Part& last() { return trail_.parts[trail_.count - 1]; }

  const March<T>& march_;
  const int64_t item_;
  const Ray<T> ray_;
  BlockWalk<T> walk_;
  Trail<T>& trail_;
  const typename Layout::Given given_;
  T alpha_, depth_, passed_ = 1, behind_ = 0, all_ = 0;
  Lanes<T> sum_ = T(0);
  alignas(64) T after_[block_size];
};

// Has all of some rays go their ways, as many as there are parts at most.
template <class T, class Layout>
size_t go_along(const March<T>& march, PullTrail<T, Layout>* pulls, int count) {
  int going[trail_bundle_size];
  for (int i = 0; i < count; ++i) going[i] = i;
  Block<T> blocks[trail_group_size];
  Reach<T> reach[trail_group_size];
  size_t parts = 0;
  for (; count > 0; ++parts) {
    int left = 0;
    for (int begin = 0, next = 0; begin < count; begin = next) {
      int of_group = 0, ray[trail_group_size];
      for (; next < count && of_group < trail_group_size; ++next) {
        ray[of_group] = going[next];
        of_group += pulls[going[next]].start(blocks[of_group]) ? 1 : 0;
      }
      Layout::interpolate(march.volume, blocks, of_group);
      for (int b = 0; b < of_group; ++b) pulls[ray[b]].find_gain(blocks[b]);
      absorb_blocks<Layout::density_stride>(march.activation, blocks, of_group);
      for (int b = 0; b < of_group; ++b) pulls[ray[b]].reach(blocks[b], reach[b]);
      for (int b = 0; b < of_group; ++b) pulls[ray[b]].finish(blocks[b], reach[b]);
      for (int b = 0; b < of_group; ++b) going[left++] = ray[b];
    }
    count = left;
  }
  return parts;
}

// The gradients of rays `first` to `end`, at most trail_bundle_size, to the grid. Those where something is not finite
// are left to one_by_one(item).
template <class Layout, class T, class OneByOne>
void pull_bundle(const March<T>& march, const OutputGradients<T>& out, int64_t first, int64_t end,
                 std::vector<Trail<T>>& trails, const GiftSink<T>& sink, OneByOne&& one_by_one) {
  using Pull = PullTrail<T, Layout>;
  const auto count = static_cast<int>(end - first);
  if (trails.size() < trail_bundle_size) trails.resize(trail_bundle_size);
  alignas(alignof(Pull)) unsigned char place[trail_bundle_size * sizeof(Pull)];
  auto* pulls = reinterpret_cast<Pull*>(place);
  for (int r = 0; r < count; ++r) new (pulls + r) Pull(march, out, first + r, trails[static_cast<size_t>(r)]);
  const size_t parts = go_along(march, pulls, count);
  for (size_t number = parts; number-- > 0;) {
    for (int r = 0; r < count; ++r) {
      if (number < pulls[r].count()) pulls[r].sum_behind(number);
    }
    for (int r = 0; r < count; ++r) {
      if (number < pulls[r].count()) pulls[r].find_gifts(number);
    }
  }
  for (size_t number = 0; number < parts; ++number) {
    const Gifts<T>* gifts[trail_bundle_size];
    int givers = 0;
    for (int r = 0; r < count; ++r) {
      if (number < pulls[r].count() && pulls[r].is_finite()) gifts[givers++] = &pulls[r].gifts(number);
    }
    sink.take(gifts, givers);
  }
  for (int r = 0; r < count; ++r) {
    if (!pulls[r].is_finite()) one_by_one(first + r);
    pulls[r].~Pull();
  }
}

// Hands a sink what PullRay gives, some at a time.
template <class T>
class CollectGifts {
 public:
  CollectGifts(const Volume<T>& volume, const GiftSink<T>& sink) : volume_(volume), sink_(sink) { gifts_.count = 0; }

  void add(const int32_t* cell, const T* fraction, T density, T weight, int64_t ray) {
    const int i = gifts_.count++;
    gifts_.ray = ray;
    gifts_.voxel[i] = first_value(volume_, cell) / volume_.channels;
    gifts_.row[i] = cell[1], gifts_.slice[i] = cell[2];
    gifts_.x[i] = fraction[0], gifts_.y[i] = fraction[1], gifts_.z[i] = fraction[2];
    gifts_.density[i] = density, gifts_.weight[i] = weight;
    if (gifts_.count == block_size) finish();
  }

  // At the end of a ray.
  void finish() {
    const Gifts<T>* gifts = &gifts_;
    if (gifts_.count > 0) sink_.take(&gifts, 1);
    gifts_.count = 0;
  }

 private:
  const Volume<T>& volume_;
  const GiftSink<T>& sink_;
  Gifts<T> gifts_ = {};
};

}  // namespace lg::field
