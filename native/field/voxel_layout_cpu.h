// How the values of voxels are read by blocks of segments, and how gradients are added to them.
//
// PairLayout is for two or four values a voxel, a density and one feature or three: the two voxels next to each other
// in a row are read together. RowLayout is for any others: values are read in rows of lanes. The last row overlaps with
// the one in front of it where the values are not a multiple of the lanes; then some are computed twice, and only those
// of the first time are added to a sum.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/block_cpu.h"
#include "field/volume.h"
#include "math/lanes.h"

namespace lg::field {

// Weights of the four rows of values around each of some places; bit 0 of a row's number: the next row, bit 1: that of
// the next slice.
template <class T>
struct RowShares {
  alignas(64) T share[4][block_size];

  LG_INLINE void set(const T* y, const T* z) {
    LG_VECTORIZE
    for (int i = 0; i < block_size; ++i) {
      share[0][i] = (1 - y[i]) * (1 - z[i]);
      share[1][i] = y[i] * (1 - z[i]);
      share[2][i] = (1 - y[i]) * z[i];
      share[3][i] = y[i] * z[i];
    }
  }
};

// ---- Pairs -----------------------------------------------------------------------------------------------------

template <class T, int channels>
struct PairLayout {
  using Four = Lanes<T, 4>;
  using Pair = Lanes<T, 2 * channels>;

  static constexpr int density_stride = 4;  // among the values of a block

  static LG_INLINE void interpolate(const Volume<T>& v, Block<T>* blocks, int count) {
    const int64_t down = v.stride[1], behind = v.stride[2];
    for (int i = 0; i < block_size; ++i) {
      for (Block<T>* block = blocks; block < blocks + count; ++block) {
        const Places<T>& p = block->places;
        const T* at = v.values + channels * static_cast<int64_t>(p.voxel[i]);
        const Pair a = Pair::load(at), b = Pair::load(at + down);
        const Pair c = Pair::load(at + behind), d = Pair::load(at + behind + down);
        const Pair y(p.y[i]), z(p.z[i]);
        const Pair near = a + y * (b - a), far = c + y * (d - c);
        store(block->values + 4 * i, along_row(near + z * (far - near), p.x[i]));
      }
    }
  }

  // The sum of features along a ray.
  struct Sum {
    Four sum = T(0);

    explicit Sum(const Volume<T>&) {}

    LG_INLINE void add(const Volume<T>&, const Block<T>& block, const T* weight) {
      Four even(T(0)), odd(T(0));
      for (int i = 0; i < block_size; i += 2) {
        even += Four(weight[i]) * Four::load(block.values + 4 * i);
        odd += Four(weight[i + 1]) * Four::load(block.values + 4 * i + 4);
      }
      sum += even + odd;
    }
    T value(const Volume<T>&, int64_t channel) const { return sum[static_cast<int>(channel)]; }
  };

  // The gradient of a ray's features, null: zero.
  class Given {
   public:
    Given(const Volume<T>&, const T* of_ray) {
      for (int c = 1; of_ray && c < channels; ++c) features_[c] = of_ray[c - 1];
    }

    // Adds what a segment's weight is worth.
    LG_INLINE void add_gain(const Volume<T>&, const Block<T>& block, T* gain) const {
      LG_VECTORIZE
      for (int i = 0; i < block_size; ++i) {
        const T* values = block.values + 4 * i;
        T sum = features_[1] * values[1];
        for (int c = 2; c < channels; ++c) sum += features_[c] * values[c];
        gain[i] += sum;
      }
    }

    // What a segment gives the nearest of the four rows of values; the others get as much.
    LG_INLINE Pair to_row(T x, T density, T weight) const {
      Four given = four_lanes(density, T(0), T(0), T(0));
      if (LG_LIKELY(weight != 0)) given += Four(weight) * Four::load(features_);
      return spread(given, x);
    }

   private:
    alignas(64) T features_[4] = {0, 0, 0, 0};  // at its channel
  };

  // Adds to a gradient. What neighbouring rays give the same voxels is added up before it goes to memory.
  class Adder {
   public:
    explicit Adder(const Volume<T>& v) : down_(v.stride[1]), behind_(v.stride[2]) {}

