// Marching on the CPU, in blocks of segments.
#pragma once

#include <cmath>
#include <cstdint>

#include "field/block_cpu.h"
#include "field/voxel_layout_cpu.h"
#include "math/lanes.h"

namespace lg::field {

// Sixteen rays in progress through a grid.
template <class Layout, class T>
class MarchGroup {
  using Row = OfRays<T>;

 public:
  MarchGroup(const March<T>& march, int64_t first, int count)
      : march_(march), walk_(march, first, count), sum_(march.volume), passage_(march.min_transmittance) {
    block_.samples.places = &places_;
    for (int e = 0; e < 2; ++e) block_.ends[e].places = &ends_[e];
  }
  MarchGroup(const MarchGroup&) = delete;

  void run() {
    while (walk_.next(passage_.going() & walk_.hits(), block_)) {
      sample_block<Layout>(march_, block_);
      OfSegments<T> weight;
      for (int i = 0; i < block_depth; ++i) {
        const typename Passage<T>::Segment segment = passage_.pass(block_, i);
        weight.set_row(i, segment.weight);
        sum_t_ += segment.weight * block_.middle.row(i);
        const auto half = (Row(T(0.5)) <= segment.reaches) & (segment.behind < Row(T(0.5)));
        if (any(half)) find_middles(bits_of(half), i, segment.reaches);
      }
      sum_.add(march_.volume, block_, weight);
    }
  }

  // False if something is not finite.
  bool arrive(const MarchForward<T>& out, int r, int64_t item) const {
    const T passed = passage_.passed()[r], sum_t = sum_t_[r];
    out.alpha[item] = 1 - passed;
    out.depth[item] = sum_t;
    out.median[item] = middle_[r];
    T all = passed + sum_t, *features = out.features + march_.features() * item;
    for (int64_t c = 0; c < march_.features(); ++c) all += features[c] = sum_.value(r, c + 1);
    return is_finite(all);
  }

 private:
  void find_middles(uint32_t rays, int i, const Row& reaches) {
    for (int r = 0; r < block_rays; ++r) {
      if (!(rays >> r & 1)) continue;
      const int j = block_rays * i + r;
      const T length = block_.length[j], tau = block_.samples.extinction[j] * length;
      middle_[r] = block_.begin[j] + length / walk_.ray(r).norm * (std::log(2 * reaches[r]) / tau);
    }
  }

  const March<T>& march_;
  BlockWalk<T> walk_;
  Block<T> block_;
  Places<T> places_, ends_[2];
  typename Layout::Sum sum_;
  Passage<T> passage_;
  Row sum_t_ = T(0);
  T middle_[block_rays] = {};
};

// Marches rays `first` to `end`, at most sixteen.
template <class Layout, class T>
void march_group(const MarchForward<T>& out, int64_t first, int64_t end) {
  MarchGroup<Layout, T> group(out.march, first, static_cast<int>(end - first));
  group.run();
  for (int64_t item = first; item < end; ++item) {
    if (!group.arrive(out, static_cast<int>(item - first), item)) out(item);
  }
}

}  // namespace lg::field
