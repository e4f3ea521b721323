// The size of a batch of images.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg {

struct ImageSize {
  int64_t views, height, width;

  LG_HD int64_t pixels() const { return views * height * width; }
  LG_HD int64_t pixel(int64_t view, int64_t row, int64_t column) const {
    return (view * height + row) * width + column;
  }
};

}  // namespace lg
