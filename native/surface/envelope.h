// The nearest surface along a segment: the lower envelope of the depths of the triangles that cover parts of it.
#pragma once

#include <cstdint>

#include "runtime/config.h"
#include "surface/pixel_triangle.h"

namespace lg::surface {

// From `begin` to the next strip's begin (in fractions of the segment), this triangle is the nearest. -1: none covers
// it.
struct Strip {
  double begin, z0, z1, error;  // depths at the segment's ends, and their error bounds
  int32_t triangle;

  LG_HD double depth(double s) const { return z0 + s * (z1 - z0); }
};

class Envelope {
 public:
  static constexpr int most = 48;

  LG_HD void clear() {
    count_ = 1;
    strips_[0] = {0, 0, 0, 0, -1};
  }

  LG_HD int count() const { return count_; }
  LG_HD const Strip& operator[](int i) const { return strips_[i]; }
  LG_HD double end(int i) const { return i + 1 < count_ ? strips_[i + 1].begin : 1; }

  // False if there is no room for the strips.
  LG_HD bool insert(const Covered& covered, int32_t triangle) {
    if (covered.part.empty()) return true;
    const Strip fresh = {covered.part.low, covered.z0, covered.z1, covered.error, triangle};
    Strip before[most];
    const int strips = count_;
    for (int i = 0; i < strips; ++i) before[i] = strips_[i];
    count_ = 0;
    bool fits = true;
    for (int i = 0; i < strips; ++i) {
      const double begin = before[i].begin, end = i + 1 < strips ? before[i + 1].begin : 1;
      const double low = begin > covered.part.low ? begin : covered.part.low;
      const double high = end < covered.part.high ? end : covered.part.high;
      if (!(low < high)) {
        fits = fits && push(before[i], begin);
        continue;
      }
      if (begin < low) fits = fits && push(before[i], begin);
      fits = fits && compete(before[i], fresh, low, high);
      if (high < end) fits = fits && push(before[i], high);
    }
    return fits;
  }

 private:
  // Between `low` and `high`, whichever of the two is nearer; at equal depths the one with the higher number, as in
  // rasterization.
  LG_HD bool compete(const Strip& old, const Strip& fresh, double low, double high) {
    if (old.triangle < 0) return push(fresh, low);
    const double at_low = fresh.depth(low) - old.depth(low), at_high = fresh.depth(high) - old.depth(high);
    const double error = fresh.error + old.error;
    if (at_low <= error && at_low >= -error && at_high <= error && at_high >= -error)
      return push(fresh.triangle > old.triangle ? fresh : old, low);
    if (at_low <= 0 && at_high <= 0) return push(fresh, low);
    if (at_low >= 0 && at_high >= 0) return push(old, low);
    const double crossing = low + (high - low) * (at_low / (at_low - at_high));
    return push(at_low < 0 ? fresh : old, low) && push(at_low < 0 ? old : fresh, crossing);
  }

  LG_HD bool push(const Strip& strip, double begin) {
    while (count_ > 0 && strips_[count_ - 1].begin >= begin) --count_;
    if (count_ > 0 && strips_[count_ - 1].triangle == strip.triangle) return true;
    if (count_ == most) return false;
    strips_[count_] = strip;
    strips_[count_].begin = begin;
    ++count_;
    return true;
  }

  Strip strips_[most];
  int count_ = 0;
};

}  // namespace lg::surface
