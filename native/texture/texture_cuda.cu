// texture and texture_cube on CUDA: a thread per lookup, with the arithmetic of lookups.h for a single lane.
#include <cstdint>

#include "parallel/gradients_cuda.h"
#include "parallel/with_constant.h"
#include "runtime/cuda/launch.h"
#include "texture/lookups.h"
#include "texture/mips_cuda.h"
#include "texture/place.h"
#include "texture/prepare.h"
#include "texture/pull_back.h"

namespace lg::texture {
namespace {

template <class T>
using Lookup = Lookups<T, 1>;

template <class T>
struct Call : TextureCall<T> {
  bool aligned;  // groups of four channels can be read at once

  LG_DEVICE const T* texel(int64_t view, int32_t level, int32_t index) const {
    return this->levels.level[level] + this->view_offset(view, level) +
           static_cast<int64_t>(index) * this->request.channels;
  }
  LG_DEVICE int corners() const { return this->request.filter == filter_nearest ? 1 : 4; }
};

// The levels built below the base, stored consecutively, or their gradients.
template <class T>
struct Mips {
  LevelSize size;  // of the base
  int64_t built;
  T* packed;

  int64_t values() const { return PackedLevels(size, built).first[built]; }
};

template <class T>
LG_DEVICE void read_lookup(const Call<T>& call, int64_t pixel, Lookup<T>& b) {
  b.pixel[0] = pixel;
  b.in_a_row = true;
  prepare(call.request, b);
}

// Whether the lookup has a tap number `tap` at the finer (0) or coarser (1) level.
template <class T>
LG_DEVICE bool takes(const Lookup<T>& b, int32_t tap, int which) {
  return b.valid[0] && tap < b.most_taps && (which == 0 || b.moves[0]);
}

// Calls body(view, pixel) for this thread's pixel of every view.
template <class T, class Body>
LG_DEVICE void for_lookups(const Call<T>& call, Body&& body) {
  const PixelPlace place = pixel_place(call.image);
  if (!place.inside) return;
  for (int64_t view = blockIdx.z; view < call.image.views; view += gridDim.z) {
    body(view, (view * call.image.height + place.row) * call.image.width + place.column);
  }
}

// ---- Forward -----------------------------------------------------------------------------------------------

struct alignas(16) FourFloats {
  float value[4];
};

// Loads up to N channels of a texel.
template <int N>
LG_DEVICE void load_channels(const float* texel, int count, bool aligned, float (&out)[N]) {
  if (N == 4 && aligned) {
    const FourFloats four = *reinterpret_cast<const FourFloats*>(texel);
#pragma unroll
    for (int c = 0; c < N; ++c) out[c] = four.value[c];
    return;
  }
#pragma unroll
  for (int c = 0; c < N; ++c) out[c] = c < count ? texel[c] : 0.0f;
}
template <int N>
LG_DEVICE void load_channels(const double* texel, int count, bool, double (&out)[N]) {
#pragma unroll
  for (int c = 0; c < N; ++c) out[c] = c < count ? texel[c] : 0.0;
}

// Adds the N channels from `first` on of all texels of the current tap.
template <int N, class T>
LG_DEVICE void add_texels(const Call<T>& call, int64_t view, const Lookup<T>& b, int32_t tap, int first, T (&sum)[N]) {
  const int left = call.request.channels - first, count = left < N ? left : N;
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    if (!takes(b, tap, which)) continue;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int32_t index = b.corners[which].index[k][0];
      if (k >= call.corners() || index < 0) continue;
      T texel[N];
      load_channels(call.texel(view, b.level[which][0], index) + first, count, call.aligned, texel);
#pragma unroll
      for (int c = 0; c < N; ++c) sum[c] += b.corners[which].weight[k][0] * texel[c];
    }
  }
}

