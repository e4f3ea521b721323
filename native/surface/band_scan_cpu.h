// The pixels of a band that take colour from a neighbour, row by row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/memory.h"
#include "surface/antialias.h"
#include "surface/band_marks_cpu.h"
#include "surface/pair_list_cpu.h"

namespace lg::surface {

struct PixelBlend {
  int64_t column;
  double weight[4];      // by side
  Crossing crossing[4];  // not found: takes nothing from that side
};

// The pixels of one row that take colour from a neighbour.
class RowBlends {
 public:
  explicit RowBlends(int64_t width) : place_(static_cast<size_t>(width), -1) {}

  void add(int64_t column, Side side, double weight, const Crossing& crossing) {
    int32_t& place = place_[column];
    if (place < 0) {
      place = static_cast<int32_t>(blends_.size());
      blends_.push_back(PixelBlend{column, {0, 0, 0, 0}, {}});
    }
    blends_[place].weight[side] = weight;
    blends_[place].crossing[side] = crossing;
  }

  // Calls use(blend) for every pixel in the order in which they were first added, and clears the row.
  template <class Use>
  void consume(Use&& use) {
    for (const PixelBlend& blend : blends_) {
      use(blend);
      place_[blend.column] = -1;
    }
    blends_.clear();
  }

 private:
  std::vector<int32_t> place_;  // index of each column in blends_, or -1
  Array<PixelBlend> blends_;
};

// Goes through the rows of a band, collects each row's blends and passes them to use(view, row, blends) when they are
// complete.
template <class T>
class BandScanner {
 public:
  explicit BandScanner(const AntialiasScene<T>& scene)
      : s_(scene), current_(scene.image.width), next_(scene.image.width), marks_(scene.image.width) {}

  // crossed: receives the band's pairs with a crossing, unless null.
  template <class Use>
  void scan(const PairList<T>& pairs, int64_t band, Array<PairKey>* crossed, Use&& use) {
    const int64_t view = band / pairs.bands_per_view(), begin = band % pairs.bands_per_view() * band_rows;
    const int64_t end = std::min(s_.image.height, begin + band_rows);
    int64_t row = begin;
    const auto advance_to = [&](int64_t to) {
      for (; row < to; ++row) {
        use(view, row, current_);
        std::swap(current_, next_);
      }
    };
    // The last row of the band above may give colour to the first row of this band.
    if (begin > 0) {
      pairs.for_last_row(band - 1, marks_, [&](const PixelPair& pair) { add(pair, nullptr, &current_); });
    }
    pairs.for_band(band, marks_, [&](const PixelPair& pair) {
      advance_to(pair.row);
      RowBlends* below = pair.row + 1 == end ? nullptr : &next_;
      const bool blends = add(pair, &current_, pair.vertical ? below : &current_);
      if (crossed && blends) crossed->push_back(pair_key(pair.row, pair.column, pair.vertical));
    });
    advance_to(end);
  }

 private:
  // first_row, second_row: where the blends of the pair's pixels go; null if another band handles them. Returns whether
  // the pair has a crossing.
  bool add(const PixelPair& pair, RowBlends* first_row, RowBlends* second_row) const {
    const PairBlend blend = blend_pair(s_, pair);
    if (!blend.crossing.found()) return false;
    RowBlends* row = blend.first_takes ? first_row : second_row;
    const Side side = blend.first_takes ? (pair.vertical ? below : right) : (pair.vertical ? above : left);
    if (row) row->add(pair.column + (side == left), side, blend.weight, blend.crossing);
    return true;
  }

  const AntialiasScene<T>& s_;
  RowBlends current_, next_;
  BandMarks marks_;
};

// One scanner for each worker.
template <class T>
std::vector<BandScanner<T>> make_scanners(int32_t threads, const AntialiasScene<T>& scene) {
  std::vector<BandScanner<T>> scanners;
  for (int i = 0; i < std::max(1, threads); ++i) scanners.emplace_back(scene);
  return scanners;
}

}  // namespace lg::surface
