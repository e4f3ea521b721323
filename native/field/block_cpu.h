// Sixteen segments of a ray at once on the CPU: where their middles lie, what is interpolated there, what they absorb.
//
// It is for steps of a fixed length through grids of four values a voxel, a density and three features, as most are.
// The two voxels next to each other in a row are read together.
#pragma once

#include <cmath>
#include <cstdint>
#include <new>
#include <vector>

#include "field/march.h"
#include "math/lanes.h"

namespace lg::field {

constexpr int block_size = 16;

template <class T>
struct Block {
  int32_t count;
  alignas(64) T begin[block_size], end[block_size], middle[block_size];
  // The first of the eight voxels around the middle, and how far the middle is on the way to the others.
  alignas(64) int32_t column[block_size], row[block_size], slice[block_size];
  alignas(64) T x[block_size], y[block_size], z[block_size];
  alignas(64) T values[4 * block_size];
  alignas(64) T extinction[block_size], slope[block_size];
  alignas(64) T passed[block_size], absorbed[block_size];
};

template <class T>
bool fits_blocks(const March<T>& march) {
  const Volume<T>& v = march.volume;
  return march.step != 0 && v.channels == 4 && v.size[0] > 1 && v.value_count() < (int64_t{1} << 31);
}

// What stays the same along a ray.
template <class T>
class BlockWalk {
 public:
  BlockWalk(const March<T>& march, const Ray<T>& ray)
      : march_(march), ray_(ray), walk_(march.volume, march.occupancy, ray, march.step) {
    const Volume<T>& v = march.volume;
    for (int a = 0; a < 3; ++a) {
      const T scale = ray.hits ? static_cast<T>(v.size[a]) / v.extent(a) : T(0);
      start_[a] = (ray.origin[a] - v.low(a)) * scale - T(0.5);
      along_[a] = ray.direction[a] * scale;
    }
  }

  // False where there are no more segments. Those behind the last one of a block have no length.
  bool next(Block<T>& block) {
    block.count = walk_.next_block(block.begin, block.end, block_size);
    if (block.count == 0) return false;
    const T last = block.end[block.count - 1];
    for (int i = block.count; i < block_size; ++i) block.begin[i] = block.end[i] = last;
    for (int i = 0; i < block_size; ++i) block.middle[i] = T(0.5) * (block.begin[i] + block.end[i]);
    locate_all(block);
    interpolate_all(block);
    absorb_all(block);
    return true;
  }

 private:
  // The cell along an axis, and the way through it.
  static LG_INLINE void locate_axis(const T* middle, T start, T along, int32_t size, int32_t* cell, T* fraction) {
    const T last = static_cast<T>(size - 1);
    const int32_t most = size > 1 ? size - 2 : 0;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T at = start + middle[i] * along;
      const T below = at < last ? at : last, kept = below > 0 ? below : T(0);
      const auto whole = static_cast<int32_t>(kept);
      cell[i] = whole < most ? whole : most;
      fraction[i] = kept - static_cast<T>(cell[i]);
    }
  }

  void locate_all(Block<T>& block) const {
    const Volume<T>& v = march_.volume;
    locate_axis(block.middle, start_[0], along_[0], v.size[0], block.column, block.x);
    locate_axis(block.middle, start_[1], along_[1], v.size[1], block.row, block.y);
    locate_axis(block.middle, start_[2], along_[2], v.size[2], block.slice, block.z);
  }

  void interpolate_all(Block<T>& block) const {
    using Pair = Lanes<T, 8>;
    using Four = Lanes<T, 4>;
    const Volume<T>& v = march_.volume;
    const int64_t down = v.stride[1], behind = v.stride[2];
    alignas(64) int32_t voxel[block_size];
    const int32_t row = v.size[0], slice = v.size[0] * v.size[1];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) voxel[i] = block.slice[i] * slice + block.row[i] * row + block.column[i];
    for (int i = 0; i < block_size; ++i) {
      const T* at = v.values + 4 * static_cast<int64_t>(voxel[i]);
      const Pair a = Pair::load(at), b = Pair::load(at + down);
      const Pair c = Pair::load(at + behind), d = Pair::load(at + behind + down);
      const Pair y(block.y[i]), z(block.z[i]);
      const Pair near = a + y * (b - a), far = c + y * (d - c);
      const Pair pair = near + z * (far - near);
      const Four low = half_of<0>(pair), high = half_of<1>(pair);
      store(block.values + 4 * i, low + Four(block.x[i]) * (high - low));
    }
  }

  void absorb_all(Block<T>& block) const {
    if (march_.activation == Activation::relu) {
      LG_VECTORIZE
      for (int i = 0; i < block_size; ++i) {
        const T value = block.values[4 * i];
        const bool counts = value > 0 && value - value == 0;
        block.extinction[i] = counts ? value : T(0);
        block.slope[i] = counts ? T(1) : T(0);
      }
    } else {
      for (int i = 0; i < block_size; ++i) {
        const Extinction<T> extinction = extinction_of(march_.activation, block.values[4 * i]);
        block.extinction[i] = extinction.value;
        block.slope[i] = extinction.slope;
      }
    }
    const T norm = ray_.norm;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const Absorption<T> absorption = absorb(block.extinction[i] * norm * (block.end[i] - block.begin[i]));
      block.passed[i] = absorption.passed;
      block.absorbed[i] = absorption.absorbed;
    }
  }

  const March<T>& march_;
  const Ray<T>& ray_;
  Walk<T> walk_;
  T start_[3], along_[3];
};

