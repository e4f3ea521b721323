// One tile's block of threads: a pixel for each, and the primitives that pass by in shared memory.
#pragma once

#include <type_traits>

#include "runtime/cuda/launch.h"
#include "splat/binning_cuda.h"
#include "splat/blending.h"
#include "splat/footprints_cuda.h"

namespace lg {
namespace splat {

constexpr int tile_threads = cuda_tile * cuda_tile, tile_warps = tile_threads / 32;
// Primitives that are in shared memory at a time.
template <class T>
constexpr int batch_size() {
  return sizeof(T) == 4 ? 128 : 64;
}

// What both passes over the tiles are given.
template <class T>
struct Compositing {
  Scene<T> scene;
  TileLists lists;
  const T* gamma;         // or null
  int64_t first_channel;  // of those that this launch takes
  T alpha_max, alpha_min, stop, min_depth, inverse_range, merge;
  DepthMeasure<T> measure;  // of surfels

  LG_DEVICE T inverse_gamma() const { return gamma ? 1 / *gamma : T(1); }
};

template <class T>
Compositing<T> compositing_of(const Scene<T>& scene, const TileLists& lists, const T* gamma) {
  const Settings& s = scene.settings;
  return {scene,
          lists,
          gamma,
          0,
          T(s.alpha_max),
          T(s.alpha_min),
          stop_below<T>(s),
          T(s.min_depth),
          T(1 / (s.max_depth - s.min_depth)),
          T(s.merge),
          DepthMeasure<T>(s.min_depth, s.max_depth)};
}

// A tile of the batch, and the pixel of this thread: a warp has 8 x 4, in two blocks of 4 x 4 side by side.
struct TilePlace {
  int64_t view;
  int x0, y0;                 // of the tile
  int column, row;            // of the pixel, from there
  int warp_column, warp_row;  // of the warp's corner
  int64_t pixel;              // in the batch
  bool inside;                // the image

  LG_DEVICE TilePlace(const Tiles& image, const TileLists& lists, int64_t tile) {
    view = tile / lists.per_view;
    const int64_t in_view = tile - view * lists.per_view, tile_row = in_view / lists.across;
    x0 = static_cast<int>(in_view - tile_row * lists.across) * cuda_tile;
    y0 = static_cast<int>(tile_row) * cuda_tile;
    const int lane = static_cast<int>(lane_id()), warp = static_cast<int>(threadIdx.x) / 32;
    warp_column = warp % 2 * 8;
    warp_row = warp / 2 * 4;
    column = warp_column + lane % 8;
    row = warp_row + lane / 8;
    inside = x0 + column < image.width && y0 + row < image.height;
    pixel = (view * image.height + y0 + row) * image.width + x0 + column;
  }
  LG_DEVICE Window window() const { return {static_cast<double>(x0), static_cast<double>(y0)}; }

  template <class T, bool NeedsPlane>
  LG_DEVICE Pixels<T> pixels(const Camera& camera) const {
    Pixels<T> out{};
    out.left = T(column) + T(0.5);
    out.top = T(row) + T(0.5);
    if (NeedsPlane) {
      const double x = (x0 + column + 0.5 - camera.cx) / camera.fx, y = (camera.cy - y0 - row - 0.5) / camera.fy;
      out.x = T(x);
      out.y = T(y);
      out.inverse_length = T(1 / std::sqrt(x * x + y * y + 1));
    }
    return out;
  }
};

// The ranks that a tile may have to composite, front to back: those of its list, then those that are in no list.
struct Sequence {
  int64_t begin, in_list, unlisted, length;

  LG_DEVICE Sequence(const TileLists& lists, int64_t tile) {
    begin = lists.begin[tile];
    in_list = lists.end[tile] - begin;
    unlisted = *lists.listed;
    length = in_list + lists.count - unlisted;
  }
  LG_DEVICE int64_t rank(const TileLists& lists, int64_t place) const {
    return place < in_list ? lists.ranks[begin + place] : unlisted + place - in_list;
  }
  // Whether nothing is drawn from this place on.
  LG_DEVICE bool is_over(const TileLists& lists, int64_t place) const {
    return place >= length || (place >= in_list && lists.keys[rank(lists, place)] == hidden_key);
  }
};

// The camera of the tile's view, and the primitives of a batch side by side.
template <class T, class Footprint, int Group>
struct Stage {
  static constexpr int size = batch_size<T>();
  Camera camera;
  typename Footprint::Item item[size];
  Bound bound[size];  // from the tile's corner; of no height where there is nothing
  T opacity[size], payload[size][Group];
  int32_t primitive[size];

