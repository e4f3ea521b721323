// Soft images without fragments on the CPU: tiles meet their faces in turn and mix them into their pixels at once. The
// backward pass meets them again; a face's gradients are summed in lanes over its pixels in the tile.
//
// Of a pixel with faces of probabilities p, nearness s and colours c:
//   T = prod (1 - p)      D = sum w + b    w = p exp((s - m) / gamma)    b = max(exp((eps - m) / gamma), least)
//   m = max(eps, s ...)   color = sum w c / D                            behind = b / D
#include <algorithm>
#include <cstdint>
#include <vector>

#include "lumigrad.h"
#include "parallel/tiles.h"
#include "parallel/triangle_gradients.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/threads.h"
#include "soft/bins_cpu.h"
#include "soft/blend.h"
#include "soft/scene.h"
#include "soft/tile_cpu.h"

namespace lg::soft {
namespace {

constexpr int64_t tile_size = soft_blend_tile_size;
constexpr int blocks_across = tile_size / soft_block, tile_blocks = blocks_across * blocks_across;
constexpr int tile_lanes = tile_blocks * soft_lanes;

// The state of a tile's pixels, lane by lane.
template <class T>
struct alignas(64) TilePixels {
  T transmittance[tile_lanes], nearest[tile_lanes], total[tile_lanes];
  // Backward only: gradient of the transmittance; 1 / total; what every colour is compared with; gradient of `nearest`.
  T grad[tile_lanes], inverse_total[tile_lanes], base[tile_lanes], grad_nearest[tile_lanes];
  bool live[tile_blocks];  // backward: some pixel has a gradient
  Array<T> channel;        // [tile_blocks, channels, soft_lanes]: sums of colours, or their gradients

  T* channels_of(int block, int64_t channels) { return channel.data() + block * channels * soft_lanes; }
};

// What the lanes of a block know of a face.
template <class T>
struct alignas(64) Block {
  T p[soft_lanes], rest[soft_lanes], nearness[soft_lanes], weight[soft_lanes], decay[soft_lanes];
  T bary[3][soft_lanes], grad_bary[3][soft_lanes], dot[soft_lanes];
};

template <class T, class Body>
void for_tile_pixels(const SoftScene<T>& scene, const PixelTile& tile, Body&& body) {
  for (int64_t row = tile.y0; row < tile.y1; ++row) {
    const auto y = static_cast<int>(row - tile.y0);
    for (int64_t column = tile.x0; column < tile.x1; ++column) {
      const auto x = static_cast<int>(column - tile.x0);
      const int block = y / soft_block * blocks_across + x / soft_block;
      const int lane = y % soft_block * soft_block + x % soft_block;
      body((tile.view * scene.height + row) * scene.width + column, block, lane);
    }
  }
}

template <class T, SoftFalloff Falloff>
class Blender {
 public:
  Blender(const SoftScene<T>& scene, const BlendRequest<T>& request, const BlendImages<T>& images)
      : scene_(scene),
        r_(request),
        images_(images),
        step_(static_cast<T>(scene.viewport.step)),
        blur_(static_cast<T>(scene.blur)),
        reach_(static_cast<T>(std::sqrt(scene.blur))) {}

  void forward(int32_t threads) const {
    std::vector<TilePixels<T>> work(static_cast<size_t>(std::max(1, threads)));
    for_soft_tiles(scene_, threads, tile_size,
                   [&](int64_t, const PixelTile& tile, const int32_t* face, const int32_t* end, int worker) {
                     TilePixels<T>& pixels = work[worker];
                     begin_tile(pixels);
                     for_faces(tile, face, end, [&](const TileFace<T>& f, const SoftFrame&) { measure(f, pixels); });
                     if (r_.colors()) {
                       begin_colors(pixels);
                       for_faces(tile, face, end,
                                 [&](const TileFace<T>& f, const SoftFrame&) { mix(f, tile.view, pixels); });
                     }
                     write_tile(tile, pixels);
                   });
  }

