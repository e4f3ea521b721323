// Numbers for the triangles met in one tile, in the order they are met.
#pragma once

#include <cstdint>
#include <vector>

#include "common/memory.h"

namespace lg {

class TriangleNumbers {
 public:
  void clear() { triangle_.clear(); }

  // The number of a triangle; count() before the call if it has not been met, or was forgotten: then it has two.
  int32_t find(int32_t triangle) {
    int32_t& slot = slots_[static_cast<uint32_t>(triangle) % slot_count];
    const auto size = static_cast<int32_t>(triangle_.size());
    if (!(slot < size && triangle_[slot] == triangle)) {
      slot = size;
      triangle_.push_back(triangle);
    }
    return slot;
  }

  int32_t count() const { return static_cast<int32_t>(triangle_.size()); }
  int32_t operator[](int32_t number) const { return triangle_[number]; }

 private:
  static constexpr uint32_t slot_count = 2048;  // triangles of one tile rarely share a slot

  std::vector<int32_t> slots_ = std::vector<int32_t>(slot_count, 0);
  Array<int32_t> triangle_;
};

}  // namespace lg
