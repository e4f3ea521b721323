// The gradient of marching with respect to the grid, on the CPU, in blocks of segments.
#pragma once

#include <cstdint>

#include "field/block_cpu.h"
#include "field/grid_gradient_cpu.h"
#include "field/move_blocks_cpu.h"
#include "field/voxel_layout_cpu.h"
#include "math/lanes.h"
#include "runtime/memory.h"

namespace lg::field {

// Marches sixteen rays forward and back, to compute the contributions of their segments to the grid.
template <class Layout, class T>
class PullGroup {
  using Row = OfRays<T>;

 public:
  PullGroup(const March<T>& march, const OutputGradients<T>& out, int64_t first, int count, Trail<T>& trail,
            Array<WayBack<T>>& back, Array<Course<T>>* courses)
      : march_(march),
        count_(count),
        walk_(march, first, count),
        given_(march.volume, [&](int r) { return features_of(march, out, first, r, count); }),
        trail_(trail),
        back_(back),
        courses_(courses),
        turn_{trail.size(), 0, first, count} {
    for (int r = 0; r < block_rays; ++r) {
      const T* features = features_of(march, out, first, r, count);
      all_[r] = 0;
      for (int64_t c = 0; features && c < march.features(); ++c) all_[r] += features[c];
      alpha_[r] = out.alpha && r < count ? out.alpha[first + r] : T(0);
      depth_[r] = out.depth && r < count ? out.depth[first + r] : T(0);
    }
    back.clear();
    if (courses) courses->clear();
  }
  PullGroup(const PullGroup&) = delete;

  // Returns the rays in which something is not finite, as bits. They contribute nothing.
  uint32_t run() {
    go_along();
    const Row sum = go_back();
    turn_.count = trail_.size() - turn_.first;
    trail_.turns.push_back(turn_);
    uint32_t wrong = 0;
    for (int r = 0; r < count_; ++r) wrong |= static_cast<uint32_t>(!is_finite(sum[r] + all_[r])) << r;
    if (wrong) take_back(wrong);
    return wrong;
  }

  // The rays' own gradients; requires `courses`, and run() before. only_limits: nothing else is needed.
  MoveGroup<Layout, T> motion(bool only_limits) const {
    MoveGroup<Layout, T> motion(march_, walk_, given_, depth_, only_limits);
    for (size_t number = 0; number < back_.size(); ++number) {
      motion.add(&trail_[turn_.first + number * gifts_of_segment()], back_[number], (*courses_)[number]);
    }
    return motion;
  }

 private:
  static const T* features_of(const March<T>& march, const OutputGradients<T>& out, int64_t first, int r, int count) {
    return out.features && r < count ? out.features + (first + r) * march.features() : nullptr;
  }

  // The contributions of a segment: at its midpoint and, if segments are cells, at its first and last points.
  size_t gifts_of_segment() const { return march_.step == 0 ? 3 : 1; }

  // Forward: `density` holds the derivatives of optical depths with respect to interpolated densities.
  void go_along() {
    Passage<T> passage(march_.min_transmittance);
    const Row alpha = Row::load(alpha_), depth = Row::load(depth_);
    const bool exact = march_.step == 0;
    while (true) {
      Gifts<T>* gifts = trail_.extend(gifts_of_segment());
      block_.samples.places = &gifts[0].places;
      for (int e = 0; exact && e < 2; ++e) block_.ends[e].places = &gifts[1 + e].places;
      Course<T>* course = courses_ ? courses_->extend(1) : nullptr;
      if (course) block_.cell_ends = &course->ends;
      if (!walk_.next(passage.going() & walk_.hits(), block_)) break;
      sample_block<Layout>(march_, block_);
      if (course)
        course->begin = block_.begin, course->end = block_.end, course->extinction = block_.samples.extinction;
      WayBack<T>& back = *back_.extend(1);
      for (int i = 0; i < block_depth; ++i) back.gain.set_row(i, alpha + depth * block_.middle.row(i));
      given_.add_gain(march_.volume, block_, back.gain);
      for (int i = 0; i < block_depth; ++i) {
        const typename Passage<T>::Segment segment = passage.pass(block_, i);
        const Row length = block_.length.row(i);
        gifts->weight.set_row(i, segment.weight);
        gifts->density.set_row(i, only(segment.counts, block_.samples.slope.row(i) * length));
        for (int e = 0; exact && e < 2; ++e) {
          gifts[1 + e].density.set_row(i, only(segment.counts, block_.ends[e].slope.row(i) * length));
          gifts[1 + e].weight.set_row(i, Row(T(0)));
        }
        back.gain.set_row(i, only(segment.counts, back.gain.row(i)));
        back.behind.set_row(i, segment.behind);
      }
    }
    trail_.cut(gifts_of_segment());
  }

