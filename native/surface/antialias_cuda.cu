// antialias on CUDA.
//
// Silhouette edges are followed over the image and mark the pairs of neighbouring pixels that they pass between, one
// bit each. Warps then go over the marks, 1024 pixels at a time, and deal out those that have any among their lanes:
// few pixels do, and each is much work. Colours are gathered, forward and backward: only positions need atomics.
#include "parallel/gradients_cuda.h"
#include "runtime/cuda/launch.h"
#include "surface/antialias.h"
#include "surface/silhouette_pairs.h"

namespace lg {
namespace {

// Links between half-edges; one that leads nowhere is taken for that of a boundary.
struct SafeLinks {
  const int32_t* links;
  int64_t half_edges;

  LG_DEVICE int32_t operator[](int64_t h) const {
    const int32_t link = links[h];
    return link >= 0 && (link >> 1) < half_edges ? link : static_cast<int32_t>(2 * h + 1);
  }
};

// One view's mesh, for the search in antialias.h. Reads nothing that is not there, whatever the indices.
template <class T>
struct SafeSurface {
  const T* pos;
  const int32_t* tri;
  SafeLinks topology;
  const uint8_t* flags;
  int64_t vertices;

  LG_DEVICE int64_t vertex(int64_t triangle, int k) const {
    const int32_t index = tri[3 * triangle + k];
    return index >= 0 && index < vertices ? index : 0;
  }
  LG_DEVICE const T* corner(int64_t triangle, int k) const { return pos + 4 * vertex(triangle, k); }
};

enum Side { right, left, below, above };  // where the colour comes from

template <class T>
struct Scene {
  const T* color;
  const int32_t* frag_tri;
  const T* depth;
  const T* pos;
  const int32_t* tri;
  const int32_t* topology;
  bool shared;
  int64_t vertices, triangles;
  ImageSize image;
  int64_t channels;
  bool unbounded;
  const uint8_t* flags;  // [views or 1, triangles]
  uint32_t* marks;       // [2, views, height, words]: pairs to the right, and pairs downwards

  int64_t geometry_views() const { return shared ? (image.views < 1 ? image.views : 1) : image.views; }
  // Without vertices or triangles there is nothing but background.
  bool has_mesh() const { return vertices > 0 && triangles > 0 && image.height * image.width > 0; }

  LG_DEVICE SafeSurface<T> surface(int64_t view) const {
    return {pos + (shared ? 0 : view * vertices * 4),
            tri,
            {topology, 3 * triangles},
            flags + (shared ? 0 : view * triangles),
            vertices};
  }
  LG_DEVICE int32_t seen(int64_t pixel) const {
    const int32_t t = frag_tri[pixel];
    return t >= 0 && t < triangles ? t : -1;
  }

  LG_HD int64_t words() const { return (image.width + 31) / 32; }
  LG_HD int64_t mark_words() const { return 2 * image.views * image.height * words(); }
  LG_DEVICE uint32_t* mark_word(int64_t view, int64_t row, int64_t column, bool vertical) const {
    const int64_t line = ((vertical ? image.views : 0) + view) * image.height + row;
    return marks + line * words() + column / 32;
  }
  LG_DEVICE void mark(int64_t view, int64_t row, int64_t column, bool vertical) const {
    uint32_t* word = mark_word(view, row, column, vertical);
    const uint32_t bit = 1u << (column % 32);
    if (!(load_fresh(word) & bit)) atomic_or(word, bit);
  }
  // Whether there is such a pair and it is marked.
  LG_DEVICE bool marked(int64_t view, int64_t row, int64_t column, bool vertical) const {
    if (row < 0 || column < 0 || row + vertical >= image.height || column + !vertical >= image.width) return false;
    return *mark_word(view, row, column, vertical) >> (column % 32) & 1;
  }
};

// ---- Silhouettes -------------------------------------------------------------------------------------------

template <class T>
__global__ void __launch_bounds__(items_per_block)
    find_facing(const __grid_constant__ Scene<T> s, int64_t count, uint8_t* facing) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    const int64_t view = i / s.triangles, t = i - view * s.triangles;
    const SafeSurface<T> surface = s.surface(view);
    bool valid = true;
    for (int k = 0; k < 3; ++k) valid = valid && s.tri[3 * t + k] >= 0 && s.tri[3 * t + k] < s.vertices;
    facing[i] = valid ? facing_flag(surface.corner(t, 0), surface.corner(t, 1), surface.corner(t, 2)) : 0;
  }
}

