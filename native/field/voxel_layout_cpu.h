// How blocks of segments read the values of voxels and add gradients to them.
//
// PairLayout is for two or four values per voxel, a density and one or three features: two neighbouring voxels of a row
// are read together. RowLayout is for all other numbers: values are read in rows of lanes. If their number is not a
// multiple of the lanes, the last row overlaps the one before it. Some values are then computed twice, and only the
// first copy is added to a sum.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "field/block_cpu.h"
#include "field/volume.h"
#include "math/lanes.h"

namespace lg::field {

// Calls body(number) for each number of a block whose ray is one of `rays`, segment by segment and, within a segment,
// ray by ray.
template <class Body>
LG_INLINE void for_segments(uint32_t rays, Body&& body) {
  int each[block_rays], count = 0;
  for (int r = 0; r < block_rays; ++r) {
    each[count] = r;
    count += static_cast<int>(rays >> r & 1);
  }
  for (int i = 0; i < block_size; i += block_rays) {
    for (int k = 0; k < count; ++k) body(i + each[k]);
  }
}

// Weights of the four rows of values around some points. Bit 0 of a row's number: the next row; bit 1: the next
// slice.
template <class T>
struct RowShares {
  OfSegments<T> share[4];

  explicit RowShares(const Places<T>& places) {
    for (int i = 0; i < block_depth; ++i) {
      const OfRays<T> y = places.y.row(i), z = places.z.row(i), rest = OfRays<T>(T(1)) - z;
      const OfRays<T> before = OfRays<T>(T(1)) - y;
      share[0].set_row(i, before * rest);
      share[1].set_row(i, y * rest);
      share[2].set_row(i, before * z);
      share[3].set_row(i, y * z);
    }
  }
};

// ---- Pairs -----------------------------------------------------------------------------------------------------

template <class T, int channels>
struct PairLayout {
  using Four = Lanes<T, 4>;
  using Pair = Lanes<T, 2 * channels>;
  using Row = OfRays<T>;

  static LG_INLINE void interpolate(const Volume<T>& v, Block<T>& block) {
    alignas(64) T mixed[4 * block_size];  // four per segment
    if (block.going != (1 << block_rays) - 1) std::fill_n(mixed, 4 * block_size, T(0));
    mix(v, *block.samples.places, block.going,
        [&](int j, const Four& values) LG_INLINE_LAMBDA { store(mixed + 4 * j, values); });
    for (int i = 0; i < block_depth; ++i) {
      Row values[4];
      by_channel(mixed, i, values);
      for (int c = 0; c < channels; ++c) block.values[c].set_row(i, values[c]);
    }
  }

  static LG_INLINE void interpolate_density(const Volume<T>& v, const Places<T>& places, uint32_t rays,
                                            OfSegments<T>& out) {
    std::fill_n(out.values, block_size, T(0));
    mix(v, places, rays, [&](int j, const Four& values) LG_INLINE_LAMBDA { out[j] = values[0]; });
  }

  // The sums of features along rays.
  class Sum {
   public:
    explicit Sum(const Volume<T>&) {}

    LG_INLINE void add(const Volume<T>&, const Block<T>& block, const OfSegments<T>& weight) {
      for (int c = 1; c < channels; ++c) {
        Row even(T(0)), odd(T(0));
        for (int i = 0; i < block_depth; i += 2) {
          even += weight.row(i) * block.values[c].row(i);
          odd += weight.row(i + 1) * block.values[c].row(i + 1);
        }
        T* sum = sums_ + block_rays * c;
        store(sum, load(sum) + (even + odd));
      }
    }
    T value(int ray, int64_t channel) const { return sums_[block_rays * channel + ray]; }

   private:
    alignas(64) T sums_[channels * block_rays] = {};
  };

  // The gradients of rays' features.
  class Given {
   public:
    // of_ray(r): null for zeros
    template <class OfRay>
    Given(const Volume<T>&, OfRay&& of_ray) {
      for (int r = 0; r < block_rays; ++r) {
        const T* from = of_ray(r);
        for (int c = 1; c < channels; ++c) {
          by_channel_[c][r] = by_ray_[r][c] = from ? from[c - 1] : T(0);
        }
      }
    }