  void backward(int32_t threads, const BlendGradients<T>& grads) const {
    const TileGrid grid(scene_.views, scene_.height, scene_.width, tile_size);
    const int64_t attr_values = 3 * r_.channels;
    TriangleGradients<T> positions(threads, grid.count(), 12), attributes(threads, grid.count(), attr_values);
    std::vector<TilePixels<T>> work(static_cast<size_t>(std::max(1, threads)));
    std::vector<Array<T>> sums(work.size());
    for_soft_tiles(scene_, threads, tile_size,
                   [&](int64_t number, const PixelTile& tile, const int32_t* face, const int32_t* end, int worker) {
                     TilePixels<T>& pixels = work[worker];
                     sums[worker].clear();
                     T* sum = sums[worker].extend((soft_sums + attr_values) * soft_lanes);
                     positions.begin_chunk(number, worker, tile.view);
                     attributes.begin_chunk(number, worker, r_.attr_views == 1 ? 0 : tile.view);
                     if (read_gradients(tile, grads, pixels)) {
                       for_faces(tile, face, end, [&](const TileFace<T>& f, const SoftFrame& frame) {
                         if (pull_back(f, tile.view, pixels, sum)) {
                           finish(f, frame, sum, worker, positions, grads.attr ? &attributes : nullptr);
                         }
                       });
                     }
                     positions.end_chunk(number, worker);
                     attributes.end_chunk(number, worker);
                   });
    if (grads.pos) {
      positions.scatter(threads, scene_.tri, scene_.vertices, scene_.views, scene_.shared, 4, grads.pos);
    }
    if (grads.attr) {
      attributes.scatter(threads, r_.attr_tri, r_.attr_vertices, r_.attr_views, r_.attr_views == 1, r_.channels,
                         grads.attr);
    }
  }

 private:
  template <class Body>
  void for_faces(const PixelTile& tile, const int32_t* face, const int32_t* end, Body&& body) const {
    SoftFrame frame;
    TileFace<T> tile_face;
    for (; face < end; ++face) {
      if (make_tile_face(scene_, tile, *face, frame, tile_face)) body(tile_face, frame);
    }
  }

  // Calls body(number of edges as a constant, block, column, row).
  template <class Body>
  void for_face_blocks(const TileFace<T>& f, Body&& body) const {
    for_blocks(f.face, f.box, step_, reach_, blocks_across, [&](int block, int32_t column, int32_t row) {
      if (f.face.edges == 3) {
        body(std::integral_constant<int, 3>(), block, column, row);
      } else {
        body(std::integral_constant<int, 4>(), block, column, row);
      }
    });
  }

  // ---- Forward ------------------------------------------------------------------------------------------------

  void begin_tile(TilePixels<T>& pixels) const {
    std::fill_n(pixels.transmittance, tile_lanes, T(1));
    std::fill_n(pixels.nearest, tile_lanes, r_.eps);
  }

  // Transmittance and the nearest face's nearness.
  void measure(const TileFace<T>& f, TilePixels<T>& pixels) const {
    for_face_blocks(f, [&](auto edges, int block, int32_t column, int32_t row) {
      T* transmittance = pixels.transmittance + block * soft_lanes;
      if (r_.colors()) {
        measure_block<edges, true>(f.face, column, row, transmittance, pixels.nearest + block * soft_lanes);
      } else {
        measure_block<edges, false>(f.face, column, row, transmittance, nullptr);
      }
    });
  }

  template <int Edges, bool Colors>
  LG_HD void measure_block(const SoftFace<T> f, int32_t column, int32_t row, T* transmittance, T* nearest) const {
    const T step = step_, blur = blur_, inverse_sigma = r_.inverse_sigma;
    const SoftNearness<T> nearness = r_.nearness;
    LG_VECTORIZE
    for (int l = 0; l < soft_lanes; ++l) {
      const T x = T(column + SoftLanes::block_x[l]) * step, y = -T(row + SoftLanes::block_y[l]) * step;
      SoftPlace<T> at;
      soft_locate<Edges>(f, x, y, at);
      bool near = (at.inner >= 0) | (at.dist < blur);
      if (Colors || Edges == 4) {
        SoftWeights<T> weights;
        soft_weigh<true>(f, at.line, weights);
        near &= weights.valid;
        if (Colors) nearest[l] = near ? soft_max(nearest[l], nearness(weights)) : nearest[l];
      }
      const SoftProbability<T> at_p = soft_probability<Falloff>(at.dist, at.inner >= 0, inverse_sigma);
      transmittance[l] *= near ? at_p.rest : T(1);
    }
  }

