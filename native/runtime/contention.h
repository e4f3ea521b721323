// Detects whether other processes compete for the cores, and controls how the threads of GNU's OpenMP team wait.
//
// Idle threads of the team spin, which is fast on a quiet machine and ruinous on a busy one: a thread that spins at a
// barrier uses up the time that the missing thread needs to get there. The runtime reads its wait policy once, when
// torch loads it, but it spins a hundredth as long while it manages more threads than there are processors. While the
// cores are contended, an additional sleeping team therefore raises that number.
#pragma once

#include <chrono>
#include <cstdint>

namespace lg {

// GOMP_parallel of GNU's OpenMP runtime: runs body(data) on every thread of a team of num_threads.
using TeamFunction = void (*)(void (*body)(void*), void* data, unsigned num_threads, unsigned flags);

// Whether the threads of the next job should measure their tasks: about once per millisecond.
bool should_measure();

// Measures, within a thread, the time taken by its tasks and the part of it during which the thread had a core.
class TaskClock {
 public:
  explicit TaskClock(bool measure);
  void stop();

 private:
  const bool measure_;
  std::chrono::steady_clock::time_point start_;
  int64_t start_on_core_ = 0;
};

// Called after a measured job: evaluates the clocks, and starts or ends the additional team.
void adapt_waiting(TeamFunction team, int threads);

// Called in a forked child, in which only the calling thread is left.
void forget_contention();

}  // namespace lg
