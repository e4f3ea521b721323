// Numbers for the triangles met in one tile, in the order they are met.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/config.h"
#include "runtime/memory.h"

namespace lg {

class TriangleNumbers {
 public:
  void clear() {
    for (const int32_t triangle : triangle_) slot_of(triangle).triangle = -1;
    triangle_.clear();
  }

  // The number of a triangle. It equals count() before the call if the triangle has not been met or has been forgotten;
  // it then has two numbers.
  int32_t find(int32_t triangle) {
    if (LG_UNLIKELY(slots_.empty())) slots_.assign(slot_count, Slot{-1, 0});
    Slot& slot = slot_of(triangle);
    if (slot.triangle != triangle) {
      slot = {triangle, count()};
      triangle_.push_back(triangle);
    }
    return slot.number;
  }

  int32_t count() const { return static_cast<int32_t>(triangle_.size()); }
  int32_t operator[](int32_t number) const { return triangle_[number]; }

 private:
  struct Slot {
    int32_t triangle, number;
  };
  static constexpr uint32_t slot_count = 2048;  // triangles of one tile rarely share a slot

  Slot& slot_of(int32_t triangle) { return slots_[static_cast<uint32_t>(triangle) % slot_count]; }

  std::vector<Slot> slots_;  // filled when the first triangle comes, because many workers of small images never see one
  Array<int32_t> triangle_;
};

}  // namespace lg