// Channels: the number of channels if known at compile time, else 0.
template <class T, int Channels>
__global__ void __launch_bounds__(128) forward_lookups(const __grid_constant__ Call<T> call, T* out) {
  for_lookups(call, [&](int64_t view, int64_t pixel) {
    Lookup<T> b;
    read_lookup(call, pixel, b);
    T* target = out + pixel * call.request.channels;
    constexpr int group = Channels ? Channels : 4;
    [[maybe_unused]] T sum[group] = {};
    for (int32_t tap = 0; tap < b.most_taps; ++tap) {
      place(call.request, tap, b);
      if constexpr (Channels != 0) {
        add_texels(call, view, b, tap, 0, sum);
      } else {
        for (int first = 0; first < call.request.channels; first += group) {
          T part[group] = {};
          add_texels(call, view, b, tap, first, part);
          for (int c = 0; c < group && first + c < call.request.channels; ++c) {
            target[first + c] = tap == 0 ? part[c] : target[first + c] + part[c];
          }
        }
      }
    }
    if constexpr (Channels != 0) {
#pragma unroll
      for (int c = 0; c < Channels; ++c) target[c] = sum[c];
    }
  });
}

template <class T>
struct Forward {
  Call<T> call;
  T* out;
  Mips<T> mips;

  void plan(Workspace&) {}
  void run(Queue& queue) {
    build_mips(queue, mips.size, mips.built, call.levels.level[0], mips.packed);
    const dim3 grid = image_grid(call.image), block = image_block();
    with_constant<1, 3, 4>(call.request.channels, [&](auto channels) {
      queue.launch(forward_lookups<T, decltype(channels)::value>, grid, block, call, out);
    });
  }
};

// ---- Backward: lookups -------------------------------------------------------------------------------------

// The products of the output gradient with the texels of one level; zero where there is none.
template <class T>
LG_DEVICE void dot_texels(const Call<T>& call, int64_t view, const Lookup<T>& b, int which, bool used, const T* grad,
                          Dots<T, 1>& dots) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int32_t index = used ? b.corners[which].index[k][0] : -1;
    T sum = 0;
    if (index >= 0) {
      const T* texel = call.texel(view, b.level[which][0], index);
      for (int c = 0; c < call.request.channels; ++c) sum += grad[c] * texel[c];
    }
    dots.dot[which][k][0] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(128) pull_back_lookups(const __grid_constant__ Call<T> call, const T* grad_out,
                                                         const __grid_constant__ InputGradients<T> out) {
  for_lookups(call, [&](int64_t view, int64_t pixel) {
    Lookup<T> b;
    read_lookup(call, pixel, b);
    LookupGradients<T, 1> gradients;
    Dots<T, 1> dots;
    clear(gradients, 1);
    const T* grad = grad_out + pixel * call.request.channels;
    for (int32_t tap = 0; tap < b.most_taps; ++tap) {
      place(call.request, tap, b);
      dot_texels(call, view, b, 0, takes(b, tap, 0), grad, dots);
      dot_texels(call, view, b, 1, takes(b, tap, 1), grad, dots);
      add_tap_gradients(call.request, tap, b, dots, gradients);
    }
    store_gradients(call.request, b, gradients, out);
  });
}

// ---- Backward: texels --------------------------------------------------------------------------------------

template <class T>
struct TexelGradients {
  Levels<T*> levels;               // null where not wanted
  int64_t first_slot[max_levels];  // of each level, for sums
};

constexpr int channel_group = 4;

// Adds the contributions of a warp's lanes to one corner's texels; those to the same texel are added together first.
// Called by all lanes.
template <class T>
LG_DEVICE void scatter_corner(const Call<T>& call, int64_t view, const TexelGradients<T>& out,
                              const GradientSum<T>& sum, int32_t level, int32_t index, T weight, const T* grad) {
  const bool wanted = index >= 0 && out.levels.level[level];
  const int64_t texel = wanted ? static_cast<int64_t>(level) << 32 | index : -1;
  if (!warp_any(wanted)) return;
  const uint32_t peers = warp_match(texel);
  const int64_t place =
      wanted ? call.view_offset(view, level) + static_cast<int64_t>(index) * call.request.channels : 0;
  for (int first = 0; first < call.request.channels; first += channel_group) {
    T value[channel_group];
#pragma unroll
    for (int c = 0; c < channel_group; ++c) {
      value[c] = wanted && first + c < call.request.channels ? weight * grad[first + c] : T(0);
    }
    add_up_peers(peers, value);
    if (!wanted || !is_lowest(peers)) continue;
    for (int c = 0; c < channel_group && first + c < call.request.channels; ++c) {
      const int64_t i = place + first + c;
      sum.add(out.levels.level[level] + i, out.first_slot[level] + i, value[c]);
    }
  }
}

