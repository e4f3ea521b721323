// How the pixels of marked pairs blend, on CUDA: found once per pair, by its own thread.
//
// A search walks over the surface from triangle to triangle, and every step waits for memory, so searches must run side
// by side. Their results are small and few pairs are marked, so results are stored compactly: those of a word of marks
// are consecutive, and the word keeps the place of the first. If more pairs are marked than there is room for, pairs
// without a place are searched again whenever they are needed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/cuda/launch.h"
#include "surface/antialias.h"
#include "surface/pair_marks_cuda.h"

namespace lg::surface {

// A PairBlend without the crossing's distance, which follows from the weight.
struct StoredBlend {
  static constexpr uint32_t edge = 3, clamped = 4, owned_by_first = 8, first_takes = 16;

  double weight;
  int32_t triangle;
  uint32_t flags;
};

LG_DEVICE StoredBlend pack(const PairBlend& blend) {
  const Crossing& crossing = blend.crossing;
  return {blend.weight, crossing.triangle,
          static_cast<uint32_t>(crossing.edge) | (crossing.clamped ? StoredBlend::clamped : 0u) |
              (crossing.owned_by_first ? StoredBlend::owned_by_first : 0u) |
              (blend.first_takes ? StoredBlend::first_takes : 0u)};
}

LG_DEVICE PairBlend unpack(const StoredBlend& stored) {
  PairBlend blend;
  blend.weight = stored.weight;
  blend.first_takes = (stored.flags & StoredBlend::first_takes) != 0;
  blend.crossing.triangle = stored.triangle;
  blend.crossing.edge = static_cast<int>(stored.flags & StoredBlend::edge);
  blend.crossing.clamped = (stored.flags & StoredBlend::clamped) != 0;
  blend.crossing.owned_by_first = (stored.flags & StoredBlend::owned_by_first) != 0;
  return blend;
}

struct PairBlends {
  PairMarks marks;
  uint32_t* taken;      // number of places in use
  uint32_t* first;      // per word of marks: the place of its first pair
  StoredBlend* blends;  // [capacity]
  int64_t capacity;

  // Outlines are lines: each adds about sqrt(n) marks to the 2 n pairs of an image.
  static int64_t capacity_for(const ImageSize& image) {
#if defined(LG_CUDA_EMULATED)
    return std::min<int64_t>(image.pixels(), 64);  // so that tests exceed it
#else
    return std::min(2 * image.pixels(), std::max<int64_t>(image.pixels() / 4, 1 << 16));
#endif
  }

  explicit PairBlends(const ImageSize& image) : marks{image, nullptr}, capacity(capacity_for(image)) {}

  void plan(Workspace& workspace) {
    // Everything that must be cleared is contiguous.
    marks.bits = workspace.take<uint32_t>(marks.all_words() + 1);
    taken = marks.bits + marks.all_words();
    first = workspace.take<uint32_t>(marks.all_words());
    blends = workspace.take<StoredBlend>(capacity);
  }
  void clear(Queue& queue) const { queue.fill_bytes(marks.bits, 0, 4 * (marks.all_words() + 1)); }

