// What all ops of the CUDA library share on the host.
#include <atomic>

#include "runtime/cuda/launch.h"

namespace lg {
namespace {

thread_local char last_error[256];

constexpr int64_t words_per_upload = 512;
struct Words {
  uint32_t value[words_per_upload];
};

__global__ void write_words(Words words, int32_t count, uint32_t* device) {
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count; i += static_cast<int32_t>(blockDim.x)) {
    device[i] = words.value[i];
  }
}

}  // namespace

void set_last_error(const char* text) { std::snprintf(last_error, sizeof last_error, "%s", text); }

void Queue::upload(const void* host, int64_t words, uint32_t* device) {
  for (int64_t first = 0; first < words; first += words_per_upload) {
    const int64_t count = std::min(words_per_upload, words - first);
    Words part = {};
    std::memcpy(part.value, static_cast<const char*>(host) + 4 * first, static_cast<size_t>(4 * count));
    launch(write_words, dim3(1), dim3(128), part, static_cast<int32_t>(count), device + first);
  }
}

int multiprocessors() {
#if defined(LG_CUDA_EMULATED)
  return 1;
#else
  constexpr int known_devices = 64;
  static std::atomic<int> known[known_devices];
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 1;
  if (device < known_devices && (count = known[device].load(std::memory_order_relaxed)) > 0) return count;
  if (cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) return 1;
  if (device < known_devices) known[device].store(count, std::memory_order_relaxed);
  return count;
#endif
}

}  // namespace lg

int32_t lg_abi_version(void) { return LG_ABI_VERSION; }
const char* lg_isa(void) {
#if defined(LG_CUDA_EMULATED)
  return "emulated";
#else
  return "cuda";
#endif
}
const char* lg_last_error(void) { return lg::last_error; }
int32_t lg_check(void) {
#if !defined(LG_CUDA_EMULATED)
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, lg::write_words);
  if (error != cudaSuccess) {
    lg::set_last_error(cudaGetErrorString(error));
    cudaGetLastError();
    return LG_INTERNAL;
  }
#endif
  return LG_OK;
}
int32_t lg_toolkit(void) {
#if defined(LG_CUDA_EMULATED)
  return 0;
#else
  return CUDART_VERSION;
#endif
}
