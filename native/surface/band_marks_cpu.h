// Pairs of neighbouring pixels as sortable numbers, and a bit for each pair of a band of rows.
#pragma once

#include <cstdint>
#include <vector>

#include "math/bits.h"
#include "math/divide_up.h"
#include "runtime/config.h"
#include "surface/crossing.h"

namespace lg::surface {

constexpr int64_t band_rows = 16;  // at least 2; see backward() in antialias_cpu.cpp

// A pair of one view as one number, ordered by row and column of its first pixel.
using PairKey = uint64_t;

inline PairKey pair_key(int64_t row, int64_t column, bool vertical) {
  return static_cast<PairKey>(row) << 32 | static_cast<PairKey>(column) << 1 | static_cast<PairKey>(vertical);
}

inline PixelPair pair_of(PairKey key, int64_t view) {
  return {view, static_cast<int64_t>(key >> 32), static_cast<int64_t>((key & 0xffffffffu) >> 1), (key & 1) != 0};
}

// Sorts a band's pairs and drops duplicates in the same pass.
class BandMarks {
 public:
  explicit BandMarks(int64_t width) : words_per_row_(divide_up(2 * width, 64)), words_(words_per_row_ * band_rows, 0) {}

  void set(int64_t row, int64_t column, bool vertical) {
    const int64_t bit = 2 * column + vertical;
    words_[row * words_per_row_ + bit / 64] |= uint64_t{1} << (bit % 64);
  }

  // Calls use(row, column, vertical) for every mark in order, and clears it.
  template <class Use>
  void consume(Use&& use) {
    for (size_t i = 0; i < words_.size(); ++i) {
      if (LG_LIKELY(words_[i] == 0)) continue;
      const int64_t row = static_cast<int64_t>(i) / words_per_row_,
                    first = static_cast<int64_t>(i) % words_per_row_ * 64;
      for (uint64_t rest = words_[i]; rest; rest &= rest - 1) {
        const int64_t bit = first + lowest_bit(rest);
        use(row, bit / 2, (bit & 1) != 0);
      }
      words_[i] = 0;
    }
  }

 private:
  const int64_t words_per_row_;
  std::vector<uint64_t> words_;
};

}  // namespace lg::surface
