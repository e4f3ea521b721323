// Splatting on the CPU: the C interface, the choice of footprint and blending, and the gathering of gradients.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "lumigrad.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "splat/backward_cpu.h"
#include "splat/forward_cpu.h"

namespace lg {
namespace splat {
namespace {

template <class Scratch>
std::vector<std::unique_ptr<Scratch>> scratch_for(int threads) {
  return std::vector<std::unique_ptr<Scratch>>(static_cast<size_t>(std::max(1, threads)));
}

template <class Scratch>
Scratch& own(std::vector<std::unique_ptr<Scratch>>& all, int worker) {
  if (!all[worker]) all[worker].reset(new Scratch);
  return *all[worker];
}

template <class T>
double largest_opacity(const Scene<T>& scene) {
  const PerPrimitive<T>& o = scene.opacity;
  T most = 1;
  for (int64_t i = 0; i < o.views * o.primitives; ++i) most = o.data[i] > most ? o.data[i] : most;
  return static_cast<double>(most);
}

template <class T, class Footprint, Blend blend, int Channels>
void forward(int threads, const Scene<T>& scene, const Images<T>& out) {
  const Binned<T> binned = bin<T, Footprint>(threads, scene, false);
  const Scene<T> packed = binned.rows.scene(scene);
  auto scratch = scratch_for<ForwardScratch<T>>(threads);
  const double most = blend == Blend::softmax ? largest_opacity(scene) : 1;
  parallel_for(threads, scene.tiles.count(), [&](int64_t tile, int worker) {
    ForwardTile<T, Footprint, blend, Channels> work(packed, out, own(scratch, worker));
    work.max_opacity_ = most;
    work.run(binned, tile);
  });
}

// Where gradients go; any may be null. The layout is that of the inputs.
template <class T>
struct Outputs {
  T *position, *shape, *depth, *opacity, *payload, *background, *view, *intrinsics, *gamma;
};

// The gradient of one kind of value, from the records of its primitives to what they belong to.
template <class T>
void pass_on(const PerPrimitive<T>& input, T* grad, int64_t view, int64_t p, const T* values) {
  if (!grad) return;
  T* target = grad + ((input.views > 1 ? view * input.primitives : 0) + p) * input.channels;
  const bool first = view == 0 || input.views > 1;
  for (int64_t c = 0; c < input.channels; ++c) target[c] = first ? values[c] : target[c] + values[c];
}

// Turns the gradient of a place before the camera into that of the place in the world, and adds to the view matrix's.
template <class T>
void to_world(const Scene<T>& scene, const Camera& camera, int64_t v, int64_t p, T* grad, double* grad_view) {
  const double g[3] = {double(grad[0]), double(grad[1]), double(grad[2])};
  const T* x = scene.position.at(v, p);
  for (int k = 0; k < 3; ++k) {
    const double sign = k == 2 ? -1 : 1;
    for (int j = 0; j < 3; ++j) grad_view[4 * k + j] += sign * g[k] * double(x[j]);
    grad_view[4 * k + 3] += sign * g[k];
  }
  for (int j = 0; j < 3; ++j) {
    grad[j] = T(g[0] * camera.rotation[j] + g[1] * camera.rotation[3 + j] + g[2] * camera.rotation[6 + j]);
  }
}

template <class T, class Footprint>
void gather(int threads, const Scene<T>& scene, const Bins& bins, const T* records, const Outputs<T>& out) {
  constexpr int64_t per_task = 2048;
  constexpr int geometry = Footprint::position + Footprint::shape;
  const int64_t size = record_size<Footprint>(scene.channels), count = scene.primitives, views = scene.tiles.views;
  const int64_t tasks = divide_up(count, per_task);
  std::vector<double> grad_view(static_cast<size_t>(tasks * views * 12), 0.0);
  parallel_for(threads, tasks, [&](int64_t task, int) {
    std::vector<T> total(static_cast<size_t>(size));
    const int64_t end = std::min(count, (task + 1) * per_task);
    for (int64_t v = 0; v < views; ++v) {
      const Camera camera = scene.camera(v);
      double* of_view = grad_view.data() + (task * views + v) * 12;
      for (int64_t p = task * per_task; p < end; ++p) {
        const int64_t i = v * count + p;
        std::fill(total.begin(), total.end(), T(0));
        const int64_t* slot = bins.slot.data() + (bins.count[i] ? bins.first[i] : 0);
        for (int32_t k = 0; k < bins.count[i]; ++k) {
          const T* record = records + slot[k] * size;
          for (int64_t c = 0; c < size; ++c) total[c] += record[c];
        }
        if (Footprint::position == 3 && bins.count[i]) to_world(scene, camera, v, p, total.data(), of_view);
        pass_on(scene.position, out.position, v, p, total.data());
        pass_on(scene.shape, out.shape, v, p, total.data() + Footprint::position);
        pass_on(scene.opacity, out.opacity, v, p, total.data() + geometry);
        pass_on(scene.payload, out.payload, v, p, total.data() + geometry + 1);
        if (scene.depth.data) pass_on(scene.depth, out.depth, v, p, total.data() + geometry + 1 + scene.channels);
      }
    }
  });
  for (int64_t v = 0; out.view && v < views; ++v) {
    double sum[16] = {};
    for (int64_t task = 0; task < tasks; ++task) {
      for (int k = 0; k < 12; ++k) sum[k] += grad_view[(task * views + v) * 12 + k];
    }
    for (int k = 0; k < 16; ++k) out.view[16 * v + k] = T(sum[k]);
  }
}

template <class T>
void gather_tiles(const Scene<T>& scene, const T* tile_records, const Outputs<T>& out) {
  const int64_t size = tile_record_size(scene.channels), channels = scene.channels;
  double gamma = 0;
  std::vector<double> sum(static_cast<size_t>(size), 0.0);
  for (int64_t v = 0; v < scene.tiles.views; ++v) {
    const bool shared = scene.background_views == 1;
    if (!shared || v == 0) std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(sum.begin() + channels, sum.end(), 0.0);
    for (int64_t tile = v * scene.tiles.per_view(); tile < (v + 1) * scene.tiles.per_view(); ++tile) {
      for (int64_t c = 0; c < size; ++c) sum[c] += double(tile_records[tile * size + c]);
    }
    for (int64_t c = 0; out.background && c < channels; ++c)
      out.background[(shared ? 0 : v * channels) + c] = T(sum[c]);
    for (int64_t k = 0; out.intrinsics && k < 4; ++k) out.intrinsics[4 * v + k] = T(sum[channels + k]);
    gamma += sum[channels + 4];
  }
  if (out.gamma) *out.gamma = T(gamma);
}

template <class T, class Footprint, Blend blend, int Channels>
void backward(int threads, const Scene<T>& scene, const ImageGradients<T>& grads, const Outputs<T>& out) {
  const Binned<T> binned = bin<T, Footprint>(threads, scene, true);
  const Scene<T> packed = binned.rows.scene(scene);
  const int64_t size = record_size<Footprint>(scene.channels), tile_size = tile_record_size(scene.channels);
  Buffer<T> records(binned.bins.entry.size() * size), tile_records(scene.tiles.count() * tile_size);
  auto scratch = scratch_for<BackwardScratch<T>>(threads);
  parallel_for(threads, scene.tiles.count(), [&](int64_t tile, int worker) {
    BackwardTile<T, Footprint, blend, Channels> work(packed, grads, own(scratch, worker));
    work.run(binned, tile, records.data() + binned.bins.begin[tile] * size, tile_records.data() + tile * tile_size);
  });
  gather<T, Footprint>(threads, scene, binned.bins, records.data(), out);
  gather_tiles(scene, tile_records.data(), out);
}

// ---- Choosing what to run ---------------------------------------------------------------------------------

template <class Value>
struct Type {
  using type = Value;
};

template <class T, class Footprint, Blend blend, class Body>
void with_channels(const Scene<T>& scene, Body&& body) {
  using B = std::integral_constant<Blend, blend>;
  constexpr int usual = Footprint::extras > 0 ? 6 : 3;  // a colour, of surfels also the normal
  if (sizeof(T) == 4 && scene.channels == usual) {
    body(Type<Footprint>{}, B{}, std::integral_constant<int, sizeof(T) == 4 ? usual : 0>{});
  } else {
    body(Type<Footprint>{}, B{}, std::integral_constant<int, 0>{});
  }
}

template <class T, class Footprint, class Body>
void with_blend(const Scene<T>& scene, int32_t blend, Body&& body) {
  if (blend == 0) return with_channels<T, Footprint, Blend::alpha>(scene, body);
  if (blend == 2) return with_channels<T, Footprint, Blend::normalised>(scene, body);
  if (blend == 3) return with_channels<T, Footprint, Blend::nearest>(scene, body);
  throw InvalidArgument("blend code %d does not fit the footprint", static_cast<int>(blend));
}

template <class T, class Body>
void choose(const Scene<T>& scene, int32_t footprint, int32_t blend, Body&& body) {
  switch (footprint) {
    case 0:
      return with_blend<T, Conic<T>>(scene, blend, body);
    case 1:
      return with_blend<T, Spot<T, false>>(scene, blend, body);
    case 2:
      return with_blend<T, Spot<T, true>>(scene, blend, body);
    case 3:
      return with_channels<T, Sphere<T, false>, Blend::softmax>(scene, body);
    case 4:
      return with_channels<T, Sphere<T, true>, Blend::softmax>(scene, body);
    case 5:
      if (blend != 0) throw InvalidArgument("blend code %d does not fit surfels", static_cast<int>(blend));
      return with_channels<T, Surfel<T>, Blend::alpha>(scene, body);
    default:
      throw InvalidArgument("there is no footprint %d", static_cast<int>(footprint));
  }
}

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_forward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, int64_t contributors, void* image,
                         void* alpha, void* depth, int32_t* median, int32_t* ids, void* weights, void* state,
                         int32_t* last) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    auto of_call = lg::splat::make_scene<T>(*scene);
    if (scene->gamma) of_call.gamma = *static_cast<const T*>(scene->gamma);
    const lg::splat::Images<T> out = {
        static_cast<T*>(image),   static_cast<T*>(alpha), static_cast<T*>(depth), median, ids,
        static_cast<T*>(weights), contributors,           static_cast<T*>(state), last};
    lg::splat::choose<T>(of_call, scene->footprint, scene->blend, [&](auto shape, auto blending, auto channels) {
      using Footprint = typename decltype(shape)::type;
      lg::splat::forward<T, Footprint, blending.value, channels.value>(call->threads, of_call, out);
    });
  });
}