// What reaches each segment of a block, and how many of them count: those up to the last one that enough reaches.
template <class T>
LG_INLINE int reach_segments(const Block<T>& block, T min_transmittance, T first, T* reaches) {
  reaches[0] = first;
  for (int i = 0; i < block_size; ++i) reaches[i + 1] = reaches[i] * block.passed[i];
  int n = 1;  // transmittance need not fall: densities may be negative
  while (n < block.count && reaches[n] > min_transmittance) ++n;
  return n;
}

// Rays that are marched side by side, a block of each at a time: what neighbours read is then still in the cache.
constexpr int bundle_size = 32;

// A ray on its way.
template <class T>
struct Traveller {
  Ray<T> ray;
  BlockWalk<T> walk;
  Lanes<T, 4> sum = T(0);
  Lanes<T> sums_t = T(0);
  T passed = 1, middle = 0;
  bool done = false;

  Traveller(const March<T>& march, int64_t item) : ray(march.ray(item)), walk(march, ray) {}
  Traveller(const Traveller&) = delete;

  void advance(const March<T>& march) {
    using Four = Lanes<T, 4>;
    Block<T> block;
    done = !(passed > march.min_transmittance) || !walk.next(block);
    if (done) return;
    alignas(64) T reaches[block_size + 1], weight[block_size];
    const int count = reach_segments(block, march.min_transmittance, passed, reaches);
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) weight[i] = i < count ? reaches[i] * block.absorbed[i] : T(0);
    Four even(T(0)), odd(T(0));
    for (int i = 0; i < block_size; i += 2) {
      even += Four(weight[i]) * Four::load(block.values + 4 * i);
      odd += Four(weight[i + 1]) * Four::load(block.values + 4 * i + 4);
    }
    sum += even + odd;
    sums_t += load(weight) * load(block.middle);
    int crossed = 0;  // a bit for each segment: transmittance need not fall
    for (int i = 0; i < block_size; ++i) crossed |= int((reaches[i] >= T(0.5)) & (reaches[i + 1] < T(0.5))) << i;
    crossed &= (1 << count) - 1;
    if (crossed) {
      int i = count - 1;
      while (!(crossed >> i & 1)) --i;
      const T length = block.end[i] - block.begin[i], tau = block.extinction[i] * ray.norm * length;
      middle = block.begin[i] + length * (std::log(2 * reaches[i]) / tau);
    }
    passed = reaches[count];
  }

  // False where something is not finite: then nothing is written.
  bool arrive(const MarchForward<T>& out, int64_t item) const {
    alignas(64) T values[4];
    store(values, sum);
    const T sum_t = lg::sum(sums_t);
    if (!is_finite(values[1] + values[2] + values[3] + passed + sum_t)) return false;
    for (int c = 0; c < 3; ++c) out.features[3 * item + c] = values[c + 1];
    out.alpha[item] = 1 - passed;
    out.depth[item] = sum_t;
    out.median[item] = middle;
    return true;
  }
};

