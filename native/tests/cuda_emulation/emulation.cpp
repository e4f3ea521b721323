// Fibers, barriers and warps of the emulation (emulation.h).
#include "emulation.h"

#include <atomic>
#include <cstdio>
#include <memory>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define LG_EMULATION_API extern "C" __attribute__((visibility("default")))

namespace lg {
namespace emulation {

thread_local Coordinates now;

namespace {

constexpr size_t stack_bytes = 256 << 10;
// The order of blocks and threads: 0 forwards, 1 backwards.
int order = 0;
std::atomic<int64_t> launches{0};

[[noreturn]] void fail(const char* text, const char* a = "", const char* b = "") {
  std::fprintf(stderr, "CUDA emulation: %s %s %s (block %u %u %u, thread %u)\n", text, a, b, now.block.x, now.block.y,
               now.block.z, now.thread.x);
  std::abort();
}

// ---- Fibers: a stack and the place where execution paused --------------------------------------------------

#if defined(__x86_64__)
struct Context {
  void* stack_pointer = nullptr;
};
extern "C" void lg_emulation_switch(void** save, void* load);
// Callee-saved registers go on the old stack and come from the new one (System V ABI).
asm(R"(
.text
.local lg_emulation_switch
.type lg_emulation_switch, @function
lg_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lg_emulation_switch, . - lg_emulation_switch
)");

void prepare(Context& context, char* stack, void (*entry)()) {
  // Where a called function finds its return address: 8 bytes past a multiple of 16.
  auto* top = reinterpret_cast<void**>(stack + stack_bytes - 72);
  *top = nullptr;                                // where entry() would return to; it never does
  *--top = reinterpret_cast<void*>(entry);       // popped by ret: the stack is then as after a call
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the six registers
  context.stack_pointer = top;
}
void switch_to(Context& from, Context& to) { lg_emulation_switch(&from.stack_pointer, to.stack_pointer); }
#else
struct Context {
  ucontext_t context;
};
void prepare(Context& c, char* stack, void (*entry)()) {
  getcontext(&c.context);
  c.context.uc_stack.ss_sp = stack;
  c.context.uc_stack.ss_size = stack_bytes;
  c.context.uc_link = nullptr;
  makecontext(&c.context, entry, 0);
}
void switch_to(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
#endif

struct Fiber {
  Context context;
  std::unique_ptr<char[]> stack{new char[stack_bytes]};
};

// ---- One block ---------------------------------------------------------------------------------------------

struct Warp {
  alignas(16) unsigned char slots[2][warp_size * slot_bytes];  // by the parity of the exchange
  const char* what = nullptr;
  size_t size = 0;
  uint32_t live = 0, arrived = 0, took_part[2] = {0, 0};
  uint64_t completed = 0;
};

struct Thread {
  enum State { fresh, ready, in_warp, at_barrier, done } state = fresh;
  Fiber* fiber = nullptr;
  uint64_t exchanges = 0;
};

class Block {
 public:
  void run(dim3 size, void (*body)(void*), void* data) {
    body_ = body;
    data_ = data;
    const unsigned count = size.x * size.y * size.z;
    threads_.assign(count, Thread{});
    warps_.resize((count + warp_size - 1) / warp_size);
    for (size_t w = 0; w < warps_.size(); ++w) {
      const unsigned lanes = std::min(warp_size, count - static_cast<unsigned>(w) * warp_size);
      warps_[w].live = lanes == 32 ? ~0u : (1u << lanes) - 1;
      warps_[w].arrived = 0;
      warps_[w].completed = 0;
    }
    live_ = count;
    at_barrier_ = 0;
    started_ = 0;
    while (live_ > 0) {
      if (!ready_.empty()) {
        current_ = ready_.back();
        ready_.pop_back();
        resume(threads_[current_].fiber);
      } else if (started_ < count) {
        resume(idle_fiber());
      } else {
        fail("no thread can go on: a barrier or warp function that not all of them reach");
      }
    }
  }

  Exchange exchange(const char* what, const void* value, size_t size) {
    if (size > slot_bytes) fail("too large a value for", what);
    Thread& thread = threads_[current_];
    Warp& warp = warps_[current_ / warp_size];
    const unsigned lane = current_ % warp_size, parity = thread.exchanges++ & 1;
    if (warp.arrived == 0) {
      warp.what = what;
      warp.size = size;
    } else if (std::strcmp(warp.what, what) != 0 || warp.size != size) {
      fail("lanes of a warp meet in different functions:", warp.what, what);
    }
    std::memcpy(warp.slots[parity] + lane * slot_bytes, value, size);
    warp.arrived |= 1u << lane;
    if (warp.arrived == warp.live) {
      complete(current_ / warp_size);
    } else {
      wait(Thread::in_warp);
    }
    return {warp.slots[parity], warp.took_part[parity]};
  }

  void barrier() {
    if (++at_barrier_ == live_) {
      release_barrier();
    } else {
      wait(Thread::at_barrier);
    }
  }

  unsigned lane() const { return current_ % warp_size; }

 private:
  static void enter();

  Fiber* idle_fiber() {
    if (idle_.empty()) {
      fibers_.emplace_back(new Fiber);
      idle_.push_back(fibers_.back().get());
    }
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    prepare(fiber->context, fiber->stack.get(), &Block::enter);
    return fiber;
  }

  void resume(Fiber* fiber) {
    running_ = fiber;
    place(current_);
    switch_to(scheduler_, fiber->context);
  }

  // A fiber runs one new thread after another. A thread that has to wait keeps its fiber.
  void work() {
    const unsigned count = static_cast<unsigned>(threads_.size());
    while (started_ < count && ready_.empty()) {
      const unsigned next = started_++;
      current_ = order == 0 ? next : count - 1 - next;
      place(current_);
      threads_[current_].fiber = running_;
      threads_[current_].state = Thread::ready;
      body_(data_);
      finish(threads_[current_]);
    }
    idle_.push_back(running_);
    switch_to(running_->context, scheduler_);
  }

  void finish(Thread& thread) {
    thread.state = Thread::done;
    Warp& warp = warps_[current_ / warp_size];
    warp.live &= ~(1u << current_ % warp_size);
    --live_;
    if (warp.arrived && warp.arrived == warp.live) complete(current_ / warp_size);
    if (live_ > 0 && at_barrier_ == live_) release_barrier();
  }

  void complete(unsigned w) {
    Warp& warp = warps_[w];
    warp.took_part[warp.completed++ & 1] = warp.arrived;
    warp.arrived = 0;
    wake(w * warp_size, std::min<unsigned>((w + 1) * warp_size, static_cast<unsigned>(threads_.size())),
         Thread::in_warp);
  }

  void release_barrier() {
    at_barrier_ = 0;
    wake(0, static_cast<unsigned>(threads_.size()), Thread::at_barrier);
  }

  void wake(unsigned first, unsigned last, Thread::State waiting) {
    for (unsigned i = first; i < last; ++i) {
      if (threads_[i].state != waiting) continue;
      threads_[i].state = Thread::ready;
      ready_.push_back(i);
    }
  }

  void wait(Thread::State state) {
    threads_[current_].state = state;
    Fiber* mine = threads_[current_].fiber;
    switch_to(mine->context, scheduler_);
  }

  static void place(unsigned thread) {
    const dim3& size = now.block_size;
    now.thread = dim3(thread % size.x, thread / size.x % size.y, thread / (size.x * size.y));
  }

  void (*body_)(void*) = nullptr;
  void* data_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned> ready_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* running_ = nullptr;
  Context scheduler_;
  unsigned current_ = 0, live_ = 0, at_barrier_ = 0, started_ = 0;
};

thread_local Block block;

void Block::enter() {
  block.work();
  fail("a fiber was resumed after its end");
}

}  // namespace

void run(dim3 grid, dim3 size, void (*body)(void*), void* data) {
  if (size.x * size.y * size.z > 1024 || size.x == 0 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || grid.x > 0x7fffffffu) {
    fail("a launch that no device takes");
  }
  ++launches;
  now.grid = grid;
  now.block_size = size;
  const uint64_t count = uint64_t{grid.x} * grid.y * grid.z;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = order == 0 ? i : count - 1 - i;
    now.block = dim3(static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                     static_cast<unsigned>(at / grid.x / grid.y));
    block.run(size, body, data);
  }
}

Exchange exchange(const char* what, const void* value, size_t size) { return block.exchange(what, value, size); }
void barrier() { block.barrier(); }
unsigned lane() { return block.lane(); }

}  // namespace emulation
}  // namespace lg

// For tests of determinism: 1 lets blocks and threads start in the opposite order.
LG_EMULATION_API void lg_emulation_set_order(int32_t order) { lg::emulation::order = order; }
// For tests of what an op launches: how often anything has been launched.
LG_EMULATION_API int64_t lg_emulation_launches(void) { return lg::emulation::launches; }
