// Division of a size into parts, rounded up.
#pragma once

#include <cstdint>

namespace lg {

constexpr int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

}  // namespace lg