  void begin_colors(TilePixels<T>& pixels) const {
    for (int l = 0; l < tile_lanes; ++l) pixels.total[l] = r_.weight_behind(pixels.nearest[l]);
    pixels.channel.clear();
    std::fill_n(pixels.channel.extend(tile_lanes * r_.channels), tile_lanes * r_.channels, T(0));
  }

  // Weights of the lanes of a block; and, for the backward pass, what they came from.
  template <int Edges>
  LG_HD void weigh_block(const SoftFace<T> f, int32_t column, int32_t row, const T* nearest, Block<T>& b) const {
    const T step = step_, blur = blur_, inverse_sigma = r_.inverse_sigma, inverse_gamma = r_.inverse_gamma;
    const SoftNearness<T> nearness = r_.nearness;
    LG_VECTORIZE
    for (int l = 0; l < soft_lanes; ++l) {
      const T x = T(column + SoftLanes::block_x[l]) * step, y = -T(row + SoftLanes::block_y[l]) * step;
      SoftPlace<T> at;
      soft_locate<Edges>(f, x, y, at);
      SoftWeights<T> weights;
      soft_weigh<true>(f, at.line, weights);
      const bool near = ((at.inner >= 0) | (at.dist < blur)) & weights.valid;
      const SoftProbability<T> at_p = soft_probability<Falloff>(at.dist, at.inner >= 0, inverse_sigma);
      const T s = nearness(weights);
      const T decay = soft_exp(soft_min((s - nearest[l]) * inverse_gamma, T(0)));
      b.p[l] = near ? at_p.p : T(0);
      b.rest[l] = near ? at_p.rest : T(1);
      b.nearness[l] = s;
      b.decay[l] = near ? decay : T(0);
      b.weight[l] = near ? at_p.p * decay : T(0);
      for (int i = 0; i < 3; ++i) b.bary[i][l] = near ? weights.bary[i] : T(0);
    }
  }

  const T* attributes_of(int64_t view, int32_t face, int corner) const {
    const int64_t vertex = r_.attr_tri[3 * static_cast<int64_t>(face) + corner];
    if (vertex < 0 || vertex >= r_.attr_vertices) {
      throw InvalidArgument("attr_tri[%d, %d] is %lld, but attr has %lld vertices", static_cast<int>(face), corner,
                            static_cast<long long>(vertex), static_cast<long long>(r_.attr_vertices));
    }
    return r_.attr + r_.attr_row(view, vertex) * r_.channels;
  }

  void mix(const TileFace<T>& f, int64_t view, TilePixels<T>& pixels) const {
    const T* corner[3];
    for (int i = 0; i < 3; ++i) corner[i] = attributes_of(view, f.number, i);
    for_face_blocks(f, [&](auto edges, int block, int32_t column, int32_t row) {
      Block<T> b;
      weigh_block<edges>(f.face, column, row, pixels.nearest + block * soft_lanes, b);
      T* total = pixels.total + block * soft_lanes;
      for (int l = 0; l < soft_lanes; ++l) total[l] += b.weight[l];
      T* sum = pixels.channels_of(block, r_.channels);
      for (int64_t c = 0; c < r_.channels; ++c, sum += soft_lanes) {
        const T a0 = corner[0][c], a1 = corner[1][c], a2 = corner[2][c];
        for (int l = 0; l < soft_lanes; ++l) {
          sum[l] += b.weight[l] * ((b.bary[0][l] * a0 + b.bary[1][l] * a1) + b.bary[2][l] * a2);
        }
      }
    });
  }

