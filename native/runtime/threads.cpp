#include "runtime/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "lumigrad.h"
#include "runtime/contention.h"
#include "runtime/stream.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace lg {
namespace {

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

std::atomic<TeamFunction> team_function{nullptr};

// A number for every thread that takes part in jobs, in the order of their first jobs.
int number_of_this_thread() {
  static std::atomic<int> threads{0};
  thread_local const int number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

// One parallel_for, shared by the caller and the workers that join it. The tasks are cut into as many parts as there
// are threads. A thread begins with the part that is its own in every job, because what it wrote in one pass (over an
// image or a mesh) is still in its caches in the next, and then helps with the others.
struct Job {
  Job(TaskFunction function, void* context, int64_t tasks, int helpers)
      : function(function), context(context), helpers(helpers), parts(std::min(helpers + 1, most_parts)) {
    for (int i = 0; i < parts; ++i) {
      part[i].next.store(tasks * i / parts, std::memory_order_relaxed);
      part[i].end = tasks * (i + 1) / parts;
    }
  }

  static constexpr int most_parts = 64;
  struct alignas(64) Part {
    std::atomic<int64_t> next;  // the next task to hand out
    int64_t end;
  };

  const TaskFunction function;
  void* const context;
  const int helpers;  // workers that may join besides the caller
  const int parts;
  Part part[most_parts];
  std::atomic<int> joined{0};  // workers that have asked to join
  std::atomic<int> active{0};  // workers inside run()
  std::atomic<bool> failed{false};
  std::exception_ptr error{};
  bool measured = false;

  void run(int worker) {
    TaskClock clock(measured);
    const int own = number_of_this_thread() % parts;
    for (int i = 0; i < parts; ++i) run_part(part[(own + i) % parts], worker);
    finish_streams();
    clock.stop();
  }

  void run_part(Part& p, int worker) {
    for (int64_t task; (task = p.next.fetch_add(1, std::memory_order_relaxed)) < p.end;) {
      if (failed.load(std::memory_order_relaxed)) return;
      try {
        function(context, task, worker);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }
};

void run_alone(int64_t tasks, TaskFunction function, void* context) {
  for (int64_t task = 0; task < tasks; ++task) function(context, task, 0);
  finish_streams();
}

void survive_fork();

class Pool {
 public:
  // Leaked on purpose: while static objects are being destroyed, tensors may still be freed and ops called.
  static Pool& instance() {
    std::lock_guard<std::mutex> lock(creation());
    if (!current()) current() = new Pool;
    return *current();
  }

  void run(int threads, int64_t tasks, TaskFunction function, void* context) {
    const int helpers = static_cast<int>(std::min<int64_t>(threads, tasks)) - 1;
    if (helpers <= 0 || !busy_.try_lock()) return run_alone(tasks, function, context);
    std::lock_guard<std::mutex> release(busy_, std::adopt_lock);
    grow(helpers);
    Job job(function, context, tasks, helpers);
    publish(&job);
    job.run(0);
    retract();
    wait_for_helpers(job);
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  friend void survive_fork();

  static std::mutex& creation() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
  }
  static Pool*& current() {
    static Pool* pool = nullptr;
    return pool;
  }

  Pool() { survive_fork(); }

  void grow(int helpers) {
    while (static_cast<int>(workers_) < helpers) {
      std::thread([this] { work(); }).detach();
      ++workers_;
    }
  }

  void publish(Job* job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
      generation_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load() > 0) wake_.notify_all();
  }

  void retract() {
    std::lock_guard<std::mutex> lock(mutex_);
    job_ = nullptr;
  }

  // Joins the current job if there is one with room. Workers join under the lock, so that a job is never touched after
  // retract().
  Job* join(int* worker) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!job_ || job_->joined.load(std::memory_order_relaxed) >= job_->helpers) return nullptr;
    *worker = 1 + job_->joined.fetch_add(1, std::memory_order_relaxed);
    job_->active.fetch_add(1, std::memory_order_relaxed);
    return job_;
  }

  [[noreturn]] void work() {
    uint64_t seen = 0;
    for (;;) {
      wait_for_news(&seen);
      int worker = 0;
      if (Job* job = join(&worker)) {
        job->run(worker);
        leave(job);
      }
    }
  }

  // The job may end with this subtraction; the pool remains.
  void leave(Job* job) {
    job->active.fetch_sub(1);
    if (!caller_sleeps_.load()) return;
    std::lock_guard<std::mutex> lock(mutex_);
    left_.notify_all();
  }

  void wait_for_helpers(Job& job) {
    if (spin_until([&] { return job.active.load(std::memory_order_acquire) == 0; })) return;
    std::unique_lock<std::mutex> lock(mutex_);
    caller_sleeps_.store(true);
    left_.wait(lock, [&] { return job.active.load() == 0; });
    caller_sleeps_.store(false);
  }

  void wait_for_news(uint64_t* seen) {
    const auto news = [&] { return generation_.load(std::memory_order_acquire) != *seen; };
    if (!spin_until(news)) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, news);
      sleeping_.fetch_sub(1);
    }
    *seen = generation_.load(std::memory_order_acquire);
  }

  // Waits for something that is usually close. False if it is not: a thread that is missing for longer has lost its
  // core to another one, perhaps to the one that waits for it.
  template <class Condition>
  static bool spin_until(Condition condition) {
    const auto patience = std::chrono::microseconds(60);
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int spin = 0; spin < 64; ++spin) {
        if (condition()) return true;
        relax();
      }
    } while (std::chrono::steady_clock::now() - start < patience);
    return false;
  }

  std::mutex busy_;   // held by the caller for the duration of its job
  std::mutex mutex_;  // guards job_ and sleeping
  std::condition_variable wake_;
  std::condition_variable left_;
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> sleeping_{0};
  Job* job_ = nullptr;
  int workers_ = 0;
};

// A forked child has only the thread that forked. The team that GNU's runtime believes it has would never come, so the
// child uses its own pool, which starts without threads.
void survive_fork() {
#if !defined(_WIN32)
  static const int registered = pthread_atfork([] { Pool::creation().lock(); }, [] { Pool::creation().unlock(); },
                                               [] {
                                                 Pool::current() = nullptr;
                                                 team_function.store(nullptr);
                                                 forget_contention();
                                                 Pool::creation().unlock();
                                               });
  (void)registered;
#endif
}

// The team always has the full number of threads: a size other than torch's would make the runtime rebuild it.
void run_on_team(TeamFunction team, int threads, int64_t tasks, TaskFunction function, void* context) {
  Job job(function, context, tasks, threads - 1);
  job.measured = should_measure();
  team(
      [](void* data) {
        Job* shared = static_cast<Job*>(data);
        shared->run(shared->joined.fetch_add(1, std::memory_order_relaxed));
      },
      &job, static_cast<unsigned>(threads), 0);
  if (job.measured) adapt_waiting(team, threads);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace

void run_parallel(int threads, int64_t tasks, TaskFunction function, void* context) {
  if (threads <= 1 || tasks <= 1) return run_alone(tasks, function, context);
  if (const TeamFunction team = team_function.load(std::memory_order_relaxed)) {
    run_on_team(team, threads, tasks, function, context);
  } else {
    Pool::instance().run(threads, tasks, function, context);
  }
}

}  // namespace lg

void lg_use_team(void* team_function) {
  lg::survive_fork();
  lg::team_function.store(reinterpret_cast<lg::TeamFunction>(team_function));
}