// Marches rays `first` to `end`, at most bundle_size.
template <class T>
void march_bundle(const MarchForward<T>& out, int64_t first, int64_t end) {
  alignas(alignof(Traveller<T>)) unsigned char place[bundle_size * sizeof(Traveller<T>)];
  auto* travellers = reinterpret_cast<Traveller<T>*>(place);
  const int64_t count = end - first;
  for (int64_t i = 0; i < count; ++i) new (travellers + i) Traveller<T>(out.march, first + i);
  for (bool going = true; going;) {
    going = false;
    for (int64_t i = 0; i < count; ++i) {
      if (travellers[i].done) continue;
      travellers[i].advance(out.march);
      going = true;
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    if (!travellers[i].arrive(out, first + i)) out(first + i);
  }
}

// A ray's segments, kept for the way back.
template <class T>
struct Trail {
  struct Part {
    Block<T> block;
    alignas(64) T reaches[block_size + 1];
  };
  std::vector<Part> parts;
  size_t count;
  bool finite;
};

// Goes along ray `item` and back, to what its segments give the grid: their `slope` then is what goes to the density,
// and `reaches` the features' weight.
template <class T>
class PullTrail {
 public:
  PullTrail(const March<T>& march, const OutputGradients<T>& given, int64_t item)
      : march_(march), ray_(march.ray(item)), walk_(march, ray_) {
    for (int c = 0; given.features && c < 3; ++c) features_[c] = given.features[3 * item + c];
    alpha_ = given.alpha ? given.alpha[item] : T(0);
    depth_ = given.depth ? given.depth[item] : T(0);
  }
  PullTrail(const PullTrail&) = delete;

  // One block; false where the ray has ended.
  bool advance(Trail<T>& trail) {
    if (!(passed_ > march_.min_transmittance)) return false;
    if (trail.count == trail.parts.size()) trail.parts.resize(2 * trail.count + 8);
    auto& [block, reaches] = trail.parts[trail.count];
    if (!walk_.next(block)) return false;
    block.count = reach_segments(block, march_.min_transmittance, passed_, reaches);
    passed_ = reaches[block.count];
    ++trail.count;
    return true;
  }

  void go_back(Trail<T>& trail) const {
    T behind = 0;
    Lanes<T> all(features_[0] + features_[1] + features_[2]);
    for (size_t b = trail.count; b-- > 0;) {
      auto& [block, reaches] = trail.parts[b];
      pull_block(block, reaches, behind);
      all += load(block.slope) + load(reaches);
    }
    trail.finite = is_finite(lg::sum(all));
  }

 private:
  void pull_block(Block<T>& block, T* reaches, T& behind) const {
    alignas(64) T gain[block_size], after[block_size];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T* values = block.values + 4 * i;
      gain[i] = alpha_ + depth_ * block.middle[i] +
                (features_[0] * values[1] + features_[1] * values[2] + features_[2] * values[3]);
    }
    for (int i = block.count; i-- > 0;) {
      after[i] = behind;
      behind = block.absorbed[i] * gain[i] + block.passed[i] * behind;
    }
    for (int i = block.count; i < block_size; ++i) after[i] = gain[i] = 0;
    const T norm = ray_.norm;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T grad_tau = reaches[i] * block.passed[i] * (gain[i] - after[i]);
      block.slope[i] = grad_tau * norm * (block.end[i] - block.begin[i]) * block.slope[i];
      reaches[i] = reaches[i] * block.absorbed[i];
    }
    for (int i = block.count; i < block_size; ++i) block.slope[i] = reaches[i] = 0;
  }

  const March<T>& march_;
  const Ray<T> ray_;
  BlockWalk<T> walk_;
  T features_[3] = {0, 0, 0}, alpha_, depth_, passed_ = 1;
};

template <class T, class Sink>
void give_block(const typename Trail<T>::Part& part, int64_t item, Sink& sink) {
  const auto& [block, weight] = part;
  for (int i = 0; i < block.count; ++i) {
    if (block.slope[i] == 0 && weight[i] == 0) continue;
    const int32_t cell[3] = {block.column[i], block.row[i], block.slice[i]};
    const T fraction[3] = {block.x[i], block.y[i], block.z[i]};
    sink.add(cell, fraction, block.slope[i], weight[i], item);
  }
}

// Fewer rays than on the way there alone: their trails have to stay in the cache.
constexpr int trail_bundle_size = 16;

// The gradients of rays `first` to `end`, at most trail_bundle_size, to the grid; sink as in PullRay. Those where
// something is not finite are left to one_by_one(item).
template <class T, class Sink, class OneByOne>
void pull_bundle(const March<T>& march, const OutputGradients<T>& given, int64_t first, int64_t end,
                 std::vector<Trail<T>>& trails, Sink& sink, OneByOne&& one_by_one) {
  const auto count = static_cast<size_t>(end - first);
  if (trails.size() < count) trails.resize(count);
  alignas(alignof(PullTrail<T>)) unsigned char place[trail_bundle_size * sizeof(PullTrail<T>)];
  auto* pulls = reinterpret_cast<PullTrail<T>*>(place);
  size_t most = 0;
  for (size_t r = 0; r < count; ++r) {
    new (pulls + r) PullTrail<T>(march, given, first + static_cast<int64_t>(r));
    trails[r].count = 0;
  }
  for (bool going = true; going;) {
    going = false;
    for (size_t r = 0; r < count; ++r) going |= trails[r].count == most && pulls[r].advance(trails[r]);
    most += going ? 1 : 0;
  }
  for (size_t r = 0; r < count; ++r) pulls[r].go_back(trails[r]);
  for (size_t b = 0; b < most; ++b) {
    for (size_t r = 0; r < count; ++r) {
      if (trails[r].finite && b < trails[r].count)
        give_block<T>(trails[r].parts[b], first + static_cast<int64_t>(r), sink);
    }
  }
  for (size_t r = 0; r < count; ++r) {
    if (!trails[r].finite) one_by_one(first + static_cast<int64_t>(r));
  }
}

}  // namespace lg::field
