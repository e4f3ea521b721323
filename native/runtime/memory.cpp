#include "runtime/memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "lumigrad.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace lg {
namespace {

constexpr size_t small_block = 128 * 1024;  // smaller blocks stay with malloc anyway
constexpr size_t huge_page = 2 * 1024 * 1024;

// Rounds up to one of eight sizes per power of two, so that similar requests can share blocks.
size_t size_class(size_t bytes) {
  size_t step = 4096;
  while (step * 16 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

void* system_allocate(size_t bytes, size_t alignment) {
#if defined(_WIN32)
  void* block = _aligned_malloc(bytes, alignment);
#else
  void* block = nullptr;
  if (posix_memalign(&block, alignment, bytes) != 0) block = nullptr;
#endif
  if (!block) throw std::bad_alloc();
  return block;
}

void system_free(void* block) {
#if defined(_WIN32)
  _aligned_free(block);
#else
  std::free(block);
#endif
}

class Recycler {
 public:
  // Leaked on purpose: tensors may return memory after static objects are gone.
  static Recycler& instance() {
    static Recycler* recycler = new Recycler;
    return *recycler;
  }

  Recycler() {
#if !defined(_WIN32)
    // A child is forked only while no thread is in here: otherwise nobody would be left in the child to unlock the
    // mutex.
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] { instance().mutex_.unlock(); });
#endif
  }

  void* take(size_t bytes) {
    bytes = size_class(bytes);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      in_use_ += bytes;
      if (in_use_ > peak_) peak_ = in_use_;
      auto& blocks = idle_[bytes];
      if (!blocks.empty()) {
        void* block = blocks.back();
        blocks.pop_back();
        cached_ -= bytes;
        return block;
      }
    }
    return fresh(bytes);
  }

  void give(void* block, size_t bytes) noexcept {
    bytes = size_class(bytes);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      in_use_ -= bytes;
      if (cached_ + bytes <= limit_) {
        try {
          idle_[bytes].push_back(block);
          cached_ += bytes;
          return;
        } catch (const std::bad_alloc&) {
          // No room to remember the block: return it to the system.
        }
      }
    }
    system_free(block);
  }

  void empty() {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& entry : idle_) {
      for (void* block : entry.second) system_free(block);
    }
    idle_.clear();
    cached_ = 0;
  }

  void stats(int64_t* in_use, int64_t* cached, int64_t* peak) {
    std::lock_guard<std::mutex> lock(mutex_);
    *in_use = static_cast<int64_t>(in_use_);
    *cached = static_cast<int64_t>(cached_);
    *peak = static_cast<int64_t>(peak_);
  }

  void reset_peak() {
    std::lock_guard<std::mutex> lock(mutex_);
    peak_ = in_use_;
  }

  void set_limit(size_t bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      limit_ = bytes;
    }
    empty();
  }

 private:
  void* fresh(size_t bytes) {
    try {
      return fresh_block(bytes);
    } catch (const std::bad_alloc&) {
      empty();  // blocks of other sizes may hold the missing memory
    }
    try {
      return fresh_block(bytes);
    } catch (const std::bad_alloc&) {
      std::lock_guard<std::mutex> lock(mutex_);
      in_use_ -= bytes;
      throw;
    }
  }

  static void* fresh_block(size_t bytes) {
    const bool large = bytes >= huge_page;
    void* block = system_allocate(bytes, large ? huge_page : 64);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (large) madvise(block, bytes, MADV_HUGEPAGE);  // only a hint: a refusal changes nothing
#endif
    return block;
  }

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> idle_;
  size_t in_use_ = 0, cached_ = 0, peak_ = 0;
  size_t limit_ = size_t{1} << 30;
};

// DLPack's structures (https://dmlc.github.io/dlpack, version 0.x: the layout every torch understands).
struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};

struct OwnedTensor {
  DLManagedTensor managed;
  size_t bytes;
  int64_t shape[8];
};

void delete_tensor(DLManagedTensor* managed) {
  auto* owned = static_cast<OwnedTensor*>(managed->context);
  memory_give(managed->tensor.data, owned->bytes);
  delete owned;
}

}  // namespace

void* memory_take(size_t bytes) {
  if (bytes < small_block) return system_allocate(bytes ? bytes : 1, 64);
  return Recycler::instance().take(bytes);
}

void memory_give(void* block, size_t bytes) noexcept {
  if (bytes < small_block) {
    system_free(block);
  } else {
    Recycler::instance().give(block, bytes);
  }
}

}  // namespace lg

void* lg_tensor_new(int32_t dtype_code, int32_t dtype_bits, int32_t ndim, const int64_t* shape) {
  constexpr int max_dimensions = sizeof(lg::OwnedTensor::shape) / sizeof(int64_t);
  if (ndim < 0 || ndim > max_dimensions) return nullptr;
  try {
    auto* owned = new lg::OwnedTensor;
    size_t bytes = static_cast<size_t>(dtype_bits) / 8;
    for (int32_t i = 0; i < ndim; ++i) {
      owned->shape[i] = shape[i];
      bytes *= static_cast<size_t>(shape[i]);
    }
    owned->bytes = bytes;
    try {
      owned->managed.tensor.data = lg::memory_take(bytes);
    } catch (...) {
      delete owned;
      throw;
    }
    auto& tensor = owned->managed.tensor;
    tensor.device = {1, 0};  // kDLCPU
    tensor.ndim = ndim;
    tensor.dtype = {static_cast<uint8_t>(dtype_code), static_cast<uint8_t>(dtype_bits), 1};
    tensor.shape = owned->shape;
    tensor.strides = nullptr;  // compact, row-major
    tensor.byte_offset = 0;
    owned->managed.context = owned;
    owned->managed.deleter = lg::delete_tensor;
    return &owned->managed;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void lg_memory_stats(int64_t* in_use, int64_t* cached, int64_t* peak) {
  lg::Recycler::instance().stats(in_use, cached, peak);
}
void lg_memory_reset_peak(void) { lg::Recycler::instance().reset_peak(); }
void lg_memory_set_limit(int64_t cached_bytes) {
  lg::Recycler::instance().set_limit(static_cast<size_t>(cached_bytes));
}
void lg_memory_empty_cache(void) { lg::Recycler::instance().empty(); }
