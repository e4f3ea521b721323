// Sorts and prefix sums with CUB; in the emulation, with a stand-in that has the same interface.
#include "runtime/cuda/algorithms.h"

#if defined(LG_CUDA_EMULATED)
#include "tests/cuda_emulation/cub.h"
#else
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#endif

namespace lg {

void PairSort::plan(Workspace& workspace, uint32_t* values_there) {
  for (uint32_t*& keys : keys_) keys = workspace.take<uint32_t>(count_);
  values_[0] = values_there ? values_there : workspace.take<uint32_t>(count_);
  values_[1] = workspace.take<uint32_t>(count_);
  cub::DoubleBuffer<uint32_t> keys(keys_[0], keys_[1]), values(values_[0], values_[1]);
  cub::DeviceRadixSort::SortPairs(nullptr, bytes_, keys, values, count_, 0, bits_);
  temporary_ = workspace.take<char>(static_cast<int64_t>(bytes_));
}

void PairSort::run(Queue& queue) {
  cub::DoubleBuffer<uint32_t> keys(keys_[now_], keys_[now_ ^ 1]), values(values_[now_], values_[now_ ^ 1]);
  queue.call([&](cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(temporary_, bytes_, keys, values, count_, 0, bits_, stream);
  });
  now_ ^= keys.selector;
}

void RunningSum::plan(Workspace& workspace) {
  numbers_ = workspace.take<uint64_t>(count_);
  cub::DeviceScan::ExclusiveSum(nullptr, bytes_, numbers_, numbers_, count_);
  temporary_ = workspace.take<char>(static_cast<int64_t>(bytes_));
}

void RunningSum::run(Queue& queue) {
  queue.call([&](cudaStream_t stream) {
    return cub::DeviceScan::ExclusiveSum(temporary_, bytes_, numbers_, numbers_, count_, stream);
  });
}

}  // namespace lg
