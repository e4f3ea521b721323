// A small thread pool: parallel_for over tasks of roughly equal cost. Each thread does its own part, then helps others.
//
// The core links against no OpenMP runtime. If torch brings GNU's runtime, tasks run on the team of threads that it
// keeps for torch (lg_use_team): its idle threads spin for milliseconds after a torch op, and lumigrad's own threads
// would compete with them for the cores. Otherwise lumigrad's own pool is used, whose idle workers spin for some
// microseconds (the next op of a frame usually comes that soon) and then sleep.
#pragma once

#include <cstdint>
#include <type_traits>

#include "math/divide_up.h"

namespace lg {

using TaskFunction = void (*)(void* context, int64_t task, int worker);

// Runs function(context, task, worker) for every task in [0, tasks), on at most `threads` threads including the
// calling one. worker is in [0, threads), and no two concurrent tasks share a worker. If another thread is using the
// pool, everything runs on the calling thread. An exception from a task is rethrown here after all tasks have
// stopped.
void run_parallel(int threads, int64_t tasks, TaskFunction function, void* context);

template <class Body>
void parallel_for(int threads, int64_t tasks, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  run_parallel(
      threads, tasks, [](void* context, int64_t task, int worker) { (*static_cast<Plain*>(context))(task, worker); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace lg