    // wanted: the rows of values, by bits.
    LG_INLINE void add(const Given& given, const RowShares<T>& shares, int i, T x, T density, T weight, unsigned wanted,
                       T* to) {
      const Pair pair = given.to_row(x, density, weight);
      const auto share = [&](int k) LG_INLINE_LAMBDA { return Pair(shares.share[k][i]) * pair; };
      if (to == to_) {
        a_ += share(0), b_ += share(1), c_ += share(2), d_ += share(3);
      } else {
        flush();
        to_ = to, wanted_ = wanted;
        a_ = share(0), b_ = share(1), c_ = share(2), d_ = share(3);
      }
    }
    LG_INLINE void flush() {
      if (!to_) return;
      const auto add_to = [](T* row, const Pair& sum) LG_INLINE_LAMBDA { store(row, Pair::load(row) + sum); };
      if (wanted_ & 1) add_to(to_, a_);
      if (wanted_ & 2) add_to(to_ + down_, b_);
      if (wanted_ & 4) add_to(to_ + behind_, c_);
      if (wanted_ & 8) add_to(to_ + behind_ + down_, d_);
      to_ = nullptr;
    }

   private:
    const int64_t down_, behind_;
    T* to_ = nullptr;
    unsigned wanted_ = 0;
    Pair a_ = T(0), b_ = T(0), c_ = T(0), d_ = T(0);
  };

 private:
  static LG_INLINE Four along_row(const Pair& pair, T x) {
    if constexpr (channels == 4) {
      const Four low = half_of<0>(pair), high = half_of<1>(pair);
      return low + Four(x) * (high - low);
    } else {
      return pair + Four(x) * (twice_half_of<1>(pair) - pair);  // the two lower lanes
    }
  }
  static LG_INLINE Pair spread(const Four& given, T x) {
    if constexpr (channels == 4) {
      const Four high = given * Four(x);
      return joined(given - high, high);
    } else {
      return twice_half_of<0>(given) * four_lanes(1 - x, 1 - x, x, x);
    }
  }
};

// ---- Rows ------------------------------------------------------------------------------------------------------

// Eight voxels, and their weights.
template <class T, int lanes>
class WeightedCorners {
 public:
  using Row = Lanes<T, lanes>;

  // scale: of the weights
  LG_INLINE WeightedCorners(const Volume<T>& v, const Block<T>& block, const RowShares<T>& shares, int i, T scale)
      : at_(v.values + v.channels * static_cast<int64_t>(block.places.voxel[i])) {
    const T x = block.places.x[i];
    for (int k = 0; k < 8; ++k) {
      offset_[k] = corner(v, k);
      weight_[k] = Row(scale * shares.share[k / 2][i] * (k & 1 ? x : 1 - x));
    }
  }

  // Of the values from `first` on.
  LG_INLINE Row interpolate(int64_t first) const {
    const T* from = at_ + first;
    const auto value = [&](int k) LG_INLINE_LAMBDA { return weight_[k] * Row::load(from + offset_[k]); };
    return ((value(0) + value(1)) + (value(2) + value(3))) + ((value(4) + value(5)) + (value(6) + value(7)));
  }

 private:
  const T* at_;
  int64_t offset_[8];
  Row weight_[8];
};

template <class T, int lanes>
struct RowLayout {
  using Row = Lanes<T, lanes>;

  static constexpr int density_stride = 1;

  static int64_t rows(const Volume<T>& v) { return (v.channels + lanes - 1) / lanes; }
  static int64_t first(const Volume<T>& v, int64_t row) { return std::min(row * lanes, v.channels - lanes); }

  // The densities alone.
  static LG_INLINE void interpolate(const Volume<T>& v, Block<T>* blocks, int count) {
    const int64_t right = v.stride[0], down = v.stride[1], behind = v.stride[2];
    for (int i = 0; i < block_size; ++i) {
      for (Block<T>* block = blocks; block < blocks + count; ++block) {
        const Places<T>& p = block->places;
        const T* at = v.values + v.channels * static_cast<int64_t>(p.voxel[i]);
        const auto along_row = [&](const T* from) { return from[0] + p.x[i] * (from[right] - from[0]); };
        const T a = along_row(at), b = along_row(at + down);
        const T c = along_row(at + behind), d = along_row(at + behind + down);
        const T near = a + p.y[i] * (b - a), far = c + p.y[i] * (d - c);
        block->values[i] = near + p.z[i] * (far - near);
      }
    }
  }

