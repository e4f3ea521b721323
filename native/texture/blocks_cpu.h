// Blocks of lookups on the CPU: how an image of lookups is divided into blocks, and how their texels are prefetched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "parallel/with_constant.h"
#include "runtime/config.h"
#include "runtime/threads.h"
#include "texture/lookups.h"
#include "texture/place.h"
#include "texture/prepare.h"

namespace lg::texture {

constexpr int block_lanes = 32;
template <class T>
using Block = Lookups<T, block_lanes>;
template <class T>
using BlockCorners = Corners<T, block_lanes>;

// The division of an image of lookups into blocks. A block is a piece of a row. Blocks follow one another down a tile
// of the image before the next tile begins: lookups close together in the image are mostly close together in the
// texture, so a tile's texels stay in the nearest cache. Narrow images are divided without regard to rows.
class BlockGrid {
 public:
  explicit BlockGrid(const ImageSize& image)
      : pixels_(image.height * image.width),
        tiled_(image.width >= 2 * block_lanes),
        columns_(image.width),
        rows_(image.height),
        across_(divide_up(image.width, block_lanes)),
        per_view_(tiled_ ? across_ * divide_up(image.height, tile_rows) * tile_rows : divide_up(pixels_, block_lanes)),
        count_(image.views * per_view_) {}

  int64_t count() const { return count_; }
  int64_t per_view() const { return per_view_; }
  int64_t view(int64_t block) const { return block / per_view_; }

  struct Block {
    int64_t begin;
    int size;  // may be 0
  };
  Block operator[](int64_t block) const {
    const int64_t in_view = block % per_view_, first = view(block) * pixels_;
    if (!tiled_) return make(first + in_view * block_lanes, pixels_ - in_view * block_lanes);
    const int64_t tile = in_view / tile_rows;
    const int64_t row = tile / across_ * tile_rows + in_view % tile_rows, column = tile % across_ * block_lanes;
    return make(first + row * columns_ + column, row < rows_ ? columns_ - column : 0);
  }

 private:
  static constexpr int64_t tile_rows = 16;
  static Block make(int64_t begin, int64_t left) {
    return {begin, static_cast<int>(std::min<int64_t>(block_lanes, left))};
  }

  int64_t pixels_;
  bool tiled_;
  int64_t columns_, rows_, across_, per_view_, count_;
};

// The levels of a view's texture.
template <class T>
void levels_of(const TextureCall<T>& call, int64_t view, const T** out) {
  for (int32_t l = 0; l < call.request.levels; ++l) out[l] = call.levels.level[l] + call.view_offset(view, l);
}

// Calls body(channels, corners, holes) with compile-time constants: the number of channels (0 for uncommon numbers),
// the number of texels that each level contributes, and whether some of them may be missing.
template <class T, class Body>
void specialise(const Request<T>& r, Body&& body) {
  const auto with_channels = [&](auto channels) {
    if (r.filter == filter_nearest) {
      body(channels, std::integral_constant<int, 1>{}, std::true_type{});
    } else if (r.wrap == wrap_zero || r.is_cube()) {
      body(channels, std::integral_constant<int, 4>{}, std::true_type{});
    } else {
      body(channels, std::integral_constant<int, 4>{}, std::false_type{});
    }
  };
  with_constant<1, 2, 3, 4>(r.channels, with_channels);
}

// Whether lane i's lookup has a tap number `tap`.
template <class T>
bool takes_tap(const Block<T>& b, int i, int32_t tap) {
  return b.valid[i] && (b.most_taps == 1 || T(tap) < b.taps[i]);
}

// Prefetches the texels of a whole block long before they are needed (see Pipeline).
template <class T>
void prefetch_texels(const T* const* levels, const Block<T>& b, int corner_count, int64_t channels) {
  for (int which = 0; which < 1 + b.any_moves; ++which) {
    const BlockCorners<T>& c = b.corners[which];
    for (int k = 0; k < corner_count; k += 2) {  // neighbours in a row mostly share a cache line
      for (int i = 0; i < b.count; ++i) {
        // Integer arithmetic, since a level may be null and a texel missing.
        const int64_t offset = c.index[k][i] * channels * static_cast<int64_t>(sizeof(T));
        const uintptr_t address =
            reinterpret_cast<uintptr_t>(levels[b.level[which][i]]) + static_cast<uintptr_t>(offset);
        LG_PREFETCH(reinterpret_cast<const void*>(address));
      }
    }
  }
}

// Lookups read a texture in an order that defeats hardware prefetching, so they would mostly wait for memory. Each
// block is therefore staged (its texels are located and prefetched) before the previously staged block is
// processed.
template <class T>
class Pipeline {
 public:
  Pipeline() { lanes_[0].count = lanes_[1].count = 0; }

  // The block to fill next.
  Block<T>& next() { return lanes_[turn_]; }

  // Stages the block that next() returned and processes the block staged before it.
  template <class Stage, class Work>
  void push(Stage&& stage, Work&& work) {
    if (!lanes_[turn_].count) return;
    stage(lanes_[turn_]);
    finish(work);
    turn_ = 1 - turn_;
  }
  // Processes the block staged last.
  template <class Work>
  void finish(Work&& work) {
    Block<T>& staged = lanes_[1 - turn_];
    if (staged.count) work(staged);
    staged.count = 0;
  }

 private:
  Block<T> lanes_[2];
  int turn_ = 0;
};

template <class T>
void fill_row(BlockGrid::Block range, Block<T>& b) {
  b.count = range.size;
  b.in_a_row = true;
  for (int i = 0; i < range.size; ++i) b.pixel[i] = range.begin + i;
}

// Locates the texels of the first tap of a block's lookups and prefetches them.
template <class T>
void stage_block(const Request<T>& r, const T* const* levels, Block<T>& b) {
  prepare(r, b);
  place(r, 0, b);
  prefetch_texels(levels, b, r.filter == filter_nearest ? 1 : 4, r.channels);
}

// Calls body(levels, lanes) for every block of lookups, prepared and with the first tap placed.
template <class T, class Body>
void for_blocks(int32_t threads, const TextureCall<T>& call, Body&& body) {
  constexpr int64_t blocks_per_task = 64;
  const BlockGrid grid(call.image);
  parallel_for(threads, divide_up(grid.count(), blocks_per_task), [&](int64_t task, int) {
    Pipeline<T> pipeline;
    const auto work = [&](Block<T>& lanes) {
      const T* levels[max_levels];
      levels_of(call, lanes.view, levels);
      body(levels, lanes);
    };
    const int64_t end = std::min(grid.count(), (task + 1) * blocks_per_task);
    for (int64_t block = task * blocks_per_task; block < end; ++block) {
      Block<T>& lanes = pipeline.next();
      fill_row(grid[block], lanes);
      lanes.block = block;
      lanes.view = grid.view(block);
      const T* levels[max_levels];
      levels_of(call, lanes.view, levels);
      pipeline.push([&](Block<T>& staged) { stage_block(call.request, levels, staged); }, work);
    }
    pipeline.finish(work);
  });
}

}  // namespace lg::texture