  void write_tile(const PixelTile& tile, TilePixels<T>& pixels) const {
    for_tile_pixels(scene_, tile, [&](int64_t pixel, int block, int l) {
      const int lane = block * soft_lanes + l;
      images_.transmittance[pixel] = pixels.transmittance[lane];
      if (!r_.colors()) return;
      const T total = pixels.total[lane], inverse = total > 0 ? 1 / total : T(0);
      images_.nearest[pixel] = pixels.nearest[lane];
      images_.total[pixel] = total;
      images_.behind[pixel] = r_.weight_behind(pixels.nearest[lane]) * inverse;
      const T* sum = pixels.channels_of(block, r_.channels) + l;
      for (int64_t c = 0; c < r_.channels; ++c) images_.color[pixel * r_.channels + c] = sum[c * soft_lanes] * inverse;
    });
  }

  // ---- Backward -----------------------------------------------------------------------------------------------

  // False where no pixel of the tile has a gradient.
  bool read_gradients(const PixelTile& tile, const BlendGradients<T>& grads, TilePixels<T>& pixels) const {
    std::fill_n(pixels.live, tile_blocks, false);
    for (T* lanes :
         {pixels.grad, pixels.transmittance, pixels.nearest, pixels.inverse_total, pixels.base, pixels.grad_nearest}) {
      std::fill_n(lanes, tile_lanes, T(0));
    }
    const int64_t channels = r_.channels;
    pixels.channel.clear();
    std::fill_n(pixels.channel.extend(tile_lanes * channels), tile_lanes * channels, T(0));
    bool any = false;
    for_tile_pixels(scene_, tile, [&](int64_t pixel, int block, int l) {
      const int lane = block * soft_lanes + l;
      const BlendPixel<T> from = read_blend_pixel(r_, images_, grads, pixel);
      pixels.transmittance[lane] = from.transmittance;
      pixels.grad[lane] = from.grad;
      pixels.nearest[lane] = from.nearest;
      pixels.inverse_total[lane] = from.inverse_total;
      pixels.base[lane] = from.base;
      pixels.grad_nearest[lane] = from.grad_nearest;
      pixels.live[block] |= from.live;
      any |= from.live;
      T* grad = pixels.channels_of(block, channels) + l;
      for (int64_t c = 0; c < channels && grads.color; ++c) grad[c * soft_lanes] = grads.color[pixel * channels + c];
    });
    return any;
  }

  // Sums the face's gradients over the tile's pixels in lanes; false where there are none.
  bool pull_back(const TileFace<T>& f, int64_t view, TilePixels<T>& pixels, T* sum) const {
    const T* corner[3] = {};
    for (int i = 0; i < 3 && r_.colors(); ++i) corner[i] = attributes_of(view, f.number, i);
    bool any = false;
    for_face_blocks(f, [&](auto edges, int block, int32_t column, int32_t row) {
      if (!pixels.live[block]) return;
      if (!any) std::fill_n(sum, (r_.colors() ? soft_sums + 3 * r_.channels : soft_edge_sums) * soft_lanes, T(0));
      any = true;
      if (r_.colors()) {
        pull_back_colors<edges>(f.face, block, column, row, corner, pixels, sum);
      } else {
        pull_back_silhouette<edges>(f.face, column, row, pixels.transmittance + block * soft_lanes,
                                    pixels.grad + block * soft_lanes, sum);
      }
    });
    return any;
  }

  template <int Edges>
  LG_HD void pull_back_silhouette(const SoftFace<T> f, int32_t column, int32_t row, const T* transmittance,
                                  const T* grad, T* sum) const {
    const T step = step_, blur = blur_, inverse_sigma = r_.inverse_sigma;
    LG_VECTORIZE
    for (int l = 0; l < soft_lanes; ++l) {
      const T x = T(column + SoftLanes::block_x[l]) * step, y = -T(row + SoftLanes::block_y[l]) * step;
      SoftPlace<T> at;
      soft_locate<Edges>(f, x, y, at);
      const bool inside = at.inner >= 0;
      bool near = inside | (at.dist < blur);
      if (Edges == 4) {
        SoftWeights<T> weights;
        soft_weigh<true>(f, at.line, weights);
        near &= weights.valid;
      }
      const SoftProbability<T> at_p = soft_probability<Falloff>(at.dist, inside, inverse_sigma);
      const T slope = soft_transmittance_slope<Falloff>(at_p, inside, transmittance[l], inverse_sigma);
      const T grad_dist = near ? grad[l] * slope : T(0);
      soft_distance_gradient<Edges>(f, x, y, at, grad_dist, [&](int k, T value) { sum[k * soft_lanes + l] += value; });
    }
  }

