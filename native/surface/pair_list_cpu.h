// The pairs that may have a crossing, band by band, and what the forward pass keeps of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/memory.h"
#include "surface/antialias.h"
#include "surface/band_marks_cpu.h"
#include "surface/fragment_lanes_cpu.h"
#include "surface/pair_search_cpu.h"

namespace lg::surface {

// What the forward pass keeps so that the backward pass of the same image need not search: for each band, the end of
// its crossing pairs in the list, then the list of their keys. If it does not fit, a leading -1.
template <class Number>
struct PairNotes {
  Number* numbers;
  int64_t capacity;
};

// Notes are stored after the flags, which take one byte per triangle. Number: int64_t, possibly const.
template <class Number, class T, class Byte>
PairNotes<Number> pair_notes(const AntialiasScene<T>& s, Byte* notes, int64_t bytes) {
  constexpr int64_t size = sizeof(Number);
  const int64_t flags = divide_up(s.geometry_views() * s.mesh.triangles, size) * size;
  const bool usable = bytes >= flags && reinterpret_cast<uintptr_t>(notes) % size == 0;
  return {reinterpret_cast<Number*>(notes + flags), usable ? (bytes - flags) / size : 0};
}

// A pair belongs to the band of its first pixel.
template <class T>
class PairList {
 public:
  // notes: those of the forward pass, if it has run. Pairs are searched for if the notes do not hold them.
  PairList(int32_t threads, const AntialiasScene<T>& scene, const PairNotes<const int64_t>& notes = {nullptr, 0})
      : s_(scene),
        bands_per_view_(divide_up(scene.image.height, band_rows)),
        first_(scene.image.views * bands_per_view_ + 1) {
    if (read(notes)) return;
    std::fill(first_.begin(), first_.end(), 0);
    place(find_silhouette_pairs(threads, s_));
  }

  // Keeps the pairs that have a crossing, band by band, followed by zeros.
  static void keep(const std::vector<Array<PairKey>>& crossed, const PairNotes<int64_t>& notes) {
    const auto bands = static_cast<int64_t>(crossed.size());
    int64_t count = 0;
    for (const Array<PairKey>& keys : crossed) count += static_cast<int64_t>(keys.size());
    const bool fits = bands + count <= notes.capacity;
    int64_t* next = notes.numbers;
    for (int64_t band = 0, last = 0; fits && band < bands; ++band) {
      *next++ = last += static_cast<int64_t>(crossed[band].size());
    }
    for (int64_t band = 0; fits && band < bands; ++band) {
      next = std::copy_n(crossed[band].data(), crossed[band].size(), next);
    }
    if (!fits && notes.capacity > 0) *next++ = -1;
    std::fill(next, notes.numbers + notes.capacity, 0);
  }

  int64_t bands() const { return s_.image.views * bands_per_view_; }
  int64_t bands_per_view() const { return bands_per_view_; }

  // Calls use(pair) once for each pair of a band, in order.
  template <class Use>
  void for_band(int64_t band, BandMarks& marks, Use&& use) const {
    const int64_t view = band / bands_per_view_, first_row = band % bands_per_view_ * band_rows;
    for (int64_t i = first_[band]; i < first_[band + 1]; ++i) {
      const PixelPair pair = pair_of(keys_[i], view);
      marks.set(pair.row - first_row, pair.column, pair.vertical);
      prefetch(pair);
    }
    marks.consume(
        [&](int64_t row, int64_t column, bool vertical) { use(PixelPair{view, first_row + row, column, vertical}); });
  }

  // The same for the vertical pairs of a band's last row.
  template <class Use>
  void for_last_row(int64_t band, BandMarks& marks, Use&& use) const {
    const int64_t view = band / bands_per_view_, last_row = (band % bands_per_view_ + 1) * band_rows - 1;
    for (int64_t i = first_[band]; i < first_[band + 1]; ++i) {
      const PixelPair pair = pair_of(keys_[i], view);
      if (pair.vertical && pair.row == last_row) marks.set(0, pair.column, true);
    }
    marks.consume([&](int64_t, int64_t column, bool) { use(PixelPair{view, last_row, column, true}); });
  }

 private:
  // Returns whether the notes hold the list of an image of this size.
  bool read(const PairNotes<const int64_t>& notes) {
    if (notes.capacity < bands() || bands() == 0) return false;
    for (int64_t band = 0; band < bands(); ++band) {
      first_[band + 1] = notes.numbers[band];
      if (first_[band + 1] < first_[band] || first_[band + 1] > notes.capacity - bands()) return false;
    }
    keys_ = Buffer<PairKey>(static_cast<size_t>(first_[bands()]));
    std::copy_n(notes.numbers + bands(), first_[bands()], keys_.data());
    for (int64_t band = 0; band < bands(); ++band) {
      for (int64_t i = first_[band]; i < first_[band + 1]; ++i) {
        if (!is_in_band(pair_of(keys_[i], 0), band % bands_per_view_)) return false;
      }
    }
    return true;
  }

  bool is_in_band(const PixelPair& pair, int64_t band_in_view) const {
    return pair.row / band_rows == band_in_view && pair.row + pair.vertical < s_.image.height &&
           pair.column + !pair.vertical < s_.image.width;
  }

  int64_t band_of(int64_t view, PairKey key) const {
    return view * bands_per_view_ + static_cast<int64_t>(key >> 32) / band_rows;
  }

  // Sorts what the tasks have found into bands.
  void place(const std::vector<FoundPairs>& found) {
    for (const FoundPairs& f : found) {
      for (size_t i = 0; i < f.keys.size(); ++i) ++first_[band_of(f.view, f.keys[i]) + 1];
    }
    for (int64_t band = 0; band < bands(); ++band) first_[band + 1] += first_[band];
    keys_ = Buffer<PairKey>(static_cast<size_t>(first_[bands()]));
    std::vector<int64_t> cursor(first_.begin(), first_.end() - 1);
    for (const FoundPairs& f : found) {
      for (size_t i = 0; i < f.keys.size(); ++i) keys_[cursor[band_of(f.view, f.keys[i])]++] = f.keys[i];
    }
  }

  // Silhouettes cross the image in ways that no hardware prefetcher predicts.
  void prefetch(const PixelPair& pair) const {
    const int64_t first = s_.image.pixel(pair.view, pair.row, pair.column);
    const int64_t second = first + (pair.vertical ? s_.image.width : 1);
    for (const int64_t pixel : {first, second}) FragmentLanes<T>{s_.fragments}.prefetch(pixel);
  }

  const AntialiasScene<T>& s_;
  const int64_t bands_per_view_;
  std::vector<int64_t> first_;  // per band, into keys_
  Buffer<PairKey> keys_;
};

}  // namespace lg::surface