  // The blend of a marked pair.
  LG_DEVICE int64_t place(const PixelPair& pair) const {
    const int64_t word = marks.number_of_word(pair.view, pair.row, pair.column, pair.vertical);
    const uint32_t before = marks.bits[word] & ((1u << (pair.column % 32)) - 1);
    return int64_t{first[word]} + bit_count(before);
  }
};

// Not inlined: it is large, and is also called when there is no room.
template <class T>
LG_DEVICE_NOINLINE PairBlend search_pair(const AntialiasScene<T>& s, const PixelPair& pair) {
  return blend_pair(s, pair);
}

template <class T>
LG_DEVICE PairBlend blend_of(const AntialiasScene<T>& s, const PairBlends& found, const PixelPair& pair) {
  const int64_t place = found.place(pair);
  return place < found.capacity ? unpack(found.blends[place]) : search_pair(s, pair);
}

// ---- All marked pairs --------------------------------------------------------------------------------------

constexpr int words_per_block = 64;

// The marked pairs of a block's words.
struct BlockPairs {
  uint32_t words[words_per_block];
  int32_t end[words_per_block];  // per word: its first pair among those of all words
  uint32_t first;                // the place of the first
};

// Called by the first warp, in which each lane has two words.
LG_DEVICE void count_pairs(const PairMarks& marks, int64_t first_word, BlockPairs& pairs) {
  const auto lane = static_cast<int>(lane_id());
  int count[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t word = first_word + 2 * lane + i;
    const uint32_t bits = word < marks.all_words() ? marks.bits[word] : 0u;
    pairs.words[2 * lane + i] = bits;
    count[i] = bit_count(bits);
  }
  const int end = running_sum(count[0] + count[1]);
  pairs.end[2 * lane] = end - count[1];
  pairs.end[2 * lane + 1] = end;
}

// The word of the block that contains pair number i.
LG_DEVICE int word_of_pair(const BlockPairs& pairs, int i) {
  int word = 0;
  for (int step = words_per_block / 2; step > 0; step /= 2) {
    if (pairs.end[word + step - 1] <= i) word += step;
  }
  return word;
}

LG_DEVICE PixelPair pair_at(const PairMarks& marks, int64_t word, int bit) {
  const int64_t line = word / marks.words(), column = 32 * (word % marks.words()) + bit;
  const int64_t lines = marks.image.views * marks.image.height;
  const bool vertical = line >= lines;
  const int64_t line_of_kind = vertical ? line - lines : line;
  return {line_of_kind / marks.image.height, line_of_kind % marks.image.height, column, vertical};
}

// Calls begin(first_word, pairs) in every thread, with the number of the block's pairs; then body(pair, number,
// exists), with the pair's number within the block, equally often in all lanes of a warp. Called by whole blocks.
template <class Begin, class Body>
LG_DEVICE void for_marked_pairs(const PairMarks& marks, BlockPairs& pairs, Begin&& begin, Body&& body) {
  const int64_t all = marks.all_words();
  const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int64_t first_word = int64_t{blockIdx.x} * words_per_block; first_word < all;
       first_word += int64_t{gridDim.x} * words_per_block) {
    __syncthreads();  // the pairs of the last words are no longer read
    if (threadIdx.x < warp_size) count_pairs(marks, first_word, pairs);
    __syncthreads();
    const int count = pairs.end[words_per_block - 1];
    if (count == 0) continue;
    begin(first_word, pairs);
    for (int base = thread / 32 * 32; base < count; base += threads) {
      const int i = base + thread % 32;
      const bool exists = i < count;
      PixelPair pair = {0, 0, 0, false};
      if (exists) {
        const int word = word_of_pair(pairs, i);
        const int rank = i - (pairs.end[word] - bit_count(pairs.words[word]));
        pair = pair_at(marks, first_word + word, nth_bit(pairs.words[word], rank));
      }
      body(pair, i, exists && marks.exists(pair));
    }
  }
}

template <class T>
__global__ void __launch_bounds__(128)
    search_pairs(const __grid_constant__ AntialiasScene<T> s, const __grid_constant__ PairBlends found) {
  __shared__ BlockPairs pairs;
  const auto take_places = [&](int64_t first_word, BlockPairs& of_block) {
    const int count = of_block.end[words_per_block - 1];
    if (threadIdx.x == 0) of_block.first = atomic_add(found.taken, static_cast<uint32_t>(count));
    __syncthreads();
    const auto word = static_cast<int>(threadIdx.x);
    if (word < words_per_block && first_word + word < found.marks.all_words()) {
      const int before = of_block.end[word] - bit_count(of_block.words[word]);
      found.first[first_word + word] = of_block.first + static_cast<uint32_t>(before);
    }
  };
  for_marked_pairs(found.marks, pairs, take_places, [&](const PixelPair& pair, int number, bool exists) {
    const int64_t place = int64_t{pairs.first} + number;
    if (exists && place < found.capacity) found.blends[place] = pack(search_pair(s, pair));
  });
}

inline dim3 pair_blocks(const PairMarks& marks) {
  return dim3(static_cast<unsigned>(std::min(divide_up(marks.all_words(), words_per_block), max_grid_x)));
}

// Marks pairs and finds their blends. Everything that must be cleared has been.
template <class T>
void find_blends(Queue& queue, const AntialiasScene<T>& s, const PairBlends& found) {
  mark_pairs(queue, s, found.marks);
  queue.launch(search_pairs<T>, pair_blocks(found.marks), dim3(128), s, found);
}

}  // namespace lg::surface
