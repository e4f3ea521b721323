// The host side of a CUDA op: launching, clearing, and dividing a workspace into buffers.
#pragma once

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "lumigrad.h"
#include "math/divide_up.h"
#include "parallel/image_size.h"
#include "runtime/cuda/device.h"

namespace lg {

void set_last_error(const char* text);

// The largest sizes of a grid; kernels process larger ranges in grid-stride loops.
constexpr int64_t max_grid_x = 0x7fffffff, max_grid_yz = 65535;
// Threads in a block of launch_items().
constexpr int64_t items_per_block = 256;

// Divides the caller's workspace into buffers. Without one, it only adds up their sizes.
class Workspace {
 public:
  explicit Workspace(const lg_call& call)
      : base_(static_cast<char*>(call.workspace)), size_(call.workspace ? call.workspace_bytes : 0) {}

  template <class V>
  V* take(int64_t count) {
    const int64_t begin = used_;
    used_ += (count * static_cast<int64_t>(sizeof(V)) + 255) / 256 * 256;
    return base_ ? reinterpret_cast<V*>(base_ + begin) : nullptr;
  }

  int64_t used() const { return used_; }
  bool fits() const { return used_ <= size_; }

 private:
  char* base_;
  int64_t size_, used_ = 0;
};

// Bytes to be filled or copied.
struct Move {
  char* to;
  const char* from;  // null: fill
  int64_t bytes;
  uint32_t word;  // the fill value, four times the same byte
};

constexpr int most_moves = 8;
struct Moves {
  Move move[most_moves];
  int32_t count;
};

// A stream to put work on. Remembers the first failure. Fills and copies wait for the next launch, before which a
// single kernel does them all: most are small, and separate calls would take longer than the work.
class Queue {
 public:
  explicit Queue(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

  // Parameters are converted to the kernel's types.
  template <class... Parameters, class... Arguments>
  void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments&&... arguments) {
    if (failed_ || grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    flush();
#if defined(LG_CUDA_EMULATED)
    auto body = [&] { kernel(arguments...); };
    emulation::run(grid, block, [](void* data) { (*static_cast<decltype(body)*>(data))(); }, &body);
#else
    kernel<<<grid, block, 0, stream_>>>(static_cast<Parameters>(arguments)...);
    note(cudaPeekAtLastError());
#endif
  }

  // One thread per item, in one dimension; kernels continue in steps of the grid. Their launch bounds, if any, are
  // items_per_block.
  template <class... Parameters, class... Arguments>
  void launch_items(void (*kernel)(Parameters...), int64_t items, Arguments&&... arguments) {
    const int64_t blocks = std::min(divide_up(items, items_per_block), max_grid_x);
    launch(kernel, dim3(static_cast<unsigned>(blocks)), dim3(items_per_block), arguments...);
  }

  // Work that a library puts on the stream: library(stream) returns an error code.
  template <class Library>
  void call(Library&& library) {
    if (failed_) return;
    flush();
#if defined(LG_CUDA_EMULATED)
    library(stream_);
#else
    note(library(stream_));
#endif
  }

  void fill_bytes(void* place, int value, int64_t bytes) {
    add({static_cast<char*>(place), nullptr, bytes, 0x01010101u * static_cast<uint8_t>(value)});
  }

  void copy(void* to, const void* from, int64_t bytes) {
    add({static_cast<char*>(to), static_cast<const char*>(from), bytes, 0});
  }

  // Launches the waiting fills and copies.
  void flush();

  // Copies words of the host to the device as parameters of launches. Nothing has to wait for the copy, the words may
  // change once this returns, and a CUDA graph holds them itself.
  void upload(const void* host, int64_t words, uint32_t* device);

  bool failed() const { return failed_; }

 private:
  void add(const Move& move);

#if !defined(LG_CUDA_EMULATED)
  void note(cudaError_t error) {
    if (error == cudaSuccess || failed_) return;
    failed_ = true;
    set_last_error(cudaGetErrorString(error));
    cudaGetLastError();  // so that the next call does not find it
  }
#endif

  cudaStream_t stream_;
  Moves waiting_ = {};
  bool failed_ = false;
};

// Multiprocessors of the current device, queried once per device.
int multiprocessors();

inline int32_t reject(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  set_last_error(text);
  return LG_INVALID;
}

// LG_OK if an image has at most `most` pixels per side and every view's range (first, count), if any, lies within the
// triangles.
inline int32_t reject_views(const int64_t* ranges, int64_t views, int64_t triangles, int64_t height, int64_t width,
                            int64_t most) {
  if (height > most || width > most) {
    return reject("size: at most %lld pixels a side, got (%lld, %lld)", static_cast<long long>(most),
                  static_cast<long long>(height), static_cast<long long>(width));
  }
  for (int64_t view = 0; ranges && view < views; ++view) {
    const int64_t first = ranges[2 * view], count = ranges[2 * view + 1];
    if (first < 0 || count < 0 || first > triangles - count) {
      return reject("ranges[%lld] is (%lld, %lld), but tri has %lld triangles", static_cast<long long>(view),
                    static_cast<long long>(first), static_cast<long long>(count), static_cast<long long>(triangles));
    }
  }
  return LG_OK;
}

// Runs an op in two steps: op.plan(workspace) takes its buffers, op.run(queue) puts its kernels on the stream.
template <class Op>
int32_t run_op(lg_call* call, Op&& op) {
  Workspace workspace(*call);
  op.plan(workspace);
  if (!workspace.fits()) {
    call->workspace_bytes = workspace.used();
    return LG_NEEDS_WORKSPACE;
  }
  Queue queue(call->stream);
  op.run(queue);
  queue.flush();
  return queue.failed() ? LG_INTERNAL : LG_OK;
}

// Calls body(T{}) with the scalar type that `dtype` names, and returns its result.
template <class Body>
int32_t dispatch_scalar(int32_t dtype, Body&& body) {
  if (dtype == LG_FLOAT32) return body(float{});
  if (dtype == LG_FLOAT64) return body(double{});
  return reject("dtype code %d is neither float32 nor float64", static_cast<int>(dtype));
}

// The item numbers of a launch by launch_items().
LG_DEVICE int64_t first_item() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
LG_DEVICE int64_t item_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// ---- Images ------------------------------------------------------------------------------------------------

// Pixels are distributed so that each warp has a block of 8 x 4: neighbours in both directions mostly show the same
// triangle.
constexpr int image_block_width = 16, image_block_height = 8;  // 4 warps
constexpr int image_block_pixels = image_block_width * image_block_height;

// Lists of pixels, and images that are little more than a line, are distributed in the order of memory.
LG_HD bool is_line(const ImageSize& image) { return image.width < 8 || image.height < 4; }

inline dim3 image_grid(const ImageSize& image) {
  const int64_t across = divide_up(image.width, image_block_width), down = divide_up(image.height, image_block_height);
  const int64_t blocks = is_line(image) ? divide_up(image.width * image.height, image_block_pixels) : across * down;
  return dim3(static_cast<unsigned>(blocks), 1, static_cast<unsigned>(std::min(image.views, max_grid_yz)));
}
inline dim3 image_block() { return dim3(image_block_pixels); }

// The pixel of this thread, if warps have blocks of 8 x 4, in every view blockIdx.z, blockIdx.z + gridDim.z, ... The
// pixel may lie outside the image.
struct PixelPlace {
  int64_t column, row;
  bool inside;
};

LG_DEVICE PixelPlace pixel_place_in_blocks(const ImageSize& image, int64_t block_height) {
  PixelPlace place;
  const int64_t across = (image.width + image_block_width - 1) / image_block_width;
  const int64_t down = blockIdx.x / across;
  const unsigned lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  place.column = (blockIdx.x - down * across) * image_block_width + warp % 2 * 8 + lane % 8;
  place.row = down * block_height + warp / 2 * 4 + lane / 8;
  place.inside = place.column < image.width && place.row < image.height;
  return place;
}

// The same for image_grid().
LG_DEVICE PixelPlace pixel_place(const ImageSize& image) {
  if (!is_line(image)) return pixel_place_in_blocks(image, image_block_height);
  PixelPlace place;
  const int64_t i = first_item();
  place.row = i / image.width;
  place.column = i - place.row * image.width;
  place.inside = place.column < image.width && place.row < image.height;
  return place;
}

}  // namespace lg