// One of the eight texels of a lookup, selected by comparisons because indexed arrays do not stay in registers.
template <class T>
struct CornerTexel {
  int32_t level, index;
  T weight;

  LG_DEVICE CornerTexel(const Lookup<T>& b, int which, int corner) {
    level = which == 0 ? b.level[0][0] : b.level[1][0];
    index = -1;
    weight = 0;
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const int32_t of_k = b.corners[k / 4].index[k % 4][0];
      const T weight_of_k = b.corners[k / 4].weight[k % 4][0];
      index = k == 4 * which + corner ? of_k : index;
      weight = k == 4 * which + corner ? weight_of_k : weight;
    }
  }
};

template <class T>
__global__ void __launch_bounds__(128)
    scatter_texels(const __grid_constant__ Call<T> call, const T* grad_out,
                   const __grid_constant__ TexelGradients<T> out, const __grid_constant__ GradientSum<T> sum) {
  const PixelPlace here = pixel_place(call.image);
  if (!warp_any(here.inside)) return;
  for (int64_t view = blockIdx.z; view < call.image.views; view += gridDim.z) {
    const int64_t line = (view * call.image.height + (here.inside ? here.row : 0)) * call.image.width;
    const int64_t pixel = line + (here.inside ? here.column : 0);
    Lookup<T> b;
    read_lookup(call, pixel, b);
    const T* grad = grad_out + pixel * call.request.channels;
    for (int32_t tap = 0; warp_any(here.inside && tap < b.most_taps); ++tap) {
      place(call.request, tap, b);
      for (int which = 0; which < 2; ++which) {
        const bool used = here.inside && takes(b, tap, which);
        if (!warp_any(used)) continue;
        for (int k = 0; k < call.corners(); ++k) {
          const CornerTexel<T> texel(b, which, k);
          scatter_corner(call, view, out, sum, texel.level, used ? texel.index : -1, texel.weight, grad);
        }
      }
    }
  }
}

// The gradients of the levels built by the forward pass are folded into the base.
template <class T>
struct Backward {
  Call<T> call;
  const T* grad_out;
  bool want_levels;
  TexelGradients<T> texels;
  Mips<T> mips;
  InputGradients<T> inputs;
  GradientSums<T> sums;

  int64_t values(int32_t level) const {
    return call.texture_views * call.request.texels(level) * call.request.channels;
  }

  void plan(Workspace& workspace) {
    if (want_levels) sums.plan(workspace);
    if (mips.built) mips.packed = workspace.take<T>(mips.values());
  }

  void run(Queue& queue) {
    const dim3 grid = image_grid(call.image), block = image_block();
    const bool moves = call.request.filter != filter_nearest;
    if (!moves) {
      clear_inputs(queue);
    } else if (inputs.coord || inputs.coord_d || inputs.bias) {
      queue.launch(pull_back_lookups<T>, grid, block, call, grad_out, inputs);
    }
    if (!want_levels) return;
    const PackedLevels at(mips.size, mips.built);
    for (int64_t l = 0; l < mips.built; ++l) texels.levels.level[l + 1] = mips.packed + at.first[l];
    for (int32_t l = 0; l < call.request.levels; ++l) {
      if (texels.levels.level[l])
        queue.fill_bytes(texels.levels.level[l], 0, values(l) * static_cast<int64_t>(sizeof(T)));
    }
    sums.run(queue, [&](const GradientSum<T>& sum) {
      queue.launch(scatter_texels<T>, grid, block, call, grad_out, texels, sum);
    });
    for (int32_t l = 0; l < call.request.levels; ++l) {
      if (texels.levels.level[l]) sums.finish(queue, texels.first_slot[l], values(l), texels.levels.level[l]);
    }
    fold_mips(queue, mips.size, mips.built, mips.packed, true, texels.levels.level[0]);
  }

 private:
  void clear_inputs(Queue& queue) const {
    const int64_t lookups = call.image.views * call.image.height * call.image.width;
    const int64_t bytes = lookups * static_cast<int64_t>(sizeof(T)), axes = call.request.is_cube() ? 3 : 2;
    if (inputs.coord) queue.fill_bytes(inputs.coord, 0, bytes * axes);
    if (inputs.coord_d) queue.fill_bytes(inputs.coord_d, 0, bytes * axes * 2);
    if (inputs.bias) queue.fill_bytes(inputs.bias, 0, bytes);
  }
};