    // Adds the value of a segment's weight.
    LG_INLINE void add_gain(const Volume<T>&, const Block<T>& block, OfSegments<T>& gain) const {
      for (int i = 0; i < block_depth; ++i) {
        Row sum = gain.row(i);
        for (int c = 1; c < channels; ++c) sum += load(by_channel_[c]) * block.values[c].row(i);
        gain.set_row(i, sum);
      }
    }

    // The contribution of a row of segments' features to the loss, per unit of weight.
    LG_INLINE Row worth(const Row (&values)[4]) const {
      Row sum(T(0));
      for (int c = 1; c < channels; ++c) sum += load(by_channel_[c]) * values[c];
      return sum;
    }

    // A segment's contribution to the nearest of the four rows of values; the others follow from it.
    LG_INLINE Pair to_row(int ray, T x, T density, T weight) const {
      Four given = four_lanes(density, T(0), T(0), T(0));
      if (LG_LIKELY(weight != 0)) given += Four(weight) * Four::load(by_ray_[ray]);
      return spread(given, x);
    }

   private:
    alignas(64) T by_ray_[block_rays][4] = {}, by_channel_[channels][block_rays];
  };

  // The derivative of the loss with respect to the positions of samples, in voxels, from their derivatives with respect
  // to density and weight.
  static LG_INLINE void find_slopes(const Volume<T>& v, const Given& given, const Places<T>& places,
                                    const OfSegments<T>& density, const OfSegments<T>& weight, uint32_t rays,
                                    OfSegments<T> (&slope)[3]) {
    alignas(64) T mixed[3][4 * block_size];
    if (rays != (1 << block_rays) - 1) std::fill_n(&mixed[0][0], 12 * block_size, T(0));
    const RowShares<T> shares(places);
    for_rows(v, places, rays, [&](int j, const Pair& a, const Pair& b, const Pair& c, const Pair& d) LG_INLINE_LAMBDA {
      const T x = places.x[j];
      const Pair y(places.y[j]), z(places.z[j]), down = b - a, behind = c - a;
      store(mixed[0] + 4 * j, difference(mixture(shares, j, a, b, c, d)));
      store(mixed[1] + 4 * j, along_row(down + z * ((d - c) - down), x));
      store(mixed[2] + 4 * j, along_row(behind + y * ((d - b) - behind), x));
    });
    for (int i = 0; i < block_depth; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        Row values[4];
        by_channel(mixed[axis], i, values);
        slope[axis].set_row(i, density.row(i) * values[0] + weight.row(i) * given.worth(values));
      }
    }
  }

  // Adds to a gradient. Contributions of neighbouring rays to the same voxels are summed before they go to memory.
  class Adder {
   public:
    explicit Adder(const Volume<T>& v) : down_(v.stride[1]), behind_(v.stride[2]) {}

