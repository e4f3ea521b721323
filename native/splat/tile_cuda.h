// One tile's block of threads: one pixel per thread, with the primitives passing through shared memory.
#pragma once

#include <type_traits>

#include "runtime/cuda/launch.h"
#include "splat/binning_cuda.h"
#include "splat/blending.h"
#include "splat/footprints.h"

namespace lg {
namespace splat {

constexpr int tile_threads = cuda_tile * cuda_tile, tile_warps = tile_threads / 32;
// The number of primitives in shared memory at a time.
template <class T>
constexpr int batch_size() {
  return sizeof(T) == 4 ? 128 : 64;
}

// The inputs of both passes over the tiles.
template <class T>
struct Compositing {
  Scene<T> scene;
  TileLists lists;
  const T* gamma;  // or null
  Rules<T> rules;
  int64_t first_channel;  // of the channels that this launch takes

  LG_DEVICE T inverse_gamma() const { return gamma ? 1 / *gamma : T(1); }
};

// A tile of the batch, and the pixel of this thread: a warp has 8 x 4, in two blocks of 4 x 4 side by side.
struct TilePlace {
  int64_t view;
  int x0, y0;                 // of the tile
  int column, row;            // of the pixel, from there
  int warp_column, warp_row;  // of the pixel, relative to it
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

// The items that a tile may have to composite, front to back: those of its list, then those that are in no list.
struct Sequence {
  int64_t begin, in_list, unlisted, length;

  // Whatever the lists hold, no place exceeds them: those of the backward pass are an input.
  LG_DEVICE Sequence(const TileLists& lists, int64_t tile) {
    begin = limited(lists.begin[tile], 0, lists.room);
    in_list = limited(lists.end[tile], begin, lists.room) - begin;
    unlisted = limited(lists.number[TileLists::listed], 0, lists.count);
    length = in_list + lists.count - unlisted;
  }
  // Of a place below `length`.
  LG_DEVICE uint32_t item(const TileLists& lists, int64_t place) const {
    return place < in_list ? lists.entries[begin + place] : lists.items[unlisted + place - in_list];
  }
  // Whether nothing is drawn from this place onwards.
  LG_DEVICE bool is_over(const TileLists& lists, int64_t place) const {
    return place >= length || (place >= in_list && item(lists, place) == TileLists::no_item);
  }

 private:
  static LG_DEVICE int64_t limited(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
  }
};

// The camera of the tile's view, and the primitives of a batch side by side.
template <class T, class Footprint, int Group>
struct Stage {
  static constexpr int size = batch_size<T>();
  Camera camera;
  typename Footprint::Item item[size];
  Bound bound[size];  // from the tile's corner; of no height where there is nothing
  T opacity[size], features[size][Group];
  int32_t primitive[size];

  // Fills place k with the item at `place` of the sequence.
  LG_DEVICE void load(const Compositing<T>& c, const TilePlace& tile, const Sequence& sequence, int64_t place, int k) {
    bound[k] = {0, 0, 0, -1e30f, 0, 0, 0, 0};
    if (place < 0 || place >= sequence.length) return;
    const int64_t v = tile.view, of_view = v * c.scene.primitives, p = sequence.item(c.lists, place) - of_view;
    if (p < 0 || p >= c.scene.primitives) return;  // of another view, or not drawn
    Bound b = c.lists.bounds[of_view + p];
    if (place >= sequence.in_list && !meets(b, c.scene.tiles, tile)) return;
    b.x -= static_cast<float>(tile.x0);
    b.y -= static_cast<float>(tile.y0);
    bound[k] = b;
    item[k] = Primitives<T, Footprint>::load(c.scene, camera, v, p, tile.window());
    opacity[k] = *c.scene.opacities.at(v, p);
    primitive[k] = static_cast<int32_t>(p);
    const T* from = c.scene.features.at(v, p) + c.first_channel;
#pragma unroll
    for (int i = 0; i < Group; ++i) features[k][i] = c.first_channel + i < c.scene.channels ? from[i] : T(0);
  }

  // The places, of 32 starting at `first`, that meet this lane's 4 x 4 block; in *any, those that meet one of the
  // warp's.
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

// Calls body(Type<Footprint>{}, BlendConstant<blend>{}, channels of a launch). False if there is no such footprint, or
// not with this blending.
template <class T, class Body>
bool choose(int32_t footprint, int32_t blend, int64_t channels, Body&& body) {
  constexpr bool small = sizeof(T) == 4;
  using Few = std::integral_constant<int, small ? 3 : 4>;
  using Many = std::integral_constant<int, small ? 8 : 4>;
  return with_blend<T>(footprint, blend, [&](auto shape, auto blending) {
    constexpr Blend which = decltype(blending)::value;
    if constexpr (decltype(shape)::type::extras > 0) {  // they come with normals, so with at least six channels
      body(shape, blending, std::integral_constant<int, small ? 6 : 4>{});
    } else if (channels <= 3 && (which == Blend::alpha || which == Blend::softmax)) {
      body(shape, blending, Few{});
    } else {
      body(shape, blending, Many{});
    }
  });
}

// LG_OK if the kernels support the request.
template <class T>
int32_t check_splats(const Scene<T>& scene, int32_t footprint, int32_t blend) {
  if (too_many_splats(scene.tiles.views * scene.primitives, scene.tiles)) {
    return reject("splats: at most 2147483647 primitives and tiles of %d pixels in all views, got %lld of (%lld, %lld)",
                  cuda_tile, static_cast<long long>(scene.tiles.views * scene.primitives),
                  static_cast<long long>(scene.tiles.height), static_cast<long long>(scene.tiles.width));
  }
  if (with_blend<T>(footprint, blend, [](auto, auto) {})) return LG_OK;
  return reject("there is no footprint %d with blend code %d", static_cast<int>(footprint), static_cast<int>(blend));
}

}  // namespace splat
}  // namespace lg
