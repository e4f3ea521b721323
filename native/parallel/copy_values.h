// Copying an image with several threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "math/divide_up.h"
#include "runtime/threads.h"

namespace lg {

template <class T>
void copy_values(int32_t threads, int64_t count, const T* from, T* to) {
  constexpr int64_t values_per_task = 1 << 15;
  parallel_for(threads, divide_up(count, values_per_task), [&](int64_t task, int) {
    const int64_t begin = task * values_per_task, end = std::min(count, begin + values_per_task);
    std::memcpy(to + begin, from + begin, sizeof(T) * static_cast<size_t>(end - begin));
  });
}

}  // namespace lg