template <class T>
__global__ void __launch_bounds__(items_per_block)
    find_silhouettes(const __grid_constant__ Scene<T> s, int64_t count, const uint8_t* facing, uint8_t* flags) {
  const SafeLinks links = {s.topology, 3 * s.triangles};
  for (int64_t i = first_item(); i < count; i += item_step()) {
    const int64_t view = i / s.triangles, t = i - view * s.triangles;
    const uint8_t* of_view = facing + view * s.triangles;
    uint32_t flag = of_view[t];
    for (int k = 0; k < 3; ++k) flag |= static_cast<uint32_t>(is_silhouette(links, of_view, t, k)) << k;
    flags[i] = static_cast<uint8_t>(flag);
  }
}

// Edges over more lines than this are followed by the whole warp.
constexpr int64_t short_span = 16;

template <class T>
LG_DEVICE void mark_line(const Scene<T>& s, int64_t view, const LineSpan& span, int64_t line, bool vertical) {
  const PlaceRange places = places_on_line(span, line, vertical ? s.image.height : s.image.width);
  for (int64_t place = places.first; place <= places.last; ++place) {
    s.mark(view, vertical ? place : line, vertical ? line : place, vertical);
  }
}

// Called by all lanes of a warp.
template <class T>
LG_DEVICE void mark_span(const Scene<T>& s, int64_t view, const LineSpan& span, bool vertical) {
  const bool is_long = span.last - span.first >= short_span;
  for (int64_t line = span.first; !is_long && line <= span.last; ++line) mark_line(s, view, span, line, vertical);
  for (uint32_t lanes = warp_ballot(is_long); lanes; lanes &= lanes - 1) {
    const auto from = static_cast<unsigned>(lowest_bit(lanes));
    const LineSpan theirs = {warp_shuffle(span.first, from), warp_shuffle(span.last, from),
                             warp_shuffle(span.origin, from), warp_shuffle(span.across, from),
                             warp_shuffle(span.slope, from)};
    for (int64_t line = theirs.first + lane_id(); line <= theirs.last; line += warp_size) {
      mark_line(s, view, theirs, line, vertical);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(256) mark_silhouettes(const __grid_constant__ Scene<T> s) {
  for (int64_t view = blockIdx.y; view < s.image.views; view += gridDim.y) {
    const SafeSurface<T> surface = s.surface(view);
    for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.x; base < s.triangles; base += item_step()) {
      const int64_t t = base + threadIdx.x;
      const uint32_t edges = t < s.triangles ? surface.flags[t] & silhouette_edges : 0u;
      if (!warp_any(edges != 0)) continue;
      for (int k = 0; k < 3; ++k) {
        EdgeSpans spans = {{1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}};
        if (edges >> k & 1) {
          spans = make_edge_spans(surface.corner(t, (k + 1) % 3), surface.corner(t, (k + 2) % 3), s.image.height,
                                  s.image.width);
        }
        mark_span(s, view, spans.rows, false);
        mark_span(s, view, spans.columns, true);
      }
    }
  }
}

// nvdiffrast's rule allows a crossing anywhere: all pairs whose pixels see different triangles.
template <class T>
__global__ void __launch_bounds__(items_per_block) mark_differing(const __grid_constant__ Scene<T> s) {
  const int64_t area = s.image.height * s.image.width;
  for (int64_t pixel = first_item(); pixel < s.image.views * area; pixel += item_step()) {
    const int64_t view = pixel / area, row = pixel % area / s.image.width, column = pixel % s.image.width;
    const int32_t mine = s.frag_tri[pixel];
    if (column + 1 < s.image.width && s.frag_tri[pixel + 1] != mine) s.mark(view, row, column, false);
    if (row + 1 < s.image.height && s.frag_tri[pixel + s.image.width] != mine) s.mark(view, row, column, true);
  }
}

template <class T>
void mark_pairs(Queue& queue, const Scene<T>& s) {
  queue.fill_bytes(s.marks, 0, 4 * s.mark_words());
  if (s.unbounded) {
    queue.launch_items(mark_differing<T>, s.image.views * s.image.height * s.image.width, s);
    return;
  }
  const dim3 grid(static_cast<unsigned>(std::min(divide_up(s.triangles, 256), max_grid_x)),
                  static_cast<unsigned>(std::min(s.image.views, max_grid_yz)));
  queue.launch(mark_silhouettes<T>, grid, dim3(256), s);
}

// ---- One pair ----------------------------------------------------------------------------------------------

// A silhouette crossing between two neighbours: how much of its neighbour's colour a pixel takes.
struct PairBlend {
  double weight = 0;        // zero: nothing to do
  bool first_takes = true;  // the left or upper pixel is the one that takes
  Crossing crossing;
  PairView view{};
};

template <class T>
LG_DEVICE_NOINLINE PairBlend analyse(const Scene<T>& s, int64_t view, int64_t row, int64_t column, bool vertical) {
  PairBlend blend;
  const int64_t first = (view * s.image.height + row) * s.image.width + column;
  const int64_t second = first + (vertical ? s.image.width : 1);
  const int32_t t0 = s.seen(first), t1 = s.seen(second);
  if (t0 == t1) return blend;
  const bool first_in_front = t1 < 0 || (t0 >= 0 && s.depth[first] <= s.depth[second]);
  const int32_t front = first_in_front ? t0 : t1, other = first_in_front ? t1 : t0;
  blend.view = make_pair_view(column + (!vertical && !first_in_front), row + (vertical && !first_in_front),
                              s.image.width, s.image.height, vertical, first_in_front);
  const SafeSurface<T> surface = s.surface(view);
  blend.crossing =
      s.unbounded ? find_own_edge(surface, front, blend.view) : find_outline(surface, front, other, blend.view);
  if (blend.crossing.triangle < 0) return blend;
  const double signed_weight = 0.5 - blend.crossing.distance;  // positive: the front pixel takes
  blend.first_takes = (signed_weight > 0) == first_in_front;
  blend.weight = magnitude(signed_weight);
  return blend;
}

// The pair of a pixel and its neighbour on one side.
struct PairPlace {
  int64_t row, column;  // of its first pixel
  bool vertical, pixel_is_first;
};

LG_DEVICE PairPlace pair_at(int64_t row, int64_t column, int side) {
  return {row - (side == above), column - (side == left), side >= below, side == right || side == below};
}

LG_DEVICE int64_t neighbour(int64_t pixel, int side, int64_t width) {
  return side == right ? pixel + 1 : side == left ? pixel - 1 : side == below ? pixel + width : pixel - width;
}

template <class T>
LG_DEVICE bool is_marked(const Scene<T>& s, int64_t view, const PairPlace& p) {
  return s.marked(view, p.row, p.column, p.vertical);
}

// What a pixel takes from its four neighbours, and by how much its weights must be divided so that the blend stays
// within its colours.
struct PixelWeights {
  double weight[4];
  double total;
};

// blends: null, or where to keep the four pairs.
template <class T>
LG_DEVICE_NOINLINE PixelWeights pixel_weights(const Scene<T>& s, int64_t view, int64_t row, int64_t column,
                                              PairBlend* blends) {
  PixelWeights out;
  double sum = 0;
  for (int side = 0; side < 4; ++side) {
    const PairPlace p = pair_at(row, column, side);
    out.weight[side] = 0;
    if (!is_marked(s, view, p)) continue;
    const PairBlend blend = analyse(s, view, p.row, p.column, p.vertical);
    if (blend.weight == 0 || blend.first_takes != p.pixel_is_first) continue;
    out.weight[side] = blend.weight;
    sum += blend.weight;
    if (blends) blends[side] = blend;
  }
  out.total = !s.unbounded && sum > 1 ? sum : 1;
  return out;
}

// The pixels with a marked pair, among the 32 that a word of marks stands for.
template <class T>
LG_DEVICE uint32_t pixels_of_word(const Scene<T>& s, int64_t view, int64_t row, int64_t word) {
  if (word >= s.words()) return 0;
  const uint32_t* right_of = s.mark_word(view, row, 32 * word, false);
  const uint32_t* below_of = s.mark_word(view, row, 32 * word, true);
  uint32_t pixels = *right_of | *right_of << 1 | *below_of;
  if (word > 0) pixels |= right_of[-1] >> 31;
  if (row > 0) pixels |= below_of[-s.words()];
  return pixels;
}

LG_DEVICE int nth_bit(uint32_t mask, int n) {
  for (; n > 0; --n) mask &= mask - 1;
  return lowest_bit(mask);
}

// Calls body(view, row, column, is there) for all pixels with a marked pair. A warp takes 32 words of marks and deals
// their pixels out to its lanes, which all call body() equally often.
template <class T, class Body>
LG_DEVICE void for_marked_pixels(const Scene<T>& s, Body&& body) {
  const auto lane = static_cast<int>(lane_id());
  const int64_t groups = (s.words() + 31) / 32, units = s.image.views * s.image.height * groups;
  for (int64_t unit = first_item() / warp_size; unit < units; unit += item_step() / warp_size) {
    const int64_t line = unit / groups, first_word = unit % groups * 32;
    const int64_t view = line / s.image.height, row = line % s.image.height;
    const uint32_t mine = pixels_of_word(s, view, row, first_word + lane);
    int end = bit_count(mine);  // of my pixels among those of all lanes
    for (int step = 1; step < 32; step *= 2) {
      const int before = warp_shuffle(end, static_cast<unsigned>(lane >= step ? lane - step : lane));
      end += lane >= step ? before : 0;
    }
    const int count = warp_shuffle(end, 31);
    for (int base = 0; base < count; base += 32) {
      const int wanted = base + lane;
      int owner = 0;  // the first lane whose pixels end beyond the wanted one
      for (int step = 16; step > 0; step /= 2) {
        if (warp_shuffle(end, static_cast<unsigned>(owner + step - 1)) <= wanted) owner += step;
      }
      owner = owner < 31 ? owner : 31;
      const uint32_t pixels = warp_shuffle(mine, static_cast<unsigned>(owner));
      const int first = warp_shuffle(end, static_cast<unsigned>(owner)) - bit_count(pixels);
      const bool there = wanted < count;
      const int64_t column = there ? 32 * (first_word + owner) + nth_bit(pixels, wanted - first) : 0;
      body(view, row, column, there);
    }
  }
}

template <class T>
int64_t marked_items(const Scene<T>& s) {
  return s.image.views * s.image.height * divide_up(s.words(), 32) * warp_size;
}

// ---- Forward -----------------------------------------------------------------------------------------------

// Pixels that take nothing have been copied before.
template <class T>
__global__ void __launch_bounds__(items_per_block) blend_pixels(const __grid_constant__ Scene<T> s, T* out) {
  for_marked_pixels(s, [&](int64_t view, int64_t row, int64_t column, bool there) {
    if (!there) return;
    const int64_t pixel = (view * s.image.height + row) * s.image.width + column;
    const PixelWeights weights = pixel_weights(s, view, row, column, nullptr);
    for (int side = 0; side < 4; ++side) {
      if (weights.weight[side] == 0) continue;
      const T w = static_cast<T>(weights.weight[side] / weights.total);
      const T* here = s.color + pixel * s.channels;
      const T* other = s.color + neighbour(pixel, side, s.image.width) * s.channels;
      for (int64_t c = 0; c < s.channels; ++c) out[pixel * s.channels + c] += w * (other[c] - here[c]);
    }
  });
}

template <class T>
struct Forward {
  Scene<T> s;
  T* out;
  uint8_t* flags;
  uint8_t* facing = nullptr;

  void plan(Workspace& workspace) {
    s.marks = workspace.take<uint32_t>(s.mark_words());
    facing = workspace.take<uint8_t>(s.geometry_views() * s.triangles);
  }

  void run(Queue& queue) {
    const int64_t pixels = s.image.views * s.image.height * s.image.width, meshes = s.geometry_views() * s.triangles;
    queue.copy(out, s.color, pixels * s.channels * static_cast<int64_t>(sizeof(T)));
    queue.fill_bytes(flags, 0, meshes);
    if (!s.has_mesh()) return;
    queue.launch_items(find_facing<T>, meshes, s, meshes, facing);
    queue.launch_items(find_silhouettes<T>, meshes, s, meshes, facing, flags);
    mark_pairs(queue, s);
    queue.launch_items(blend_pixels<T>, marked_items(s), s, out);
  }
};

// ---- Backward ----------------------------------------------------------------------------------------------

template <class T>
struct Gradients {
  const T* out;
  T* color;  // null where not wanted; what is not blended has been copied from `out` before
  T* pos;
};

// d loss / d (weight / total) for what the pixel takes from one side.
template <class T>
LG_DEVICE double gradient_of_share(const Scene<T>& s, const T* grad_out, int64_t here, int64_t other) {
  double through = 0;
  for (int64_t c = 0; c < s.channels; ++c) {
    const double difference = static_cast<double>(s.color[other * s.channels + c]) - s.color[here * s.channels + c];
    through += static_cast<double>(grad_out[here * s.channels + c]) * difference;
  }
  return through;
}

// The gradient of a pixel's colour: of what it keeps, and of what its neighbours take from it.
template <class T>
LG_DEVICE_NOINLINE void write_color_gradient(const Scene<T>& s, const Gradients<T>& g, int64_t view, int64_t row,
                                             int64_t column, int64_t pixel, const PixelWeights& mine) {
  T keeps = 1, gives[4] = {0, 0, 0, 0};
  for (int side = 0; side < 4; ++side) {
    keeps -= static_cast<T>(mine.weight[side] / mine.total);
    const PairPlace p = pair_at(row, column, side);
    if (!is_marked(s, view, p)) continue;
    const int64_t r = row + (side == below) - (side == above), c = column + (side == right) - (side == left);
    const PixelWeights theirs = pixel_weights(s, view, r, c, nullptr);
    gives[side] = static_cast<T>(theirs.weight[side ^ 1] / theirs.total);
  }
  for (int64_t c = 0; c < s.channels; ++c) {
    T sum = keeps * g.out[pixel * s.channels + c];
    for (int side = 0; side < 4; ++side) {
      if (gives[side] != 0) sum += gives[side] * g.out[neighbour(pixel, side, s.image.width) * s.channels + c];
    }
    g.color[pixel * s.channels + c] = sum;
  }
}

// What moves a silhouette edge: gradients of its two ends, and where these lie.
template <class T>
struct EdgeGradient {
  int64_t edge = -1;  // 3 * triangle + number; -1: none
  T value[8] = {};
};

template <class T>
LG_DEVICE_NOINLINE EdgeGradient<T> edge_gradient(const Scene<T>& s, int64_t view, const PairBlend& blend,
                                                 double grad_weight) {
  EdgeGradient<T> out;
  if (blend.crossing.clamped) return out;
  const double grad = blend.crossing.distance < 0.5 ? -grad_weight : grad_weight;
  const int edge = blend.crossing.edge;
  const SafeSurface<T> surface = s.surface(view);
  double grad_a[4], grad_b[4];
  crossing_gradients(surface.corner(blend.crossing.triangle, (edge + 1) % 3),
                     surface.corner(blend.crossing.triangle, (edge + 2) % 3), blend.view, grad_a, grad_b);
  out.edge = 3 * static_cast<int64_t>(blend.crossing.triangle) + edge;
  for (int i = 0; i < 4; ++i) {
    out.value[i] = static_cast<T>(grad * grad_a[i]);
    out.value[4 + i] = static_cast<T>(grad * grad_b[i]);
  }
  return out;
}

// Adds the gradients of the lanes' edges, those of one edge together. Called by all lanes of a warp.
template <class T>
LG_DEVICE void add_edge(const Scene<T>& s, int64_t view, EdgeGradient<T>& g, const GradientSum<T>& sum, T* grad_pos) {
  if (!warp_any(g.edge >= 0)) return;
  const uint32_t peers = warp_match(g.edge);
  add_up_peers(peers, g.value);
  if (g.edge < 0 || !is_lowest(peers)) return;
  const SafeSurface<T> surface = s.surface(view);
  const int64_t triangle = g.edge / 3, base = s.shared ? 0 : view * s.vertices;
  const int edge = static_cast<int>(g.edge % 3);
  for (int end = 0; end < 2; ++end) {
    const int64_t row = base + surface.vertex(triangle, (edge + 1 + end) % 3);
    for (int i = 0; i < 4; ++i) sum.add(grad_pos + 4 * row + i, 4 * row + i, g.value[4 * end + i]);
  }
}

template <class T>
__global__ void __launch_bounds__(128)
    backward_pixels(const __grid_constant__ Scene<T> s, const __grid_constant__ Gradients<T> g,
                    const __grid_constant__ GradientSum<T> sum) {
  for_marked_pixels(s, [&](int64_t view, int64_t row, int64_t column, bool there) {
    const int64_t pixel = (view * s.image.height + row) * s.image.width + column;
    PairBlend blends[4];
    PixelWeights mine = {{0, 0, 0, 0}, 1};
    double through[4] = {0, 0, 0, 0}, mean = 0;
    if (there) {
      mine = pixel_weights(s, view, row, column, blends);
      for (int side = 0; g.pos && side < 4; ++side) {
        if (mine.weight[side] == 0) continue;
        through[side] = gradient_of_share(s, g.out, pixel, neighbour(pixel, side, s.image.width));
        mean += through[side] * mine.weight[side] / mine.total;
      }
      if (g.color) write_color_gradient(s, g, view, row, column, pixel, mine);
    }
    for (int side = 0; g.pos && side < 4; ++side) {
      EdgeGradient<T> edge;
      if (mine.weight[side] != 0) {
        const double grad = mine.total > 1 ? (through[side] - mean) / mine.total : through[side];
        edge = edge_gradient(s, view, blends[side], grad);
      }
      add_edge(s, view, edge, sum, g.pos);
    }
  });
}

template <class T>
struct Backward {
  Scene<T> s;
  Gradients<T> g;
  GradientSums<T> sums;

  int64_t places() const { return 4 * (s.shared ? 1 : s.image.views) * s.vertices; }

  void plan(Workspace& workspace) {
    s.marks = workspace.take<uint32_t>(s.mark_words());
    if (g.pos) sums.plan(workspace);
  }

  void run(Queue& queue) {
    const int64_t values = s.image.views * s.image.height * s.image.width * s.channels;
    if (g.color) queue.copy(g.color, g.out, values * static_cast<int64_t>(sizeof(T)));
    if (g.pos) queue.fill_bytes(g.pos, 0, places() * static_cast<int64_t>(sizeof(T)));
    if (!s.has_mesh()) return;
    mark_pairs(queue, s);
    if (!g.pos) {
      pass(queue, GradientSum<T>{});
      return;
    }
    sums.run(queue, [&](const GradientSum<T>& sum) { pass(queue, sum); });
    sums.finish(queue, 0, places(), g.pos);
  }

 private:
  void pass(Queue& queue, const GradientSum<T>& sum) {
    queue.launch(backward_pixels<T>, dim3(static_cast<unsigned>(std::min(divide_up(marked_items(s), 128), max_grid_x))),
                 dim3(128), s, g, sum);
  }
};

template <class T>
Scene<T> make_scene(const void* color, const int32_t* frag_tri, const void* depth, const void* pos, const int32_t* tri,
                    const int32_t* topology, int32_t shared, int64_t views, int64_t vertices, int64_t triangles,
                    int64_t height, int64_t width, int64_t channels, int32_t unbounded, const uint8_t* flags) {
  return {static_cast<const T*>(color),
          frag_tri,
          static_cast<const T*>(depth),
          static_cast<const T*>(pos),
          tri,
          topology,
          shared != 0,
          vertices,
          triangles,
          {views, height, width},
          channels,
          unbounded != 0,
          flags,
          nullptr};
}

}  // namespace
}  // namespace lg