  // Fills place k with what lies at `place` of the sequence.
  LG_DEVICE void load(const Compositing<T>& c, const TilePlace& tile, const Sequence& sequence, int64_t place, int k) {
    bound[k] = {0, 0, 0, -1e30f, 0, 0, 0, 0};
    if (place < 0 || sequence.is_over(c.lists, place)) return;
    const uint32_t item_number = c.lists.items[sequence.rank(c.lists, place)];
    const int64_t v = item_number / c.scene.primitives, p = item_number - v * c.scene.primitives;
    if (v != tile.view) return;
    Bound b = c.lists.bounds[item_number];
    if (place >= sequence.in_list && !meets(b, c.scene.tiles, tile)) return;
    b.x -= static_cast<float>(tile.x0);
    b.y -= static_cast<float>(tile.y0);
    bound[k] = b;
    item[k] = Primitives<T, Footprint>::load(c.scene, camera, v, p, tile.window());
    opacity[k] = *c.scene.opacity.at(v, p);
    primitive[k] = static_cast<int32_t>(p);
    const T* from = c.scene.payload.at(v, p) + c.first_channel;
#pragma unroll
    for (int i = 0; i < Group; ++i) payload[k][i] = c.first_channel + i < c.scene.channels ? from[i] : T(0);
  }

  // Of 32 places from `first` on those that meet the 4 x 4 block of this lane, and, in *any, one of its warp's.
  LG_DEVICE uint32_t met(const TilePlace& tile, int first, uint32_t* any) const {
    const auto lane = static_cast<int>(lane_id());
    const float top = static_cast<float>(tile.warp_row) + 0.5f;
    int from = 0, to = -1;
    const bool meets =
        columns_of(bound[first + lane], top, top + 3, tile.warp_column, tile.warp_column + 7, &from, &to);
    const uint32_t left = warp_ballot(meets && from < tile.warp_column + 4);
    const uint32_t right = warp_ballot(meets && to >= tile.warp_column + 4);
    *any = left | right;
    return lane % 8 < 4 ? left : right;
  }

 private:
  static LG_DEVICE bool meets(const Bound& b, const Tiles& image, const TilePlace& tile) {
    const int x1 = tile.x0 + cuda_tile < image.width ? tile.x0 + cuda_tile : static_cast<int>(image.width);
    const int y1 = tile.y0 + cuda_tile < image.height ? tile.y0 + cuda_tile : static_cast<int>(image.height);
    int first, last;
    return columns_of(b, static_cast<float>(tile.y0) + 0.5f, static_cast<float>(y1) - 0.5f, tile.x0, x1 - 1, &first,
                      &last);
  }
};

// ---- Choosing what to run ----------------------------------------------------------------------------------

// Calls body(Type<Footprint>{}, blending, channels of a launch) with what the codes stand for.
template <class T, class Body>
int32_t choose(int32_t footprint, int32_t blend, int64_t channels, Body&& body) {
  using Three = std::integral_constant<int, sizeof(T) == 4 ? 3 : 4>;
  using Many = std::integral_constant<int, sizeof(T) == 4 ? 8 : 4>;
  bool fits = true;
  const auto with = [&](auto shape, auto blending, auto few) {
    if (channels <= 3) {
      body(shape, blending, few);
    } else {
      body(shape, blending, Many{});
    }
  };
  const int32_t status = with_footprint<T>(footprint, [&](auto shape) {
    if constexpr (decltype(shape)::type::needs_plane) {
      fits = blend == 1;
      if (fits) with(shape, std::integral_constant<Blend, Blend::softmax>{}, Three{});
    } else if constexpr (decltype(shape)::type::extras > 0) {  // they come with normals: six channels or more
      using Six = std::integral_constant<int, sizeof(T) == 4 ? 6 : 4>;
      fits = blend == 0;
      if (fits) body(shape, std::integral_constant<Blend, Blend::alpha>{}, Six{});
    } else {
      switch (blend) {
        case 0:
          with(shape, std::integral_constant<Blend, Blend::alpha>{}, Three{});
          break;
        case 2:
          with(shape, std::integral_constant<Blend, Blend::normalised>{}, Many{});
          break;
        case 3:
          with(shape, std::integral_constant<Blend, Blend::nearest>{}, Many{});
          break;
        default:
          fits = false;
      }
    }
  });
  return fits ? status : reject("blend code %d does not fit the footprint", static_cast<int>(blend));
}

// LG_OK where the kernels can do what they are asked for.
template <class T>
int32_t check_splats(const Scene<T>& scene, int32_t footprint, int32_t blend) {
  if (too_many_splats(scene.tiles.views * scene.primitives, scene.tiles)) {
    return reject("splats: at most 2147483647 primitives and tiles of %d pixels in all views, got %lld of (%lld, %lld)",
                  cuda_tile, static_cast<long long>(scene.tiles.views * scene.primitives),
                  static_cast<long long>(scene.tiles.height), static_cast<long long>(scene.tiles.width));
  }
  return choose<T>(footprint, blend, scene.channels, [](auto, auto, auto) {});
}

}  // namespace splat
}  // namespace lg