    // wanted: the wanted rows of values, as bits.
    LG_INLINE void add(const Given& given, int ray, const RowShares<T>& shares, int j, T x, T density, T weight,
                       unsigned wanted, T* to) {
      const Pair pair = given.to_row(ray, x, density, weight);
      const auto share = [&](int k) LG_INLINE_LAMBDA { return Pair(shares.share[k][j]) * pair; };
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
  // Interpolates; take(number, values) receives the four or two values of each.
  template <class Take>
  static LG_INLINE void mix(const Volume<T>& v, const Places<T>& places, uint32_t rays, Take&& take) {
    const RowShares<T> shares(places);
    for_rows(v, places, rays, [&](int j, const Pair& a, const Pair& b, const Pair& c, const Pair& d) LG_INLINE_LAMBDA {
      take(j, along_row(mixture(shares, j, a, b, c, d), places.x[j]));
    });
  }
  // Calls body(number, rows) with the four rows of values around each sample.
  template <class Body>
  static LG_INLINE void for_rows(const Volume<T>& v, const Places<T>& places, uint32_t rays, Body&& body) {
    const T *first = v.values, *down = first + v.stride[1];
    const T *behind = first + v.stride[2], *last = behind + v.stride[1];
    for_segments(rays, [&](int j) LG_INLINE_LAMBDA {
      const size_t at = channels * static_cast<size_t>(static_cast<uint32_t>(places.voxel[j]));
      body(j, Pair::load(first + at), Pair::load(down + at), Pair::load(behind + at), Pair::load(last + at));
    });
  }
  static LG_INLINE Pair mixture(const RowShares<T>& shares, int j, const Pair& a, const Pair& b, const Pair& c,
                                const Pair& d) {
    const auto share = [&](int k) LG_INLINE_LAMBDA { return Pair(shares.share[k][j]); };
    return (share(0) * a + share(1) * b) + (share(2) * c + share(3) * d);
  }
  // Transposes row i of `mixed`, which has four values per segment.
  static LG_INLINE void by_channel(const T* mixed, int i, Row (&values)[4]) {
    const T* from = mixed + 4 * block_rays * i;
    const Row a = load(from), b = load(from + block_rays), c = load(from + 2 * block_rays);
    const Row d = load(from + 3 * block_rays);
    const Row even = every_second<0>(a, b), more_even = every_second<0>(c, d);
    const Row odd = every_second<1>(a, b), more_odd = every_second<1>(c, d);
    values[0] = every_second<0>(even, more_even);
    values[1] = every_second<0>(odd, more_odd);
    if constexpr (channels == 4) {
      values[2] = every_second<1>(even, more_even);
      values[3] = every_second<1>(odd, more_odd);
    }
  }
  // The difference of the two voxels of a row.
  static LG_INLINE Four difference(const Pair& pair) {
    if constexpr (channels == 4) {
      return half_of<1>(pair) - half_of<0>(pair);
    } else {
      return twice_half_of<1>(pair) - pair;  // the two lower lanes
    }
  }
  static LG_INLINE Four along_row(const Pair& pair, T x) {
    if constexpr (channels == 4) {
      return half_of<0>(pair) + Four(x) * difference(pair);
    } else {
      return pair + Four(x) * difference(pair);
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
  LG_INLINE WeightedCorners(const Volume<T>& v, const Places<T>& places, const RowShares<T>& shares, int j, T scale)
      : at_(v.values + v.channels * static_cast<int64_t>(places.voxel[j])) {
    const T x = places.x[j];
    for (int k = 0; k < 8; ++k) {
      offset_[k] = corner(v, k);
      weight_[k] = Row(scale * shares.share[k / 2][j] * (k & 1 ? x : 1 - x));
    }
  }

  // For the values starting at `first`.
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

  static int64_t rows(const Volume<T>& v) { return (v.channels + lanes - 1) / lanes; }
  static int64_t first(const Volume<T>& v, int64_t row) { return std::min(row * lanes, v.channels - lanes); }

  // Only the densities.
  static LG_INLINE void interpolate(const Volume<T>& v, Block<T>& block) {
    interpolate_density(v, *block.samples.places, block.going, block.values[0]);
  }

  static LG_INLINE void interpolate_density(const Volume<T>& v, const Places<T>& places, uint32_t rays,
                                            OfSegments<T>& out) {
    const int64_t right = v.stride[0], down = v.stride[1], behind = v.stride[2];
    std::fill_n(out.values, block_size, T(0));
    for_segments(rays, [&](int j) {
      const T* at = v.values + v.channels * static_cast<int64_t>(places.voxel[j]);
      const T x = places.x[j], y = places.y[j], z = places.z[j];
      const auto along_row = [&](const T* from) { return from[0] + x * (from[right] - from[0]); };
      const T a = along_row(at), b = along_row(at + down);
      const T c = along_row(at + behind), d = along_row(at + behind + down);
      const T near = a + y * (b - a), far = c + y * (d - c);
      out[j] = near + z * (far - near);
    });
  }

  class Sum {
   public:
    explicit Sum(const Volume<T>& v)
        : of_ray_(lanes * rows(v)), sums_(static_cast<size_t>(block_rays * of_ray_), T(0)), volume_(v) {}

    void add(const Volume<T>& v, const Block<T>& block, const OfSegments<T>& weight) {
      const RowShares<T> shares(*block.samples.places);
      const int64_t count = rows(v);
      for_segments(block.going, [&](int j) {
        if (weight[j] == 0) return;
        const WeightedCorners<T, lanes> corners(v, *block.samples.places, shares, j, weight[j]);
        T* sum = sums_.data() + j % block_rays * of_ray_;
        for (int64_t r = 0; r < count; ++r) {
          T* to = sum + lanes * r;
          store(to, Row::load(to) + corners.interpolate(first(v, r)));
        }
      });
    }
    T value(int ray, int64_t channel) const {
      const int64_t row = channel / lanes;
      return sums_[static_cast<size_t>(ray * of_ray_ + row * lanes + channel - first(volume_, row))];
    }

   private:
    const int64_t of_ray_;
    std::vector<T> sums_;
    const Volume<T>& volume_;
  };

  class Given {
   public:
    template <class OfRay>
    Given(const Volume<T>& v, OfRay&& of_ray)
        : of_ray_(lanes * rows(v)), features_(static_cast<size_t>(block_rays * of_ray_), T(0)) {
      for (int r = 0; r < block_rays; ++r) {
        const T* from = of_ray(r);
        for (int64_t c = 1; from && c < v.channels; ++c) {
          const int64_t row = c / lanes;
          features_[static_cast<size_t>(r * of_ray_ + row * lanes + c - first(v, row))] = from[c - 1];
        }
      }
    }

    void add_gain(const Volume<T>& v, const Block<T>& block, OfSegments<T>& gain) const {
      const RowShares<T> shares(*block.samples.places);
      const int64_t count = rows(v);
      for_segments(block.going, [&](int j) {
        const WeightedCorners<T, lanes> corners(v, *block.samples.places, shares, j, T(1));
        Row sum(T(0));
        for (int64_t r = 0; r < count; ++r) sum += corners.interpolate(first(v, r)) * features(j % block_rays, r);
        gain[j] += lg::sum(sum);
      });
    }

    LG_INLINE Row features(int ray, int64_t row) const {
      return Row::load(features_.data() + ray * of_ray_ + lanes * row);
    }

    // The derivative of the loss with respect to a voxel's share of a sample.
    LG_INLINE T worth(const Volume<T>& v, int ray, const T* values, T density, T weight) const {
      if (weight == 0) return density * values[0];
      Row sum(T(0));
      for (int64_t r = 0; r < rows(v); ++r) sum += features(ray, r) * Row::load(values + first(v, r));
      return density * values[0] + weight * lg::sum(sum);
    }

   private:
    const int64_t of_ray_;
    std::vector<T> features_;  // per row: zero for the density and for values that the row before has
  };

  // As PairLayout::find_slopes().
  static void find_slopes(const Volume<T>& v, const Given& given, const Places<T>& places, const OfSegments<T>& density,
                          const OfSegments<T>& weight, uint32_t rays, OfSegments<T> (&slope)[3]) {
    for (OfSegments<T>& each : slope) std::fill_n(each.values, block_size, T(0));
    for_segments(rays, [&](int j) {
      if (density[j] == 0 && weight[j] == 0) return;
      const T* at = v.values + v.channels * static_cast<int64_t>(places.voxel[j]);
      const Place<T> place = {0, {}, {places.x[j], places.y[j], places.z[j]}, {}};
      T corners[8], along[3];
      for (int k = 0; k < 8; ++k) corners[k] = given.worth(v, j % block_rays, at + corner(v, k), density[j], weight[j]);
      slopes_of(place, corners, along);
      for (int a = 0; a < 3; ++a) slope[a][j] = along[a];
    });
  }

  class Adder {
   public:
    explicit Adder(const Volume<T>& v) : volume_(v) {}

    LG_INLINE void add(const Given& given, int ray, const RowShares<T>& shares, int j, T x, T density, T weight,
                       unsigned wanted, T* to) {
      alignas(64) T of_density[lanes] = {density};
      const int64_t count = weight != 0 ? rows(volume_) : 1;
      for (int64_t r = 0; r < count; ++r) {
        Row sum(T(0));
        if (LG_LIKELY(weight != 0)) sum = Row(weight) * given.features(ray, r);
        if (r == 0) sum += Row::load(of_density);
        const Row high = sum * Row(x), low = sum - high;
        for (int k = 0; k < 4; ++k) {
          if (!(wanted >> k & 1)) continue;
          const Row share(shares.share[k][j]);
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

// Calls body(layout) with an object of the layout that fits a volume.
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
