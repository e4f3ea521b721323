// The functions of CUB that the kernels use, for a processor. They have the same protocol: a first call without
// temporary storage returns the required size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace cub {

template <class T>
struct DoubleBuffer {
  T* d_buffers[2] = {nullptr, nullptr};
  int selector = 0;

  DoubleBuffer() = default;
  DoubleBuffer(T* current, T* alternate) : d_buffers{current, alternate} {}
  T* Current() { return d_buffers[selector]; }
  T* Alternate() { return d_buffers[selector ^ 1]; }
};

// Without storage, returns the required size; otherwise overwrites the storage.
inline bool asks_for_bytes(void* temporary, size_t& bytes) {
  constexpr size_t wanted = 1000;
  if (!temporary) {
    bytes = wanted;
    return true;
  }
  std::fill_n(static_cast<unsigned char*>(temporary), wanted, static_cast<unsigned char>(0xa5));
  return false;
}

struct DeviceRadixSort {
  template <class Key, class Value>
  static int SortPairs(void* temporary, size_t& bytes, DoubleBuffer<Key>& keys, DoubleBuffer<Value>& values, int count,
                       int begin_bit, int end_bit, void* = nullptr) {
    if (asks_for_bytes(temporary, bytes)) return 0;
    const auto digits = [&](int i) {
      const uint64_t below = end_bit < 64 ? (uint64_t{1} << end_bit) - 1 : ~uint64_t{0};
      return (uint64_t{keys.Current()[i]} & below) >> begin_bit;
    };
    std::vector<int> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return digits(a) < digits(b); });
    for (int i = 0; i < count; ++i) {
      keys.Alternate()[i] = keys.Current()[order[static_cast<size_t>(i)]];
      values.Alternate()[i] = values.Current()[order[static_cast<size_t>(i)]];
    }
    keys.selector ^= 1;
    values.selector ^= 1;
    return 0;
  }
};

struct DeviceScan {
  template <class Value>
  static int ExclusiveSum(void* temporary, size_t& bytes, const Value* from, Value* to, int count, void* = nullptr) {
    if (asks_for_bytes(temporary, bytes)) return 0;
    Value sum = 0;
    for (int i = 0; i < count; ++i) {
      const Value here = from[i];
      to[i] = sum;
      sum += here;
    }
    return 0;
  }
};

}  // namespace cub