// ---- Calls -------------------------------------------------------------------------------------------------

template <class T>
Call<T> make_call(const TextureCall<T>& texture) {
  bool aligned = texture.request.channels % 4 == 0;
  for (int32_t l = 0; l < texture.request.levels; ++l) {
    aligned = aligned && reinterpret_cast<uintptr_t>(texture.levels.level[l]) % 16 == 0;
  }
  return {texture, aligned};
}

int32_t reject_levels(int64_t mip_count, int64_t built) {
  return reject("a texture has 1 to %d levels, got %lld", static_cast<int>(max_levels),
                static_cast<long long>(1 + std::max(mip_count, built)));
}

}  // namespace
}  // namespace lg::texture

int32_t lg_texture_forward(lg_call* call, int32_t dtype, const void* tex, const void* const* mips, int64_t mip_count,
                           int64_t built, int64_t texture_views, int64_t height, int64_t width, int64_t channels,
                           const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows,
                           int64_t columns, int32_t filter, int32_t wrap, int32_t anisotropy, void* out,
                           void* pyramid) {
  const int32_t count = lg::texture::level_count(mip_count, built);
  if (count == 0) return lg::texture::reject_levels(mip_count, built);
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::texture::LevelSize size = lg::texture::texture_size(texture_views, height, width, channels, wrap);
    auto* packed = static_cast<T*>(pyramid);
    const auto levels =
        lg::texture::levels_of<const T>(static_cast<const T*>(tex), mips, mip_count, built, packed, size);
    return lg::run_op(call, lg::texture::Forward<T>{lg::texture::make_call(lg::texture::make_texture_call<T>(
                                                        levels, count, texture_views, size, coord, coord_d, bias, views,
                                                        rows, columns, filter, wrap, anisotropy)),
                                                    static_cast<T*>(out),
                                                    {size, built, packed}});
  });
}

int32_t lg_texture_backward(lg_call* call, int32_t dtype, const void* tex, const void* const* mips, int64_t mip_count,
                            int64_t built, int64_t texture_views, int64_t height, int64_t width, int64_t channels,
                            const void* coord, const void* coord_d, const void* bias, int64_t views, int64_t rows,
                            int64_t columns, int32_t filter, int32_t wrap, int32_t anisotropy, const void* pyramid,
                            const void* grad_out, void* grad_tex, void* grad_coord, void* grad_coord_d, void* grad_bias,
                            void* const* grad_mips) {
  const int32_t count = lg::texture::level_count(mip_count, built);
  if (count == 0) return lg::texture::reject_levels(mip_count, built);
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const lg::texture::LevelSize size = lg::texture::texture_size(texture_views, height, width, channels, wrap);
    const auto levels = lg::texture::levels_of<const T>(static_cast<const T*>(tex), mips, mip_count, built,
                                                        static_cast<const T*>(pyramid), size);
    const auto request = lg::texture::make_call(lg::texture::make_texture_call<T>(
        levels, count, texture_views, size, coord, coord_d, bias, views, rows, columns, filter, wrap, anisotropy));
    lg::texture::TexelGradients<T> texels = {};
    texels.levels =
        lg::texture::levels_of(static_cast<T*>(grad_tex), grad_mips, mip_count, 0, static_cast<T*>(nullptr), size);
    const int64_t folded = grad_tex ? built : 0;
    int64_t slots = 0;
    for (int32_t l = 0; l < count; ++l) {
      texels.first_slot[l] = slots;
      const bool wanted = texels.levels.level[l] || (l > 0 && folded > 0);
      if (wanted) slots += texture_views * request.request.texels(l) * channels;
    }
    // All corners of both levels may contribute to the same texel, for each tap of a lookup.
    const int64_t contributions = 8 * anisotropy * views * rows * columns;
    return lg::run_op(
        call, lg::texture::Backward<T>{request,
                                       static_cast<const T*>(grad_out),
                                       grad_tex || grad_mips,
                                       texels,
                                       {size, folded, nullptr},
                                       lg::texture::make_input_gradients<T>(grad_coord, grad_coord_d, grad_bias),
                                       {call->deterministic != 0, slots, contributions}});
  });
}
