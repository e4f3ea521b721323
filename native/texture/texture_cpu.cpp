// texture and texture_cube on the CPU.
//
// Forward: blocks of lookups are placed side by side (lanes.h); texels are fetched lookup by lookup.
// Backward: a first pass over the lookups gives the gradients of coordinates, and notes for every lookup
// which bands of texels it touches. Then every band is the task of one thread, which adds what the lookups of
// its band give, in the order of the lookups. The sums hence never depend on the bands or the threads.
#include <algorithm>
#include <type_traits>

#include "lumigrad.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "texture/lanes.h"
#include "texture/mips_cpu.h"
#include "texture/pull_back.h"

namespace lg::texture {
namespace {

// The cutting of all lookups into blocks. Blocks are pieces of a row of the image, and follow one another
// down a tile of it before the next tile begins: lookups that are near in the image are mostly near in the
// texture, so a tile's texels stay in the nearest cache. Narrow images are cut without regard to rows.
class BlockGrid {
 public:
  BlockGrid(int64_t views, int64_t rows, int64_t columns)
      : pixels_(rows * columns),
        tiled_(columns >= 2 * block_lanes),
        columns_(columns),
        rows_(rows),
        across_(divide_up(columns, block_lanes)),
        per_view_(tiled_ ? across_ * divide_up(rows, tile_rows) * tile_rows : divide_up(pixels_, block_lanes)),
        count_(views * per_view_) {}

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

template <class T>
struct Call {
  Request<T> request;
  Levels<const T*> levels;  // each [texture_views, texels, channels]
  int64_t texture_views, views, rows, columns;

  int64_t lookups() const { return views * rows * columns; }
  BlockGrid blocks() const { return BlockGrid(views, rows, columns); }

  // The levels of the texture that a view sees.
  void levels_of(int64_t view, const T** out) const {
    for (int32_t l = 0; l < request.levels; ++l) {
      const int64_t offset = texture_views > 1 ? view * request.texels(l) * request.channels : 0;
      out[l] = levels.level[l] + offset;
    }
  }
};

// Calls body(channels, corners, holes) with compile-time constants: the number of channels, 0 if it is not
// one of the usual ones; the number of texels that a level contributes; and whether some may not exist.
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
  switch (r.channels) {
    case 1:
      return with_channels(std::integral_constant<int, 1>{});
    case 2:
      return with_channels(std::integral_constant<int, 2>{});
    case 3:
      return with_channels(std::integral_constant<int, 3>{});
    case 4:
      return with_channels(std::integral_constant<int, 4>{});
    default:
      return with_channels(std::integral_constant<int, 0>{});
  }
}

// Whether lane i has something to look up in tap `tap`.
template <class T>
bool takes_tap(const Lanes<T>& b, int i, int32_t tap) {
  return b.valid[i] && (b.most_taps == 1 || T(tap) < b.taps[i]);
}

inline void prefetch(uintptr_t address) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(reinterpret_cast<const void*>(address));
#else
  (void)address;
#endif
}

// Asks for the texels of a whole block long before they are needed (see Pipeline).
template <class T>
void prefetch_texels(const T* const* levels, const Lanes<T>& b, int corner_count, int64_t channels) {
  for (int which = 0; which < 1 + b.any_moves; ++which) {
    const Corners<T>& c = b.corners[which];
    for (int k = 0; k < corner_count; k += 2) {  // the texels of a row mostly share a cache line
      for (int i = 0; i < b.count; ++i) {
        // Integers: a level may be null, a texel missing.
        const int64_t offset = c.index[k][i] * channels * static_cast<int64_t>(sizeof(T));
        prefetch(reinterpret_cast<uintptr_t>(levels[b.level[which][i]]) + static_cast<uintptr_t>(offset));
      }
    }
  }
}

// Lookups wander through a texture in ways that no processor foresees, and would mostly wait for memory. So
// every block of lookups is placed, and its texels asked for, while the block before is still waiting to be
// worked on.
template <class T>
class Pipeline {
 public:
  Pipeline() { lanes_[0].count = lanes_[1].count = 0; }

  // The block to fill next.
  Lanes<T>& next() { return lanes_[turn_]; }