int32_t lg_splat_backward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, const void* image,
                          const void* alpha, const void* depth, const void* state, const int32_t* last,
                          const void* grad_image, const void* grad_alpha, const void* grad_depth, void* grad_positions,
                          void* grad_shapes, void* grad_depths, void* grad_opacities, void* grad_features,
                          void* grad_background, void* grad_matrix, void* grad_intrinsics, void* grad_gamma) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    auto of_call = lg::splat::make_scene<T>(*scene);
    if (scene->gamma) of_call.gamma = *static_cast<const T*>(scene->gamma);
    const auto in = [](const void* from) { return static_cast<const T*>(from); };
    const lg::splat::ImageGradients<T> given = {in(grad_image), in(grad_alpha), in(grad_depth),
                                                in(image),      in(alpha),      in(depth),
                                                in(state),      last,           grad_intrinsics != nullptr};
    const auto to = [](void* gradient) { return static_cast<T*>(gradient); };
    const lg::splat::Outputs<T> out = {to(grad_positions), to(grad_shapes),     to(grad_depths),
                                       to(grad_opacities), to(grad_features),   to(grad_background),
                                       to(grad_matrix),    to(grad_intrinsics), to(grad_gamma)};
    lg::splat::choose<T>(of_call, scene->footprint, scene->blend, [&](auto shape, auto blending, auto channels) {
      using Footprint = typename decltype(shape)::type;
      lg::splat::backward<T, Footprint, blending.value, channels.value>(call->threads, of_call, given, out);
    });
  });
}