  template <int Edges>
  LG_HD void pull_back_colors(const SoftFace<T> f, int block, int32_t column, int32_t row, const T* const corner[3],
                              TilePixels<T>& pixels, T* sum) const {
    const int first = block * soft_lanes;
    const T* inverse_total = pixels.inverse_total + first;
    Block<T> b;
    weigh_block<Edges>(f, column, row, pixels.nearest + first, b);
    for (int l = 0; l < soft_lanes; ++l) {
      b.dot[l] = -pixels.base[first + l];
      for (int i = 0; i < 3; ++i) b.grad_bary[i][l] = 0;
    }
    const T* grad = pixels.channels_of(block, r_.channels);
    T* attr_sum = sum + soft_sums * soft_lanes;
    for (int64_t c = 0; c < r_.channels; ++c, grad += soft_lanes, attr_sum += 3 * soft_lanes) {
      const T a[3] = {corner[0][c], corner[1][c], corner[2][c]};
      for (int l = 0; l < soft_lanes; ++l) {
        const T g = grad[l] * b.weight[l] * inverse_total[l];
        b.dot[l] += grad[l] * ((b.bary[0][l] * a[0] + b.bary[1][l] * a[1]) + b.bary[2][l] * a[2]);
        for (int i = 0; i < 3; ++i) {
          b.grad_bary[i][l] += g * a[i];
          attr_sum[i * soft_lanes + l] += g * b.bary[i][l];
        }
      }
    }
    pull_back_places<Edges>(f, column, row, pixels, first, b, sum);
  }

  template <int Edges>
  LG_HD void pull_back_places(const SoftFace<T>& f, int32_t column, int32_t row, const TilePixels<T>& pixels, int first,
                              const Block<T>& b, T* sum) const {
    const T step = step_, inverse_sigma = r_.inverse_sigma, inverse_gamma = r_.inverse_gamma;
    const SoftNearness<T> nearness = r_.nearness;
    LG_VECTORIZE
    for (int l = 0; l < soft_lanes; ++l) {
      const T px = T(column + SoftLanes::block_x[l]), py = T(row + SoftLanes::block_y[l]), x = px * step,
              y = -py * step;
      SoftPlace<T> at;
      soft_locate<Edges>(f, x, y, at);
      SoftWeights<T> weights;
      soft_weigh<true>(f, at.line, weights);
      const auto add = [&](int k, T value) { sum[k * soft_lanes + l] += value; };
      const bool inside = at.inner >= 0, near = b.p[l] > 0;
      const T grad_weight = b.dot[l] * pixels.inverse_total[first + l];
      const SoftProbability<T> at_p = {b.p[l], b.rest[l]};
      const T slope = soft_transmittance_slope<Falloff>(at_p, inside, pixels.transmittance[first + l], inverse_sigma);
      const T slope_p = b.p[l] * b.rest[l] * (inside ? inverse_sigma : -inverse_sigma);
      const T grad_dist = pixels.grad[first + l] * slope + grad_weight * b.decay[l] * slope_p;
      soft_distance_gradient<Edges>(f, x, y, at, near ? grad_dist : T(0), add);
      const bool nearest = near & (b.nearness[l] == pixels.nearest[first + l]);
      const T grad_nearness =
          near ? grad_weight * b.weight[l] * inverse_gamma + (nearest ? pixels.grad_nearest[first + l] : T(0)) : T(0);
      const T grad_bary[3] = {b.grad_bary[0][l], b.grad_bary[1][l], b.grad_bary[2][l]};
      // Lanes where the face does not count have weights that may be anything.
      const auto add_near = [&](int k, T value) { sum[k * soft_lanes + l] += near ? value : T(0); };
      soft_weight_gradient<true>(f, at.line, weights, px, py, grad_bary, nearness.grad_z(grad_nearness),
                                 nearness.grad_below(grad_nearness), add_near);
    }
  }

