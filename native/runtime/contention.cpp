#include "runtime/contention.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "lumigrad.h"

#if defined(__linux__)
#include <time.h>
#endif

namespace lg {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t millisecond = 1'000'000;  // in nanoseconds
constexpr int64_t window = 20 * millisecond;
constexpr int busy_windows = 2;    // consecutive windows until the threads sleep
constexpr int quiet_windows = 50;  // consecutive windows until they spin again
constexpr double busy_share = 0.15;
constexpr double quiet_share = 0.03;

std::atomic<int> processors{0};  // 0: the runtime's wait policy is left alone
std::atomic<int64_t> next_measurement{0};
std::atomic<int64_t> time_in_tasks{0};
std::atomic<int64_t> time_on_core{0};

int64_t nanoseconds(Clock::time_point t) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

int64_t core_time_of_this_thread() {
#if defined(__linux__)
  timespec t;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0) return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
#endif
  return 0;
}

// The additional team. Leaked on purpose: its thread may outlive static objects.
class SleepingTeam {
 public:
  bool exists() const { return number_.load(std::memory_order_relaxed) != 0; }

  void start(TeamFunction team, int threads) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (exists()) return;
    const int64_t number = ++last_;
    try {
      std::thread([=] { hold(team, threads, number); }).detach();
      number_.store(number, std::memory_order_relaxed);
    } catch (const std::system_error&) {
      // The system allows no more threads.
    }
  }

  void end() {
    std::lock_guard<std::mutex> lock(mutex_);
    number_.store(0, std::memory_order_relaxed);
    changed_.notify_all();
  }

 private:
  // The runtime ends the threads of a team together with the thread that started it.
  void hold(TeamFunction team, int threads, int64_t number) {
    team([](void*) {}, nullptr, static_cast<unsigned>(threads), 0);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return number_.load(std::memory_order_relaxed) != number; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int64_t> number_{0};  // of the existing team, or 0
  int64_t last_ = 0;
};

struct Adaptation {
  std::mutex mutex;
  int busy = 0;   // consecutive windows
  int quiet = 0;  // consecutive windows
  SleepingTeam further;
};

std::atomic<Adaptation*> adaptation{new Adaptation};

}  // namespace

bool should_measure() {
  if (processors.load(std::memory_order_relaxed) == 0) return false;
  return nanoseconds(Clock::now()) >= next_measurement.load(std::memory_order_relaxed);
}

TaskClock::TaskClock(bool measure) : measure_(measure) {
  if (!measure_) return;
  start_ = Clock::now();
  start_on_core_ = core_time_of_this_thread();
}

void TaskClock::stop() {
  if (!measure_) return;
  const int64_t on_core = core_time_of_this_thread() - start_on_core_;
  time_on_core.fetch_add(on_core, std::memory_order_relaxed);
  time_in_tasks.fetch_add(nanoseconds(Clock::now()) - nanoseconds(start_), std::memory_order_relaxed);
}

void adapt_waiting(TeamFunction team, int threads) {
  next_measurement.store(nanoseconds(Clock::now()) + millisecond, std::memory_order_relaxed);
  if (time_in_tasks.load(std::memory_order_relaxed) < window) return;
  Adaptation& now = *adaptation.load();
  std::unique_lock<std::mutex> lock(now.mutex, std::try_to_lock);
  if (!lock.owns_lock()) return;
  const double total = static_cast<double>(std::max<int64_t>(1, time_in_tasks.exchange(0)));
  const double lost = 1 - static_cast<double>(time_on_core.exchange(0)) / total;
  now.busy = lost > busy_share ? now.busy + 1 : 0;
  now.quiet = lost < quiet_share ? now.quiet + 1 : 0;
  const int available = processors.load(std::memory_order_relaxed);
  // A team of n threads adds n - 1 to the number that the runtime manages.
  if (now.busy >= busy_windows && available > 0) now.further.start(team, std::max(2, available + 2 - threads));
  if (now.quiet >= quiet_windows) now.further.end();
}

void forget_contention() { adaptation.store(new Adaptation); }

}  // namespace lg

void lg_adapt_waiting(int32_t processors) {
  lg::processors.store(processors);
  if (processors == 0) lg::adaptation.load()->further.end();
}

int32_t lg_is_contended(void) { return lg::adaptation.load()->further.exists(); }
