// Gradients with very many values, such as those of large grids of voxels, added up on the CPU.
//
// Sums of all values for each part of an image would take too much memory. Here, parts write down what they add, and to
// which value, until their logs are full; then the logs are added to the only sums that there are, each range of values
// by itself, in the order of the parts. How an image is divided depends on its size, and when a log is full on its
// part's paths alone, so the result does not depend on threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "light/gradients.h"
#include "runtime/memory.h"

namespace lg::light {

constexpr int64_t log_ranges = 64;
constexpr int64_t most_logged_slots = int64_t{1} << 32;
// A log is full from so many entries on. A single pixel may add more: entries of one value become one at the limit.
constexpr int64_t full_log = int64_t{1} << 18, log_limit = 4 * full_log;

template <class T>
struct LogEntry {
  uint32_t slot;
  T value;
};

// What a part of the image adds, by ranges of values.
template <class T>
class PullLog {
 public:
  void add(int64_t slot, int shift, T value) {
    ranges_[slot >> shift].push_back({static_cast<uint32_t>(slot), value});
    if (++count_ >= limit_) combine();
  }
  bool is_full() const { return count_ >= full_log; }
  void add_range_to(int64_t range, double* sums) const {
    for (size_t i = 0; i < ranges_[range].size(); ++i) {
      const LogEntry<T>& entry = ranges_[range][i];
      sums[entry.slot] += static_cast<double>(entry.value);
    }
  }
  // Memory goes back, too: the next paths fill other ranges, and each would keep the most that it has ever held.
  void clear() {
    for (auto& range : ranges_) range = Array<LogEntry<T>>();
    count_ = 0;
    limit_ = log_limit;
  }

  int64_t next = 0;  // of the part's pixels, counted through

 private:
  // Entries of the same value become one, with the sum of their values in the order in which they came.
  void combine() {
    count_ = 0;
    for (auto& range : ranges_) {
      std::stable_sort(range.begin(), range.end(),
                       [](const LogEntry<T>& a, const LogEntry<T>& b) { return a.slot < b.slot; });
      const size_t size = range.size();
      size_t kept = 0;
      for (size_t i = 0; i < size;) {
        const uint32_t slot = range[i].slot;
        double sum = 0;
        for (; i < size && range[i].slot == slot; ++i) sum += static_cast<double>(range[i].value);
        range[kept++] = {slot, static_cast<T>(sum)};
      }
      range.clear();
      range.extend(kept);  // as they are
      count_ += static_cast<int64_t>(kept);
    }
    limit_ = std::max(log_limit, 2 * count_);
  }

  Array<LogEntry<T>> ranges_[log_ranges];
  int64_t count_ = 0, limit_ = log_limit;
};

}  // namespace lg::light
