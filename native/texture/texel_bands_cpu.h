// The gradient of texels on the CPU. Each band of texels is one task, which adds the contributions of the lookups that
// touch the band, in the order of the lookups. The sums therefore depend neither on the bands nor on the number of
// threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/config.h"
#include "runtime/memory.h"
#include "runtime/threads.h"
#include "texture/blocks_cpu.h"
#include "texture/lookups.h"
#include "texture/place.h"

namespace lg::texture {

// The division of a texture into bands. In every level, 2^shift consecutive texels belong to the same band.
struct Bands {
  int32_t count;  // 1 to 32
  int32_t shift[max_levels];

  template <class T>
  Bands(const Request<T>& r, int32_t wanted) : count(1) {
    while (count < wanted && count < 32) count *= 2;
    for (int32_t l = 0; l < max_levels; ++l) {
      shift[l] = 0;
      while (l < r.levels && ((r.texels(l) - 1) >> shift[l]) >= count) ++shift[l];
    }
  }
};

// The bands that each lookup touches and those that each block touches, as bits.
struct BandMasks {
  Buffer<uint32_t> lookup, block;
};

template <class T>
void add_masks(const Bands& bands, const Block<T>& b, int corner_count, int which, uint32_t* masks) {
  const BlockCorners<T>& c = b.corners[which];
  int32_t shift[block_lanes];
  for (int i = 0; i < b.padded; ++i) shift[i] = bands.shift[b.level[which][i]];
  for (int k = 0; k < corner_count; ++k) {
    LG_VECTORIZE
    for (int i = 0; i < b.padded; ++i) {
      const int32_t index = c.index[k][i];
      const bool counts = (index >= 0) & (b.valid[i] != 0) & ((which == 0) | (b.moves[i] != 0));
      masks[i] |= counts ? 1u << ((index >> shift[i]) & 31) : 0u;
    }
  }
}

template <class T>
void note_bands(const Request<T>& r, const Bands& bands, Block<T>& b, BandMasks& out) {
  uint32_t masks[block_lanes] = {};
  for (int32_t tap = 0; tap < b.most_taps; ++tap) {
    if (b.most_taps > 1) place(r, tap, b);
    for (int which = 0; which < 1 + b.any_moves; ++which) {
      add_masks(bands, b, r.filter == filter_nearest ? 1 : 4, which, masks);
    }
  }
  uint32_t all = 0;
  for (int i = 0; i < b.count; ++i) {
    out.lookup[b.pixel[i]] = masks[i];
    all |= masks[i];
  }
  out.block[b.block] = all;
}

// The texels of one band: the gradients of each level, and the range of texels that may be written.
template <class T>
struct BandTarget {
  T* level[max_levels];  // null: not wanted
  uint32_t first[max_levels], size[max_levels];
};

template <class T>
BandTarget<T> make_target(const TextureCall<T>& call, const Levels<T*>& grad_levels, const Bands& bands, int64_t view,
                          int32_t band) {
  BandTarget<T> target;
  for (int32_t l = 0; l < call.request.levels; ++l) {
    const int64_t texels = call.request.texels(l), step = int64_t{1} << bands.shift[l];
    const int64_t first = std::min(texels, band * step), last = std::min(texels, (band + 1) * step);
    target.first[l] = static_cast<uint32_t>(first);
    target.size[l] = static_cast<uint32_t>(last - first);
    target.level[l] = grad_levels.level[l];
    if (!target.level[l]) {
      target.size[l] = 0;
      continue;
    }
    target.level[l] += view * texels * call.request.channels;
    std::fill_n(target.level[l] + first * call.request.channels, (last - first) * call.request.channels, T(0));
  }
  return target;
}

template <int CornerCount, class T>
LG_HD void scatter_texels(const BandTarget<T>& target, const BlockCorners<T>& c, int32_t level, int i, int64_t channels,
                          const T* LG_RESTRICT grad) {
  const uint32_t first = target.first[level], size = target.size[level];
  T* texels = target.level[level];
  for (int k = 0; k < CornerCount; ++k) {
    const int32_t index = c.index[k][i];
    if (static_cast<uint32_t>(index) - first >= size) continue;  // of another band, or missing
    const T weight = c.weight[k][i];
    T* LG_RESTRICT texel = texels + index * channels;
    for (int64_t ch = 0; ch < channels; ++ch) texel[ch] += weight * grad[ch];
  }
}

template <class T, int Channels, int CornerCount>
void scatter_block(const Request<T>& r, const BandTarget<T>& target, const T* grad_out, Block<T>& b) {
  const int64_t channels = Channels ? Channels : r.channels;
  for (int32_t tap = 0; tap < b.most_taps; ++tap) {
    if (tap > 0) place(r, tap, b);
    for (int i = 0; i < b.count; ++i) {
      if (!takes_tap(b, i, tap)) continue;
      const T* grad = grad_out + b.pixel[i] * channels;
      scatter_texels<CornerCount>(target, b.corners[0], b.level[0][i], i, channels, grad);
      if (b.moves[i]) scatter_texels<CornerCount>(target, b.corners[1], b.level[1][i], i, channels, grad);
    }
  }
}

template <class T>
bool is_row(const Block<T>& b) {
  int64_t gaps = 0;
  for (int i = 1; i < b.count; ++i) gaps |= b.pixel[i] - b.pixel[i - 1] - 1;
  return gaps == 0;
}

// Processes the lookups that touch a band in order, in full blocks.
template <class T, class Stage, class Work>
void for_band(const TextureCall<T>& call, const Bands& bands, const BandMasks& masks, int64_t first_view,
              int64_t last_view, int32_t band, Stage&& stage, Work&& work) {
  const BlockGrid grid(call.image);
  const uint32_t bit = 1u << band;
  // With several taps, sums are ordered by block, so blocks must not depend on the bands.
  const bool keep_blocks = call.request.anisotropy > 1;
  Pipeline<T> pipeline;
  const auto flush = [&] {
    Block<T>& lanes = pipeline.next();
    lanes.in_a_row = is_row(lanes);
    pipeline.push(stage, work);
  };
  for (int64_t block = first_view * grid.per_view(); block < last_view * grid.per_view(); ++block) {
    if (bands.count > 1 && !(masks.block[block] & bit)) continue;
    const BlockGrid::Block range = grid[block];
    Block<T>* lanes = &pipeline.next();
    for (int64_t pixel = range.begin; pixel < range.begin + range.size; ++pixel) {
      lanes->pixel[lanes->count] = pixel;
      lanes->count += bands.count == 1 || (masks.lookup[pixel] & bit);
      if (lanes->count == block_lanes) {
        flush();
        lanes = &pipeline.next();
      }
    }
    if (keep_blocks) flush();
  }
  flush();
  pipeline.finish(work);
}

template <class T>
void scatter(int32_t threads, const TextureCall<T>& call, const Bands& bands, const BandMasks& masks, const T* grad_out,
             const Levels<T*>& grad_levels) {
  const Request<T>& r = call.request;
  specialise(r, [&](auto channels, auto corners, auto) {
    parallel_for(threads, call.texture_views * bands.count, [&](int64_t task, int) {
      const int64_t view = task / bands.count;
      const int32_t band = static_cast<int32_t>(task % bands.count);
      const BandTarget<T> target = make_target(call, grad_levels, bands, view, band);
      const bool shared = call.texture_views == 1;
      for_band(
          call, bands, masks, shared ? 0 : view, shared ? call.image.views : view + 1, band,
          [&](Block<T>& lanes) { stage_block(r, target.level, lanes); },
          [&](Block<T>& lanes) { scatter_block<T, channels(), corners()>(r, target, grad_out, lanes); });
    });
  });
}

}  // namespace lg::texture
