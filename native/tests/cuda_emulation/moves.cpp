// Fills and copies of a Queue, for tests that call them directly.
#include "runtime/cuda/launch.h"

#define LG_EMULATION_API extern "C" __attribute__((visibility("default")))

// `moves` has to, from (null: filled), bytes and value of each.
LG_EMULATION_API void lg_emulation_move(int64_t count, const int64_t* moves) {
  lg::Queue queue(nullptr);
  for (int64_t i = 0; i < count; ++i, moves += 4) {
    auto* const to = reinterpret_cast<char*>(moves[0]);
    if (moves[1] == 0) {
      queue.fill_bytes(to, static_cast<int>(moves[3]), moves[2]);
    } else {
      queue.copy(to, reinterpret_cast<const char*>(moves[1]), moves[2]);
    }
  }
  queue.flush();
}