  void finish(const TileFace<T>& f, const SoftFrame& frame, const T* sum, int worker, TriangleGradients<T>& positions,
              TriangleGradients<T>* attributes) const {
    T total[soft_sums];
    const int count = r_.colors() ? soft_sums : 4 * f.face.edges;
    std::fill_n(total, soft_sums, T(0));
    for (int k = 0; k < count; ++k) total[k] = add_lanes(sum + k * soft_lanes);
    const auto number = [&](int64_t) { return f.number; };
    soft_finish(frame, scene_.viewport, scene_.flags, total, r_.colors(), positions.append(worker, 1, number));
    if (!attributes) return;
    T* out = attributes->append(worker, 1, number);
    const T* lanes = sum + soft_sums * soft_lanes;
    for (int64_t c = 0; c < r_.channels; ++c) {
      for (int i = 0; i < 3; ++i, lanes += soft_lanes) out[i * r_.channels + c] = add_lanes(lanes);
    }
  }

  static T add_lanes(const T* lanes) {
    T part[4];
    for (int i = 0; i < 4; ++i) part[i] = (lanes[i] + lanes[i + 4]) + (lanes[i + 8] + lanes[i + 12]);
    return (part[0] + part[2]) + (part[1] + part[3]);
  }

  const SoftScene<T>& scene_;
  const BlendRequest<T>& r_;
  const BlendImages<T> images_;
  const T step_, blur_, reach_;
};

}  // namespace
}  // namespace lg::soft

int32_t lg_soft_blend_forward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                              int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                              double blur_radius, int32_t flags, int32_t falloff, double sigma, double gamma,
                              double eps, double min_behind, double near, double far, const void* attr,
                              const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
                              void* transmittance, void* color, void* behind, void* nearest, void* total) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_soft_scene<T>(pos, tri, ranges, ranges != nullptr, views, vertices, triangles,
                                                    height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const auto images = lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total);
    if (falloff == lg::soft::soft_exponential) {
      lg::soft::Blender<T, lg::soft::soft_exponential>(scene, request, images).forward(call->threads);
    } else {
      lg::soft::Blender<T, lg::soft::soft_sigmoid>(scene, request, images).forward(call->threads);
    }
  });
}

int32_t lg_soft_blend_backward(lg_call* call, int32_t dtype, const void* pos, const int32_t* tri, const int64_t* ranges,
                               int64_t views, int64_t vertices, int64_t triangles, int64_t height, int64_t width,
                               double blur_radius, int32_t flags, int32_t falloff, double sigma, double gamma,
                               double eps, double min_behind, double near, double far, const void* attr,
                               const int32_t* attr_tri, int64_t attr_views, int64_t attr_vertices, int64_t channels,
                               const void* transmittance, const void* color, const void* behind, const void* nearest,
                               const void* total, const void* grad_transmittance, const void* grad_color,
                               const void* grad_behind, void* grad_pos, void* grad_attr) {
  return lg::dispatch(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const auto scene = lg::soft::make_soft_scene<T>(pos, tri, ranges, ranges != nullptr, views, vertices, triangles,
                                                    height, width, blur_radius, flags);
    const auto request = lg::soft::make_blend_request<T>(sigma, gamma, eps, min_behind, near, far, attr, attr_tri,
                                                         attr_views, attr_vertices, channels);
    const auto images = lg::soft::make_blend_images<T>(transmittance, color, behind, nearest, total);
    const lg::soft::BlendGradients<T> grads = {static_cast<const T*>(grad_transmittance),
                                               static_cast<const T*>(grad_color), static_cast<const T*>(grad_behind),
                                               static_cast<T*>(grad_pos), static_cast<T*>(grad_attr)};
    if (falloff == lg::soft::soft_exponential) {
      lg::soft::Blender<T, lg::soft::soft_exponential>(scene, request, images).backward(call->threads, grads);
    } else {
      lg::soft::Blender<T, lg::soft::soft_sigmoid>(scene, request, images).backward(call->threads, grads);
    }
  });
}