  class Sum {
   public:
    explicit Sum(const Volume<T>& v) : sums_(static_cast<size_t>(lanes * rows(v)), T(0)) {}

    void add(const Volume<T>& v, const Block<T>& block, const T* weight) {
      RowShares<T> shares;
      shares.set(block.places.y, block.places.z);
      const int64_t count = rows(v);
      for (int i = 0; i < block.count; ++i) {
        if (weight[i] == 0) continue;
        const WeightedCorners<T, lanes> corners(v, block, shares, i, weight[i]);
        for (int64_t r = 0; r < count; ++r) {
          T* to = sums_.data() + lanes * r;
          store(to, Row::load(to) + corners.interpolate(first(v, r)));
        }
      }
    }
    T value(const Volume<T>& v, int64_t channel) const {
      const int64_t row = channel / lanes;
      return sums_[static_cast<size_t>(row * lanes + channel - first(v, row))];
    }

   private:
    std::vector<T> sums_;
  };

  class Given {
   public:
    Given(const Volume<T>& v, const T* of_ray) : features_(static_cast<size_t>(lanes * rows(v)), T(0)) {
      for (int64_t c = 1; of_ray && c < v.channels; ++c) {
        const int64_t row = c / lanes;
        features_[static_cast<size_t>(row * lanes + c - first(v, row))] = of_ray[c - 1];
      }
    }

    void add_gain(const Volume<T>& v, const Block<T>& block, T* gain) const {
      RowShares<T> shares;
      shares.set(block.places.y, block.places.z);
      const int64_t count = rows(v);
      for (int i = 0; i < block.count; ++i) {
        const WeightedCorners<T, lanes> corners(v, block, shares, i, T(1));
        Row sum(T(0));
        for (int64_t r = 0; r < count; ++r) sum += corners.interpolate(first(v, r)) * features(r);
        gain[i] += lg::sum(sum);
      }
    }

    LG_INLINE Row features(int64_t row) const { return Row::load(features_.data() + lanes * row); }

   private:
    std::vector<T> features_;  // of rows: zero for the density and for what the row in front has
  };

  class Adder {
   public:
    explicit Adder(const Volume<T>& v) : volume_(v) {}

    LG_INLINE void add(const Given& given, const RowShares<T>& shares, int i, T x, T density, T weight, unsigned wanted,
                       T* to) {
      alignas(64) T of_density[lanes] = {density};
      const int64_t count = weight != 0 ? rows(volume_) : 1;
      for (int64_t r = 0; r < count; ++r) {
        Row sum(T(0));
        if (LG_LIKELY(weight != 0)) sum = Row(weight) * given.features(r);
        if (r == 0) sum += Row::load(of_density);
        const Row high = sum * Row(x), low = sum - high;
        for (int k = 0; k < 4; ++k) {
          if (!(wanted >> k & 1)) continue;
          const Row share(shares.share[k][i]);
          T* row = to + first(volume_, r) + corner(volume_, 2 * k);
          store(row, Row::load(row) + share * low);
          row += volume_.stride[0];
          store(row, Row::load(row) + share * high);
        }
      }
    }
    void flush() {}

   private:
    const Volume<T>& volume_;
  };
};

// Calls body(layout) with an object of the layout that a volume has.
template <class T, class Body>
void with_layout(const Volume<T>& v, Body&& body) {
  if (v.channels == 4 && v.size[0] > 1) {
    body(PairLayout<T, 4>());
  } else if (v.channels == 2 && v.size[0] > 1) {
    body(PairLayout<T, 2>());
  } else if (v.channels >= 8) {
    body(RowLayout<T, 8>());
  } else if (v.channels >= 4) {
    body(RowLayout<T, 4>());
  } else {
    body(RowLayout<T, 1>());
  }
}

}  // namespace lg::field