  // Stages what next() was filled with, and works on what was staged before.
  template <class Stage, class Work>
  void push(Stage&& stage, Work&& work) {
    if (!lanes_[turn_].count) return;
    stage(lanes_[turn_]);
    finish(work);
    turn_ = 1 - turn_;
  }
  // Works on what was staged last.
  template <class Work>
  void finish(Work&& work) {
    Lanes<T>& staged = lanes_[1 - turn_];
    if (staged.count) work(staged);
    staged.count = 0;
  }

 private:
  Lanes<T> lanes_[2];
  int turn_ = 0;
};

template <class T>
void fill_row(BlockGrid::Block range, Lanes<T>& b) {
  b.count = range.size;
  b.in_a_row = true;
  for (int i = 0; i < range.size; ++i) b.pixel[i] = range.begin + i;
}

// Places the first tap of a block's lookups and asks for its texels.
template <class T>
void stage_block(const Request<T>& r, const T* const* levels, Lanes<T>& b) {
  prepare(r, b);
  place(r, 0, b);
  prefetch_texels(levels, b, r.filter == filter_nearest ? 1 : 4, r.channels);
}

// Calls body(view, levels, lanes) for every block, its lookups prepared and their first tap placed.
template <class T, class Body>
void for_blocks(int32_t threads, const Call<T>& call, Body&& body) {
  constexpr int64_t blocks_per_task = 64;
  const BlockGrid grid = call.blocks();
  parallel_for(threads, divide_up(grid.count(), blocks_per_task), [&](int64_t task, int) {
    Pipeline<T> pipeline;
    const auto work = [&](Lanes<T>& lanes) {
      const T* levels[max_levels];
      call.levels_of(lanes.view, levels);
      body(levels, lanes);
    };
    const int64_t end = std::min(grid.count(), (task + 1) * blocks_per_task);
    for (int64_t block = task * blocks_per_task; block < end; ++block) {
      Lanes<T>& lanes = pipeline.next();
      fill_row(grid[block], lanes);
      lanes.block = block;
      lanes.view = grid.view(block);
      const T* levels[max_levels];
      call.levels_of(lanes.view, levels);
      pipeline.push([&](Lanes<T>& staged) { stage_block(call.request, levels, staged); }, work);
    }
    pipeline.finish(work);
  });
}

// ---- Forward ----------------------------------------------------------------------------------------------

template <int Corners4, bool Holes, class T>
LG_HD void add_texels(const T* LG_RESTRICT texels, const Corners<T>& c, int i, int64_t channels, T* LG_RESTRICT sum) {
  for (int k = 0; k < Corners4; ++k) {
    const int32_t index = c.index[k][i];
    if (Holes && index < 0) continue;
    const T weight = c.weight[k][i];
    const T* texel = texels + index * channels;
    for (int64_t ch = 0; ch < channels; ++ch) sum[ch] += weight * texel[ch];
  }
}

template <class T, int Channels, int CornerCount, bool Holes>
void fetch_block(const Request<T>& r, const T* const* levels, Lanes<T>& b, T* out) {
  const int64_t channels = Channels ? Channels : r.channels;
  for (int32_t tap = 0; tap < b.most_taps; ++tap) {
    if (tap > 0) place(r, tap, b);
    for (int i = 0; i < b.count; ++i) {
      T* pixel = out + b.pixel[i] * channels;
      T local[Channels ? Channels : 1] = {};
      T* sum = Channels ? local : pixel;
      if (!Channels && tap == 0) std::fill_n(pixel, channels, T(0));
      if (takes_tap(b, i, tap)) {
        add_texels<CornerCount, Holes>(levels[b.level[0][i]], b.corners[0], i, channels, sum);
        if (b.moves[i]) add_texels<CornerCount, Holes>(levels[b.level[1][i]], b.corners[1], i, channels, sum);
      }
      for (int c = 0; c < Channels; ++c) pixel[c] = tap == 0 ? local[c] : pixel[c] + local[c];
    }
  }
}

template <class T>
void forward(int32_t threads, const Call<T>& call, T* out) {
  specialise(call.request, [&](auto channels, auto corners, auto holes) {
    for_blocks(threads, call, [&](const T* const* levels, Lanes<T>& lanes) {
      fetch_block<T, channels(), corners(), holes()>(call.request, levels, lanes, out);
    });
  });
}

// ---- Backward: lookups ------------------------------------------------------------------------------------

template <int CornerCount, bool Holes, class T>
LG_HD void dot_texels(const T* LG_RESTRICT texels, const Corners<T>& c, int i, int64_t channels,
                      const T* LG_RESTRICT grad, T (*dot)[block_lanes]) {
  for (int k = 0; k < CornerCount; ++k) {
    const int32_t index = c.index[k][i];
    T sum = 0;
    if (!Holes || index >= 0) {
      const T* texel = texels + index * channels;
      for (int64_t ch = 0; ch < channels; ++ch) sum += grad[ch] * texel[ch];
    }
    dot[k][i] = sum;
  }
}

template <class T>
LG_HD void clear_dots(int i, T (*dot)[block_lanes]) {
  for (int k = 0; k < 4; ++k) dot[k][i] = 0;
}

// Gradients of what a block of lookups was given. Nearest filtering has none.
template <class T, int Channels, bool Holes>
void pull_back_block(const Request<T>& r, const T* const* levels, const T* grad_out, Lanes<T>& b,
                     const InputGradients<T>& out) {
  const int64_t channels = Channels ? Channels : r.channels;
  LookupGradients<T> gradients;
  Dots<T> dots;
  clear(gradients, b.padded);
  for (int32_t tap = 0; tap < b.most_taps; ++tap) {
    if (tap > 0) place(r, tap, b);
    for (int i = 0; i < b.count; ++i) {
      const T* grad = grad_out + b.pixel[i] * channels;
      const bool used = takes_tap(b, i, tap);
      for (int which = 0; which < 2; ++which) {
        if (used && (which == 0 || b.moves[i])) {
          dot_texels<4, Holes>(levels[b.level[which][i]], b.corners[which], i, channels, grad, dots.dot[which]);
        } else {
          clear_dots(i, dots.dot[which]);
        }
      }
    }
    for (int i = b.count; i < b.padded; ++i) {
      clear_dots(i, dots.dot[0]);
      clear_dots(i, dots.dot[1]);
    }
    add_tap_gradients(r, tap, b, dots, gradients);
  }
  store_gradients(r, b, gradients, out);
}

template <class T>
void zero_gradients(const Request<T>& r, int64_t pixels, const InputGradients<T>& out) {
  const int64_t axes = r.is_cube() ? 3 : 2;
  if (out.coord) std::fill_n(out.coord, pixels * axes, T(0));
  if (out.coord_d) std::fill_n(out.coord_d, pixels * axes * 2, T(0));
  if (out.bias) std::fill_n(out.bias, pixels, T(0));
}

// ---- Backward: texels -------------------------------------------------------------------------------------

// The cutting of a texture into bands: in every level, 2^shift consecutive texels belong to the same band.
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

// Which bands a lookup touches, as bits, and those of its whole block together.
struct BandMasks {
  Buffer<uint32_t> lookup, block;
};

template <class T>
void add_masks(const Bands& bands, const Lanes<T>& b, int corner_count, int which, uint32_t* masks) {
  const Corners<T>& c = b.corners[which];
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
void note_bands(const Request<T>& r, const Bands& bands, Lanes<T>& b, BandMasks& out) {
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

// The texels of one band: gradients of each level, and the range of texels that may be touched.
template <class T>
struct BandTarget {
  T* level[max_levels];  // null: not wanted
  uint32_t first[max_levels], size[max_levels];
};

template <class T>
BandTarget<T> make_target(const Call<T>& call, const Levels<T*>& grad_levels, const Bands& bands, int64_t view,
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
LG_HD void scatter_texels(const BandTarget<T>& target, const Corners<T>& c, int32_t level, int i, int64_t channels,
                          const T* LG_RESTRICT grad) {
  const uint32_t first = target.first[level], size = target.size[level];
  T* texels = target.level[level];
  for (int k = 0; k < CornerCount; ++k) {
    const int32_t index = c.index[k][i];
    if (static_cast<uint32_t>(index) - first >= size) continue;  // another band's, or none at all
    const T weight = c.weight[k][i];
    T* LG_RESTRICT texel = texels + index * channels;
    for (int64_t ch = 0; ch < channels; ++ch) texel[ch] += weight * grad[ch];
  }
}

template <class T, int Channels, int CornerCount>
void scatter_block(const Request<T>& r, const BandTarget<T>& target, const T* grad_out, Lanes<T>& b) {
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
bool is_row(const Lanes<T>& b) {
  int64_t gaps = 0;
  for (int i = 1; i < b.count; ++i) gaps |= b.pixel[i] - b.pixel[i - 1] - 1;
  return gaps == 0;
}

// Goes through the lookups of a band in order, in full blocks.
template <class T, class Stage, class Work>
void for_band(const Call<T>& call, const Bands& bands, const BandMasks& masks, int64_t first_view, int64_t last_view,
              int32_t band, Stage&& stage, Work&& work) {
  const BlockGrid grid = call.blocks();
  const uint32_t bit = 1u << band;
  // With several taps the order of sums goes by blocks, and blocks must not depend on the bands.
  const bool keep_blocks = call.request.anisotropy > 1;
  Pipeline<T> pipeline;
  const auto flush = [&] {
    Lanes<T>& lanes = pipeline.next();
    lanes.in_a_row = is_row(lanes);
    pipeline.push(stage, work);
  };
  for (int64_t block = first_view * grid.per_view(); block < last_view * grid.per_view(); ++block) {
    if (bands.count > 1 && !(masks.block[block] & bit)) continue;
    const BlockGrid::Block range = grid[block];
    Lanes<T>* lanes = &pipeline.next();
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
void scatter(int32_t threads, const Call<T>& call, const Bands& bands, const BandMasks& masks, const T* grad_out,
             const Levels<T*>& grad_levels) {
  const Request<T>& r = call.request;
  specialise(r, [&](auto channels, auto corners, auto) {
    parallel_for(threads, call.texture_views * bands.count, [&](int64_t task, int) {
      const int64_t view = task / bands.count;
      const int32_t band = static_cast<int32_t>(task % bands.count);
      const BandTarget<T> target = make_target(call, grad_levels, bands, view, band);
      const bool shared = call.texture_views == 1;
      for_band(
          call, bands, masks, shared ? 0 : view, shared ? call.views : view + 1, band,
          [&](Lanes<T>& lanes) { stage_block(r, target.level, lanes); },
          [&](Lanes<T>& lanes) { scatter_block<T, channels(), corners()>(r, target, grad_out, lanes); });
    });
  });
}

// ---- Backward ---------------------------------------------------------------------------------------------

template <class T>
void backward(int32_t threads, const Call<T>& call, const T* grad_out, bool want_levels, const Levels<T*>& grad_levels,
              const InputGradients<T>& inputs) {
  const Request<T>& r = call.request;
  const bool moves = r.filter != filter_nearest && (inputs.coord || inputs.coord_d || inputs.bias);
  if (!moves) zero_gradients(r, call.lookups(), inputs);
  const bool alone = threads <= 1 || call.lookups() < 4096;
  const Bands bands(r,
                    alone ? 1 : static_cast<int32_t>(divide_up(4 * threads, std::max<int64_t>(1, call.texture_views))));
  BandMasks masks;
  const bool noting = want_levels && bands.count > 1;
  if (noting) {
    masks.lookup = Buffer<uint32_t>(static_cast<size_t>(call.lookups()));
    masks.block = Buffer<uint32_t>(static_cast<size_t>(call.blocks().count()));
    std::fill_n(masks.block.data(), masks.block.size(), 0u);
  }
  if (moves || noting) {
    specialise(r, [&](auto channels, auto, auto holes) {
      for_blocks(threads, call, [&](const T* const* levels, Lanes<T>& lanes) {
        if (moves) pull_back_block<T, channels(), holes()>(r, levels, grad_out, lanes, inputs);
        if (noting) note_bands(r, bands, lanes, masks);
      });
    });
  }
  if (want_levels) scatter(threads, call, bands, masks, grad_out, grad_levels);
}

// The size of a texture, and how many levels it has.
LevelSize texture_size(int64_t texture_views, int64_t height, int64_t width, int64_t channels, int32_t wrap) {
  return {(wrap == wrap_cube ? 6 : 1) * texture_views, height, width, channels};
}
int32_t level_count(int64_t mip_count, int64_t built) {
  const int64_t count = 1 + std::max(mip_count, built);
  if (mip_count < 0 || built < 0 || count > max_levels) {
    throw InvalidArgument("a texture has 1 to %d levels, got %lld", max_levels, static_cast<long long>(count));
  }
  return static_cast<int32_t>(count);
}

template <class T>
Call<T> make_call(const Levels<const T*>& levels, int32_t count, int64_t texture_views, const LevelSize& size,
                  const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows,
                  int64_t columns, int32_t filter, int32_t wrap, int32_t anisotropy) {
  Call<T> call;
  call.request = {static_cast<const T*>(coord),
                  static_cast<const T*>(coord_d),
                  static_cast<const T*>(bias),
                  static_cast<int32_t>(size.height),
                  static_cast<int32_t>(size.width),
                  static_cast<int32_t>(size.channels),
                  count,
                  filter,
                  wrap,
                  anisotropy};
  call.levels = levels;
  call.texture_views = texture_views;
  call.views = views;
  call.rows = rows;
  call.columns = columns;
  return call;
}

}  // namespace
}  // namespace lg::texture

int32_t lg_texture_forward(lg_call* call, int32_t dtype, const void* tex, const void* const* mips, int64_t mip_count,
                           int64_t built, int64_t texture_views, int64_t height, int64_t width, int64_t channels,
                           const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows,
                           int64_t columns, int32_t filter, int32_t wrap, int32_t anisotropy, void* out,
                           void* pyramid) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const int32_t count = lg::texture::level_count(mip_count, built);
    const lg::texture::LevelSize size = lg::texture::texture_size(texture_views, height, width, channels, wrap);
    const auto* base = static_cast<const T*>(tex);
    auto* packed = static_cast<T*>(pyramid);
    lg::texture::build_mips(call->threads, size, built, base, packed);
    const auto levels = lg::texture::levels_of<const T>(base, mips, mip_count, built, packed, size);
    const auto lookup = lg::texture::make_call<T>(levels, count, texture_views, size, coord, coord_d, bias, views, rows,
                                                  columns, filter, wrap, anisotropy);
    lg::texture::forward<T>(call->threads, lookup, static_cast<T*>(out));
  });
}

int32_t lg_texture_backward(lg_call* call, int32_t dtype, const void* tex, const void* const* mips, int64_t mip_count,
                            int64_t built, int64_t texture_views, int64_t height, int64_t width, int64_t channels,
                            const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows,
                            int64_t columns, int32_t filter, int32_t wrap, int32_t anisotropy, const void* pyramid,
                            const void* grad_out, void* grad_tex, void* grad_coord, void* grad_coord_d, void* grad_bias,
                            void* const* grad_mips) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const int32_t count = lg::texture::level_count(mip_count, built);
    const lg::texture::LevelSize size = lg::texture::texture_size(texture_views, height, width, channels, wrap);
    const auto levels = lg::texture::levels_of<const T>(static_cast<const T*>(tex), mips, mip_count, built,
                                                        static_cast<const T*>(pyramid), size);
    const auto lookup = lg::texture::make_call<T>(levels, count, texture_views, size, coord, coord_d, bias, views, rows,
                                                  columns, filter, wrap, anisotropy);
    const lg::texture::InputGradients<T> inputs = {static_cast<T*>(grad_coord), static_cast<T*>(grad_coord_d),
                                                   static_cast<T*>(grad_bias)};
    auto* base = static_cast<T*>(grad_tex);
    lg::Buffer<T> sums;  // gradients of levels that the forward pass has built go on to the base
    if (base && built) sums = lg::Buffer<T>(static_cast<size_t>(lg::texture::PackedLevels(size, built).first[built]));
    const auto grad_levels = lg::texture::levels_of(base, grad_mips, mip_count, built, sums.data(), size);
    lg::texture::backward<T>(call->threads, lookup, static_cast<const T*>(grad_out), base || grad_mips, grad_levels,
                             inputs);
    if (base) lg::texture::fold_mips(call->threads, size, built, sums.data(), true, base);
  });
}
