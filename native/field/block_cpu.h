// Sixteen segments of a ray at once on the CPU: where their middles lie, what is interpolated there, what they absorb.
//
// It is for steps of a fixed length through grids of four values a voxel, a density and three features, as most are.
// The two voxels next to each other in a row are read together.
#pragma once

#include <cmath>
#include <cstdint>
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
  if (reaches[block.count] > min_transmittance) return block.count;
  int n = 1;
  while (reaches[n] > min_transmittance) ++n;
  return n;
}

template <class T>
LG_INLINE bool is_finite(T value) {
  return value - value == 0;
}

// Marches ray `item`. False where something was not finite: then nothing is written.
template <class T>
bool march_blocks(const MarchForward<T>& out, int64_t item) {
  using Four = Lanes<T, 4>;
  const March<T>& march = out.march;
  const Ray<T> ray = march.ray(item);
  BlockWalk<T> walk(march, ray);
  Block<T> block;
  Four sum(T(0)), other(T(0));
  Lanes<T> sums_t(T(0));
  T passed = 1, middle = 0;
  alignas(64) T reaches[block_size + 1], weight[block_size];
  while (passed > march.min_transmittance && walk.next(block)) {
    const int count = reach_segments(block, march.min_transmittance, passed, reaches);
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) weight[i] = i < count ? reaches[i] * block.absorbed[i] : T(0);
    for (int i = 0; i < block_size; i += 2) {
      sum += Four(weight[i]) * Four::load(block.values + 4 * i);
      other += Four(weight[i + 1]) * Four::load(block.values + 4 * i + 4);
    }
    sums_t += load(weight) * load(block.middle);
    if (passed >= T(0.5) && reaches[count] < T(0.5)) {
      int i = 0;
      while (reaches[i + 1] >= T(0.5)) ++i;
      const T length = block.end[i] - block.begin[i], tau = block.extinction[i] * ray.norm * length;
      middle = block.begin[i] + length * (std::log(2 * reaches[i]) / tau);
    }
    passed = reaches[count];
  }
  alignas(64) T values[4];
  store(values, sum + other);
  const T sum_t = lg::sum(sums_t);
  if (!is_finite(values[1] + values[2] + values[3] + passed + sum_t)) return false;
  for (int c = 0; c < 3; ++c) out.features[3 * item + c] = values[c + 1];
  out.alpha[item] = 1 - passed;
  out.depth[item] = sum_t;
  out.median[item] = middle;
  return true;
}

// A ray's segments, kept for the way back.
template <class T>
struct Trail {
  struct Part {
    Block<T> block;
    alignas(64) T reaches[block_size + 1];
  };
  std::vector<Part> parts;
};

// The gradient of ray `item` to the grid; sink as in PullRay. False where something was not finite: then nothing has
// been added.
template <class T, class Sink>
bool pull_blocks(const March<T>& march, const OutputGradients<T>& given, int64_t item, Trail<T>& trail, Sink& sink) {
  const Ray<T> ray = march.ray(item);
  BlockWalk<T> walk(march, ray);
  size_t count = 0;
  T passed = 1;
  while (passed > march.min_transmittance) {
    if (count == trail.parts.size()) trail.parts.resize(2 * count + 8);
    auto& [block, reaches] = trail.parts[count];
    if (!walk.next(block)) break;
    block.count = reach_segments(block, march.min_transmittance, passed, reaches);
    passed = reaches[block.count];
    ++count;
  }
  const T* features = given.features ? given.features + 3 * item : nullptr;
  const T red = features ? features[0] : T(0), green = features ? features[1] : T(0),
          blue = features ? features[2] : T(0);
  const T of_alpha = given.alpha ? given.alpha[item] : T(0), of_depth = given.depth ? given.depth[item] : T(0);
  T behind = 0;
  Lanes<T> all(red + green + blue);
  for (size_t b = count; b-- > 0;) {
    auto& [block, reaches] = trail.parts[b];
    alignas(64) T gain[block_size], after[block_size];
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T* values = block.values + 4 * i;
      gain[i] = of_alpha + of_depth * block.middle[i] + (red * values[1] + green * values[2] + blue * values[3]);
    }
    for (int i = block.count; i-- > 0;) {
      after[i] = behind;
      behind = block.absorbed[i] * gain[i] + block.passed[i] * behind;
    }
    for (int i = block.count; i < block_size; ++i) after[i] = gain[i] = 0;
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      const T grad_tau = reaches[i] * block.passed[i] * (gain[i] - after[i]);
      // From here on: what goes to the density, and the features' weight.
      block.slope[i] = grad_tau * ray.norm * (block.end[i] - block.begin[i]) * block.slope[i];
      reaches[i] = reaches[i] * block.absorbed[i];
    }
    for (int i = block.count; i < block_size; ++i) block.slope[i] = reaches[i] = 0;
    all += load(block.slope) + load(reaches);
  }
  if (!is_finite(lg::sum(all))) return false;
  for (size_t b = 0; b < count; ++b) {
    const auto& [block, weight] = trail.parts[b];
    for (int i = 0; i < block.count; ++i) {
      if (block.slope[i] == 0 && weight[i] == 0) continue;
      const int32_t cell[3] = {block.column[i], block.row[i], block.slice[i]};
      const T fraction[3] = {block.x[i], block.y[i], block.z[i]};
      sink.add(cell, fraction, block.slope[i], weight[i], item);
    }
  }
  return true;
}

}  // namespace lg::field