  // Returns the sum of all contributions.
  Row go_back() {
    Row after(T(0)), sum(T(0));
    for (size_t number = back_.size(); number-- > 0;) {
      WayBack<T>& back = back_[number];
      Gifts<T>* gifts = &trail_[turn_.first + number * gifts_of_segment()];
      for (int i = block_depth; i-- > 0;) {
        const Row gain = back.gain.row(i), by_tau = back.behind.row(i) * gain - after;
        const Row weight = gifts->weight.row(i);
        after += weight * gain;
        back.by_tau.set_row(i, by_tau);
        sum += weight;
        for (size_t k = 0; k < gifts_of_segment(); ++k) {
          const Row density = by_tau * gifts[k].density.row(i);
          gifts[k].density.set_row(i, density);
          sum += density;
        }
      }
    }
    return sum;
  }

  void take_back(uint32_t rays) {
    const auto wrong = mask_of<T>(rays);
    for (size_t p = turn_.first; p < trail_.size(); ++p) {
      Gifts<T>& gifts = trail_[p];
      for (int i = 0; i < block_depth; ++i) {
        gifts.density.set_row(i, only(!wrong, gifts.density.row(i)));
        gifts.weight.set_row(i, only(!wrong, gifts.weight.row(i)));
      }
    }
  }

  const March<T>& march_;
  const int count_;
  BlockWalk<T> walk_;
  Block<T> block_;
  const typename Layout::Given given_;
  Trail<T>& trail_;
  Array<WayBack<T>>& back_;
  Array<Course<T>>* courses_;
  Turn turn_;
  alignas(64) T alpha_[block_rays], depth_[block_rays], all_[block_rays];
};

// Receives the contributions of a ray to the grid from PullRay. Virtual, because the code of PullRay is long.
template <class T>
class GiftSink {
 public:
  virtual void add(const int32_t* cell, const T* fraction, T density, T weight, int64_t ray) = 0;

 protected:
  ~GiftSink() = default;
};

// Stores them in a trail.
template <class T>
class CollectGifts final : public GiftSink<T> {
 public:
  CollectGifts(const Volume<T>& volume, Trail<T>& trail, int64_t ray)
      : volume_(volume), trail_(trail), turn_{trail.size(), 0, ray, 1} {}

  void add(const int32_t* cell, const T* fraction, T density, T weight, int64_t) override {
    if (count_ % block_size == 0) trail_.extend(1)->clear();
    Gifts<T>& gifts = trail_[trail_.size() - 1];
    const int j = count_++ % block_size;
    gifts.places.voxel[j] = static_cast<int32_t>(first_value(volume_, cell) / volume_.channels);
    gifts.places.x[j] = fraction[0], gifts.places.y[j] = fraction[1], gifts.places.z[j] = fraction[2];
    gifts.density[j] = density, gifts.weight[j] = weight;
  }

  // At the end of the ray.
  void finish() {
    turn_.count = trail_.size() - turn_.first;
    trail_.turns.push_back(turn_);
  }

 private:
  const Volume<T>& volume_;
  Trail<T>& trail_;
  Turn turn_;
  int count_ = 0;
};

}  // namespace lg::field
