// The box of cells that holds everything occupied, on the CPU: rays need not look for it elsewhere.
#pragma once

#include <algorithm>
#include <cstdint>

#include "field/occupancy.h"

namespace lg::field {

// Finds it by whole bricks. With few rays, reading the occupancy would take longer than marching.
inline void find_occupied_box(Occupancy& occupancy, int64_t rays) {
  const int32_t columns = occupancy.bricks(0), rows = occupancy.bricks(1), slices = occupancy.bricks(2);
  constexpr int64_t words_per_ray = 64;
  if (!occupancy.words || int64_t{1} * columns * rows * slices > words_per_ray * rays) return;
  int32_t first[3] = {columns, rows, slices}, last[3] = {-1, -1, -1};
  const int64_t* word = occupancy.words;
  for (int32_t z = 0; z < slices; ++z) {
    for (int32_t y = 0; y < rows; ++y) {
      for (int32_t x = 0; x < columns; ++x) {
        if (*word++ == 0) continue;
        const int32_t brick[3] = {x, y, z};
        for (int a = 0; a < 3; ++a) {
          first[a] = std::min(first[a], brick[a]);
          last[a] = std::max(last[a], brick[a]);
        }
      }
    }
  }
  const bool empty = last[0] < 0;
  for (int a = 0; a < 3; ++a) {
    occupancy.first[a] = empty ? 0 : 4 * first[a];
    occupancy.after[a] = empty ? 0 : std::min(4 * (last[a] + 1), occupancy.size[a]);
  }
}

}  // namespace lg::field
