// Sorting and prefix sums on the device.
//
// Both are steps of an op (launch.h): plan() takes buffers and temporary storage from the workspace, run() puts kernels
// on the stream. The host knows the number of items.
#pragma once

#include <cstdint>

#include "runtime/cuda/launch.h"

namespace lg {

// Sorts 32-bit keys and their values by the lowest `bits` bits of the keys. Stable. May be run again.
class PairSort {
 public:
  PairSort(int64_t count, int bits) : count_(static_cast<int>(count)), bits_(bits) {}

  // values: a buffer for the values to be sorted, or null to take one from the workspace. The result may end up there
  // or elsewhere.
  void plan(Workspace& workspace, uint32_t* values = nullptr);
  void run(Queue& queue);

  int64_t count() const { return count_; }
  // The input to be sorted; after run(), the sorted result.
  uint32_t* keys() const { return keys_[now_]; }
  uint32_t* values() const { return values_[now_]; }

 private:
  int count_, bits_, now_ = 0;
  uint32_t *keys_[2] = {}, *values_[2] = {};
  char* temporary_ = nullptr;
  size_t bytes_ = 0;
};

// Replaces each of `count` numbers by the sum of those before it.
class RunningSum {
 public:
  explicit RunningSum(int64_t count) : count_(static_cast<int>(count)) {}

  void plan(Workspace& workspace);
  void run(Queue& queue);

  uint64_t* numbers() const { return numbers_; }

 private:
  int count_;
  uint64_t* numbers_ = nullptr;
  char* temporary_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace lg
