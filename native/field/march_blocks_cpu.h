// Marching on the CPU, by blocks of segments.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <new>

#include "field/block_cpu.h"
#include "field/voxel_layout_cpu.h"
#include "math/bits.h"
#include "math/lanes.h"

namespace lg::field {

// Rays that are marched side by side, a block of each at a time: what neighbours read is then still in the cache.
constexpr int bundle_size = 32;
// Of which so many go through each pass together.
constexpr int group_size = 8;

// A ray on its way.
template <class T, class Layout>
struct Traveller {
  Ray<T> ray;
  BlockWalk<T> walk;
  typename Layout::Sum sum;
  Lanes<T> sums_t = T(0);
  T passed = 1, middle = 0;
  bool done = false;

  Traveller(const March<T>& march, int64_t item) : ray(march.ray(item)), walk(march, ray), sum(march.volume) {}
  Traveller(const Traveller&) = delete;

  bool start(const March<T>& march, Block<T>& block) {
    done = !(passed > march.min_transmittance) || !walk.next(block);
    return !done;
  }

  void finish(const March<T>& march, const Block<T>& block, const Reach<T>& reach) {
    const T* reaches = reach.reaches;
    const int count = reach.count;
    alignas(64) T weight[block_size];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) weight[i] = i < count ? reaches[i] * block.absorbed[i] : T(0);
    sum.add(march.volume, block, weight);
    sums_t += load(weight) * load(block.middle);
    uint64_t crossed = 0;  // a bit for each segment: transmittance need not fall
    for (int i = 0; i < block_size; ++i)
      crossed |= static_cast<uint64_t>((reaches[i] >= T(0.5)) & (reaches[i + 1] < T(0.5))) << i;
    crossed &= (uint64_t{1} << count) - 1;
    if (crossed) {
      const int i = highest_bit(crossed);
      const T tau = block.extinction[i] * ray.norm * block.length[i];
      middle = block.begin[i] + block.length[i] * (std::log(2 * reaches[i]) / tau);
    }
    passed = reach.behind();
  }

  // False where something is not finite.
  bool arrive(const MarchForward<T>& out, int64_t item) const {
    const T sum_t = lg::sum(sums_t);
    out.alpha[item] = 1 - passed;
    out.depth[item] = sum_t;
    out.median[item] = middle;
    T all = passed + sum_t, *features = out.features + out.march.features() * item;
    for (int64_t c = 0; c < out.march.features(); ++c) all += features[c] = sum.value(out.march.volume, c + 1);
    return is_finite(all);
  }
};

// Marches rays `first` to `end`, at most bundle_size.
template <class Layout, class T>
void march_bundle(const MarchForward<T>& out, int64_t first, int64_t end) {
  using One = Traveller<T, Layout>;
  const March<T>& march = out.march;
  alignas(alignof(One)) unsigned char place[bundle_size * sizeof(One)];
  auto* travellers = reinterpret_cast<One*>(place);
  int going[bundle_size], count = static_cast<int>(end - first);
  for (int i = 0; i < count; ++i) {
    new (travellers + i) One(march, first + i);
    going[i] = i;
  }
  Block<T> blocks[group_size];
  Reach<T> reach[group_size];
  while (count > 0) {
    int left = 0;
    for (int begin = 0, next = 0; begin < count; begin = next) {
      int of_group = 0, ray[group_size];
      for (; next < count && of_group < group_size; ++next) {
        ray[of_group] = going[next];
        of_group += travellers[going[next]].start(march, blocks[of_group]) ? 1 : 0;
      }
      Layout::interpolate(march.volume, blocks, of_group);
      absorb_blocks<Layout::density_stride>(march.activation, blocks, of_group);
      for (int b = 0; b < of_group; ++b) reach[b].set(blocks[b], march.min_transmittance, travellers[ray[b]].passed);
      for (int b = 0; b < of_group; ++b) travellers[ray[b]].finish(march, blocks[b], reach[b]);
      for (int b = 0; b < of_group; ++b) going[left++] = ray[b];
    }
    count = left;
  }
  for (int64_t item = first; item < end; ++item) {
    One& one = travellers[item - first];
    if (!one.arrive(out, item)) out(item);
    one.~One();
  }
}

}  // namespace lg::field
