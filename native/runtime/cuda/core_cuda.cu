// Host code shared by all ops of the CUDA library.
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

// ---- Fills and copies --------------------------------------------------------------------------------------

struct alignas(16) Quad {
  uint32_t word[4];
};

constexpr int quads_per_thread = 4;
constexpr int64_t quads_per_block = quads_per_thread * items_per_block;

// The quads of a move start at multiples of 16 bytes. `head` bytes lie before them, and fewer than 16 after them.
struct Parts {
  int64_t head, quads;
};

LG_HD Parts parts_of(const Move& move) {
  const auto gap = static_cast<int64_t>((16 - reinterpret_cast<uintptr_t>(move.to) % 16) % 16);
  const int64_t head = gap < move.bytes ? gap : move.bytes;
  return {head, (move.bytes - head) / 16};
}

LG_HD int64_t blocks_of(const Move& move) {
  const int64_t quads = parts_of(move).quads;
  return quads > quads_per_block ? (quads + quads_per_block - 1) / quads_per_block : 1;
}

// A quad, in aligned pieces if it is not aligned itself.
template <class Piece>
LG_DEVICE Quad gather(const char* from) {
  Piece pieces[16 / sizeof(Piece)];
  for (size_t i = 0; i < 16 / sizeof(Piece); ++i) pieces[i] = reinterpret_cast<const Piece*>(from)[i];
  Quad quad;
  std::memcpy(&quad, pieces, sizeof quad);
  return quad;
}

LG_DEVICE Quad quad_of(const Move& move, int64_t offset) {
  if (!move.from) return {{move.word, move.word, move.word, move.word}};
  const char* from = move.from + offset;
  const auto address = reinterpret_cast<uintptr_t>(from);
  if (address % 16 == 0) return *reinterpret_cast<const Quad*>(from);
  return address % 4 == 0 ? gather<uint32_t>(from) : gather<uint8_t>(from);
}

// Its grid has as many blocks as all moves together need.
__global__ void __launch_bounds__(items_per_block) carry_out(const __grid_constant__ Moves moves) {
  int64_t block = blockIdx.x;
  int32_t i = 0;
  while (i < moves.count - 1 && block >= blocks_of(moves.move[i])) block -= blocks_of(moves.move[i++]);
  const Move move = moves.move[i];
  const Parts parts = parts_of(move);
  const auto thread = static_cast<int64_t>(threadIdx.x);
  if (block == 0 && thread < move.bytes - 16 * parts.quads) {
    const int64_t at = thread < parts.head ? thread : thread + 16 * parts.quads;
    move.to[at] = move.from ? move.from[at] : static_cast<char>(move.word & 0xff);
  }
  const int64_t first = block * quads_per_block + thread;
  Quad quads[quads_per_thread] = {};
#pragma unroll
  for (int k = 0; k < quads_per_thread; ++k) {  // all are in flight before the first is needed
    const int64_t q = first + k * items_per_block;
    if (q < parts.quads) quads[k] = quad_of(move, parts.head + 16 * q);
  }
#pragma unroll
  for (int k = 0; k < quads_per_thread; ++k) {
    const int64_t q = first + k * items_per_block;
    if (q < parts.quads) *reinterpret_cast<Quad*>(move.to + parts.head + 16 * q) = quads[k];
  }
}

bool meet(const char* a, int64_t a_bytes, const char* b, int64_t b_bytes) {
  const auto a_begin = reinterpret_cast<uintptr_t>(a), b_begin = reinterpret_cast<uintptr_t>(b);
  return a && b && a_begin < b_begin + static_cast<uint64_t>(b_bytes) &&
         b_begin < a_begin + static_cast<uint64_t>(a_bytes);
}

// Whether the order of two moves matters.
bool depend(const Move& a, const Move& b) {
  return meet(a.to, a.bytes, b.to, b.bytes) || meet(a.to, a.bytes, b.from, b.bytes) ||
         meet(a.from, a.bytes, b.to, b.bytes);
}

}  // namespace

void set_last_error(const char* text) { std::snprintf(last_error, sizeof last_error, "%s", text); }

void Queue::add(const Move& move) {
  if (failed_ || move.bytes <= 0) return;
  bool after = waiting_.count == most_moves;
  for (int32_t i = 0; i < waiting_.count; ++i) after = after || depend(waiting_.move[i], move);
  if (after) flush();
  waiting_.move[waiting_.count++] = move;
}

void Queue::flush() {
  if (waiting_.count == 0) return;
  const Moves moves = waiting_;
  waiting_.count = 0;  // before launch(), which flushes
  int64_t blocks = 0;
  for (int32_t i = 0; i < moves.count; ++i) blocks += blocks_of(moves.move[i]);
  launch(carry_out, dim3(static_cast<unsigned>(blocks)), dim3(items_per_block), moves);
}

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
