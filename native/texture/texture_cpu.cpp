// texture and texture_cube on the CPU.
//
// Forward: the texels of a block of lookups are located together (lookups.h) and fetched one lookup at a time.
// Backward: a first pass over the lookups computes the gradients of coordinates and records the bands of texels that
// each lookup touches. A second pass sums the gradients of texels, band by band (texel_bands_cpu.h).
#include <algorithm>

#include "lumigrad.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "texture/blocks_cpu.h"
#include "texture/lookups.h"
#include "texture/mips_cpu.h"
#include "texture/place.h"
#include "texture/pull_back.h"
#include "texture/texel_bands_cpu.h"

namespace lg::texture {
namespace {

// ---- Forward ----------------------------------------------------------------------------------------------

template <int Corners4, bool Holes, class T>
LG_HD void add_texels(const T* LG_RESTRICT texels, const BlockCorners<T>& c, int i, int64_t channels,
                      T* LG_RESTRICT sum) {
  for (int k = 0; k < Corners4; ++k) {
    const int32_t index = c.index[k][i];
    if (Holes && index < 0) continue;
    const T weight = c.weight[k][i];
    const T* texel = texels + index * channels;
    for (int64_t ch = 0; ch < channels; ++ch) sum[ch] += weight * texel[ch];
  }
}

template <class T, int Channels, int CornerCount, bool Holes>
void fetch_block(const Request<T>& r, const T* const* levels, Block<T>& b, T* out) {
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
void forward(int32_t threads, const TextureCall<T>& call, T* out) {
  specialise(call.request, [&](auto channels, auto corners, auto holes) {
    for_blocks(threads, call, [&](const T* const* levels, Block<T>& lanes) {
      fetch_block<T, channels(), corners(), holes()>(call.request, levels, lanes, out);
    });
  });
}

// ---- Backward: lookups ------------------------------------------------------------------------------------

template <int CornerCount, bool Holes, class T>
LG_HD void dot_texels(const T* LG_RESTRICT texels, const BlockCorners<T>& c, int i, int64_t channels,
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

// The gradients of a block's coordinates, their derivatives and the bias. Nearest filtering has none.
template <class T, int Channels, bool Holes>
void pull_back_block(const Request<T>& r, const T* const* levels, const T* grad_out, Block<T>& b,
                     const InputGradients<T>& out) {
  const int64_t channels = Channels ? Channels : r.channels;
  LookupGradients<T, block_lanes> gradients;
  Dots<T, block_lanes> dots;
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

// ---- Backward ---------------------------------------------------------------------------------------------

template <class T>
void backward(int32_t threads, const TextureCall<T>& call, const T* grad_out, bool want_levels,
              const Levels<T*>& grad_levels, const InputGradients<T>& inputs) {
  const Request<T>& r = call.request;
  const bool moves = r.filter != filter_nearest && (inputs.coord || inputs.coord_d || inputs.bias);
  if (!moves) zero_gradients(r, call.image.pixels(), inputs);
  const bool alone = threads <= 1 || call.image.pixels() < 4096;
  const Bands bands(r,
                    alone ? 1 : static_cast<int32_t>(divide_up(4 * threads, std::max<int64_t>(1, call.texture_views))));
  BandMasks masks;
  const bool noting = want_levels && bands.count > 1;
  if (noting) {
    masks.lookup = Buffer<uint32_t>(static_cast<size_t>(call.image.pixels()));
    masks.block = Buffer<uint32_t>(static_cast<size_t>(BlockGrid(call.image).count()));
    std::fill_n(masks.block.data(), masks.block.size(), 0u);
  }
  if (moves || noting) {
    specialise(r, [&](auto channels, auto, auto holes) {
      for_blocks(threads, call, [&](const T* const* levels, Block<T>& lanes) {
        if (moves) pull_back_block<T, channels(), holes()>(r, levels, grad_out, lanes, inputs);
        if (noting) note_bands(r, bands, lanes, masks);
      });
    });
  }
  if (want_levels) scatter(threads, call, bands, masks, grad_out, grad_levels);
}

// The number of levels of a texture.
int32_t checked_level_count(int64_t mip_count, int64_t built) {
  const int32_t count = level_count(mip_count, built);
  if (count == 0) {
    throw InvalidArgument("a texture has 1 to %d levels, got %lld", static_cast<int>(max_levels),
                          static_cast<long long>(1 + std::max(mip_count, built)));
  }
  return count;
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
    const int32_t count = lg::texture::checked_level_count(mip_count, built);
    const lg::texture::LevelSize size = lg::texture::texture_size(texture_views, height, width, channels, wrap);
    const auto* base = static_cast<const T*>(tex);
    auto* packed = static_cast<T*>(pyramid);
    lg::texture::build_mips(call->threads, size, built, base, packed);
    const auto levels = lg::texture::levels_of<const T>(base, mips, mip_count, built, packed, size);
    const auto lookup = lg::texture::make_texture_call<T>(levels, count, texture_views, size, coord, coord_d, bias,
                                                          views, rows, columns, filter, wrap, anisotropy);
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
    const int32_t count = lg::texture::checked_level_count(mip_count, built);
    const lg::texture::LevelSize size = lg::texture::texture_size(texture_views, height, width, channels, wrap);
    const auto levels = lg::texture::levels_of<const T>(static_cast<const T*>(tex), mips, mip_count, built,
                                                        static_cast<const T*>(pyramid), size);
    const auto lookup = lg::texture::make_texture_call<T>(levels, count, texture_views, size, coord, coord_d, bias,
                                                          views, rows, columns, filter, wrap, anisotropy);
    const auto inputs = lg::texture::make_input_gradients<T>(grad_coord, grad_coord_d, grad_bias);
    auto* base = static_cast<T*>(grad_tex);
    lg::Buffer<T> sums;  // gradients of the levels built by the forward pass are folded into the base
    if (base && built) sums = lg::Buffer<T>(static_cast<size_t>(lg::texture::PackedLevels(size, built).first[built]));
    const auto grad_levels = lg::texture::levels_of(base, grad_mips, mip_count, built, sums.data(), size);
    lg::texture::backward<T>(call->threads, lookup, static_cast<const T*>(grad_out), base || grad_mips, grad_levels,
                             inputs);
    if (base) lg::texture::fold_mips(call->threads, size, built, sums.data(), true, base);
  });
}