int32_t lg_antialias_forward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                             const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                             int32_t shared_positions, int64_t views, int64_t vertices, int64_t triangles,
                             int64_t height, int64_t width, int64_t channels, int32_t unbounded, int64_t, void* out,
                             uint8_t* out_notes) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    return lg::run_op(
        call, lg::Forward<T>{lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views,
                                               vertices, triangles, height, width, channels, unbounded, out_notes),
                             static_cast<T*>(out), out_notes});
  });
}

int32_t lg_antialias_backward(lg_call* call, int32_t dtype, const void* color, const int32_t* frag_tri,
                              const void* depth, const void* pos, const int32_t* tri, const int32_t* topology,
                              const uint8_t* notes, int32_t shared_positions, int64_t views, int64_t vertices,
                              int64_t triangles, int64_t height, int64_t width, int64_t channels, int32_t unbounded,
                              int64_t, const void* grad_out, void* grad_color, void* grad_pos) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const int64_t slots = 4 * (shared_positions ? 1 : views) * vertices;
    return lg::run_op(
        call, lg::Backward<T>{lg::make_scene<T>(color, frag_tri, depth, pos, tri, topology, shared_positions, views,
                                                vertices, triangles, height, width, channels, unbounded, notes),
                              {static_cast<const T*>(grad_out), static_cast<T*>(grad_color), static_cast<T*>(grad_pos)},
                              {call->deterministic != 0, slots, 4 * views * height * width}});
  });
}
