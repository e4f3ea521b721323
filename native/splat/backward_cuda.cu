// The reverse of compositing on CUDA, in the forward pass's launches (forward_cuda.cu).
//
// Tiles go through their primitives from the last one that any of their pixels has taken. What the pixels of a warp
// have to say about a primitive is added up in the warp; then each of its lanes adds one value to memory. What concerns
// the camera, the background and gamma is added up in double precision: over a block, then with atomics.
#include <type_traits>

#include "parallel/gradients_cuda.h"
#include "splat/tile_cuda.h"

namespace lg {
namespace splat {
namespace {

// Where the gradients of one input go: to its tensor, or to nothing.
template <class T>
struct Target {
  T* data;
  int64_t first_slot;  // of GradientSum
  int64_t components;  // from one primitive to the next
  bool of_every_view;

  LG_DEVICE int64_t at(int64_t view, int64_t primitives) const {
    return of_every_view ? view * primitives * components : 0;
  }
};

template <class T>
struct Targets {
  Target<T> position, shape, opacity, payload, depth;
};

// Sums over a view, in this order: 4 of the lens, gamma, background; and 12 of its matrix, apart.
constexpr int lens_values = 4, gamma_value = 4, background_value = 5, matrix_values = 12;

struct ViewSums {
  double* data;  // [views, stride]; null where not wanted
  int64_t stride;
};

// Which place in memory this lane adds to: that of one of the values of a primitive.
template <class T, class Footprint, int Group>
struct LaneTarget {
  static constexpr int shape = Footprint::position, opacity = shape + Footprint::shape, payload = opacity + 1,
                       depth = payload + Group, values = depth + 1;
  static_assert(values <= 32, "a lane for each value");

  T* place = nullptr;  // of the first primitive
  int64_t slot = 0, step = 0;

  LG_DEVICE LaneTarget(const Targets<T>& to, const Compositing<T>& c, int64_t view) {
    const auto lane = static_cast<int>(lane_id());
    if (lane < shape)
      take(to.position, c, view, lane);
    else if (lane < opacity)
      take(to.shape, c, view, lane - shape);
    else if (lane < payload)
      take(to.opacity, c, view, 0);
    else if (lane < depth && c.first_channel + lane - payload < c.scene.channels)
      take(to.payload, c, view, c.first_channel + lane - payload);
    else if (lane == depth)
      take(to.depth, c, view, 0);
  }

  LG_DEVICE void add(const GradientSum<T>& sum, int64_t p, T value) const {
    if (place) sum.add(place + p * step, slot + p * step, value);
  }

 private:
  LG_DEVICE void take(const Target<T>& to, const Compositing<T>& c, int64_t view, int64_t component) {
    if (!to.data) return;
    const int64_t at = to.at(view, c.scene.primitives) + component;
    place = to.data + at;
    slot = to.first_slot + at;
    step = to.components;
  }
};

// Gradients of the channels that tell of depths along one pixel's ray, and what these depths were. Only the first
// launch has them, as it has alpha and depth.
template <class T, bool Present>
struct SurveyGradient {};
template <class T>
struct SurveyGradient<T, true> {
  T grad_spread = 0, grad_middle = 0, mean = 0, total = 0, spread = 0;

  LG_DEVICE void begin(const T* grads, const T* channels, T rest, T mean_depth) {
    grad_spread = grads[0];
    grad_middle = grads[1];
    mean = mean_depth;
    total = 1 - rest;
    if (rest < 1) spread = channels[0] / total;
  }
  // The distortion is A S, A the sum of weights, S that of w (m - mean)^2. Its derivative by a weight is the weighted
  // sum of squared distances from m, S + A (m - mean)^2; by m it is 2 w A (m - mean).
  LG_DEVICE T of_weight(const DepthMeasure<T>& measure, T depth) const {
    const T off = measure.of(depth) - mean;
    return grad_spread * (spread + total * off * off);
  }
  LG_DEVICE T of_depth(const DepthMeasure<T>& measure, T weight, T depth, bool crossed) const {
    const T off = measure.of(depth) - mean;
    return 2 * grad_spread * total * weight * off * measure.slope(depth) + (crossed ? grad_middle : T(0));
  }
};

// One pixel on the way back.
template <class T, Blend blend, int Group, bool Surveyed>
struct BackwardPixel {
  T rest;    // transmittance; softmax: exponent
  T scale;   // one by the sum of weights
  T behind;  // gradient times what is behind; weighted sums: times all of it
  T grad_alpha, grad_depth, grad_image[Group], ray[3], background[Group], gamma;
  SurveyGradient<T, Surveyed> survey;
  int32_t last;

  LG_DEVICE BackwardPixel(const Compositing<T>& c, const ImageGradients<T>& g, const TilePlace& tile, T inverse_gamma) {
    rest = scale = behind = grad_alpha = grad_depth = gamma = 0;
    last = -1;
#pragma unroll
    for (int k = 0; k < 3; ++k) ray[k] = 0;
#pragma unroll
    for (int i = 0; i < Group; ++i) grad_image[i] = background[i] = 0;
    if (tile.inside) begin(c, g, tile, inverse_gamma);
  }

 private:
  LG_DEVICE void begin(const Compositing<T>& c, const ImageGradients<T>& g, const TilePlace& tile, T inverse_gamma) {
    const T* behind_all = c.scene.background_of(tile.view);
    const int64_t channels = c.scene.channels + (Surveyed ? 2 : 0);  // of the image
    T on_background = 0, on_all = 0;
    for (int i = 0; g.image && i < Group; ++i) {
      const int64_t channel = c.first_channel + i;
      if (channel >= c.scene.channels) break;
      const int64_t at = tile.pixel * channels + channel;
      grad_image[i] = g.image[at];
      on_background += grad_image[i] * behind_all[channel];
      on_all += grad_image[i] * g.out_image[at];
    }
    if (c.first_channel == 0 && g.alpha) {
      grad_alpha = g.alpha[tile.pixel];
      on_all += grad_alpha * g.out_alpha[tile.pixel];
    }
    if (c.first_channel == 0 && g.depth) {
      grad_depth = g.depth[tile.pixel];
      on_all += grad_depth * g.out_depth[tile.pixel];
    }
    const T a = g.state[2 * tile.pixel], b = g.state[2 * tile.pixel + 1];
    if constexpr (Surveyed) {
      const int64_t at = tile.pixel * channels + c.scene.channels;
      if (c.first_channel == 0 && g.image) survey.begin(g.image + at, g.out_image + at, a, b);
    }
    T share = a;  // of the background in the pixel
    rest = a;
    behind = on_background;
    if (blend == Blend::softmax) {
      const T empty = T(background_exponent) * inverse_gamma;
      share = exponential(empty - a) / b;
      scale = 1 / b;
      behind = on_all;
      gamma = -share * (on_background - on_all) * empty * inverse_gamma;
    } else if (blend == Blend::normalised) {
      scale = 1 / maximum(b, T(least_sum));
      if (b >= T(least_sum)) behind = on_all;
    }
#pragma unroll
    for (int i = 0; i < Group; ++i) background[i] = share * grad_image[i];
    last = g.last[tile.pixel];
  }
};

// What one pixel says about one primitive, before it is added up over pixels.
template <class T, class Footprint, int Group>
struct Sums {
  static constexpr int opacity = Footprint::sums, payload = opacity + 1, depth = payload + Group, count = depth + 1;
  T value[count];
};

// What blending hands on to the footprint.
template <class T>
struct SampleGradient {
  T weight, height, depth, opacity;
};

template <class T, int Group>
LG_DEVICE SampleGradient<T> pull_softly(const Compositing<T>& c, T inverse_gamma, const Sample<T>& sample, T opacity,
                                        T seen, BackwardPixel<T, Blend::softmax, Group, false>& x) {
  const T z = T(1) - (sample.depth - c.min_depth) * c.inverse_range, power = opacity * z * inverse_gamma;
  const T per_height = opacity * exponential(power - x.rest) * x.scale, difference = seen - x.behind;
  SampleGradient<T> out;
  out.weight = per_height * sample.height;
  out.height = per_height * difference;
  const T grad_power = out.weight * difference;
  out.opacity = grad_power * (1 / opacity + z * inverse_gamma);
  out.depth = out.weight * x.grad_depth - grad_power * opacity * inverse_gamma * c.inverse_range;
  x.gamma -= grad_power * power * inverse_gamma;
  return out;
}

template <class T, Blend blend, int Group, bool Surveyed>
LG_DEVICE SampleGradient<T> pull_sharply(const Compositing<T>& c, const Sample<T>& sample, T opacity, T seen,
                                         int32_t place, BackwardPixel<T, blend, Group, Surveyed>& x) {
  const T strength = opacity * sample.height, alpha = minimum(strength, c.alpha_max);
  T weight = 0, grad_alpha = 0, of_survey = 0;
  if (!(c.alpha_min <= alpha && T(0) < alpha)) return {0, 0, 0, 0};
  if (blend == Blend::alpha) {
    const T after = x.rest, before = after / maximum(T(1) - alpha, least_rest<T>());
    weight = before * alpha;
    grad_alpha = before * (seen - x.behind);
    x.rest = before;
    x.behind = alpha * seen + (T(1) - alpha) * x.behind;
    if constexpr (Surveyed) {
      of_survey = x.survey.of_depth(c.measure, weight, sample.depth, T(0.5) <= before && after < T(0.5));
    }
  } else if (blend == Blend::nearest) {
    weight = x.last == place ? T(1) : T(0);
  } else {
    weight = alpha * x.scale;
    grad_alpha = x.scale * (seen - x.behind);
  }
  if (!(strength <= c.alpha_max)) grad_alpha = 0;  // nothing moves alpha where it is held at its maximum
  return {weight, grad_alpha * opacity, weight * x.grad_depth + of_survey, grad_alpha * sample.height};
}

// False where the pixel does not see the primitive at all.
template <class T, class Footprint, Blend blend, int Group, bool Surveyed>
LG_DEVICE bool pull_pixel(const Compositing<T>& c, T inverse_gamma, const Stage<T, Footprint, Group>& stage, int at,
                          int32_t place, const Pixels<T>& pixels, BackwardPixel<T, blend, Group, Surveyed>& x,
                          Sums<T, Footprint, Group>& sums) {
  const auto& item = stage.item[at];
  const T opacity = stage.opacity[at];
  auto sample = Footprint::sample(item, pixels);
  if (!sample.reached) return false;
  T seen = x.grad_alpha + x.grad_depth * sample.depth;  // gradient times what this one shows
#pragma unroll
  for (int i = 0; i < Group; ++i) seen += x.grad_image[i] * stage.payload[at][i];
  if constexpr (Surveyed) seen += x.survey.of_weight(c.measure, sample.depth);
  SampleGradient<T> g;
  if constexpr (blend == Blend::softmax) {
    g = pull_softly(c, inverse_gamma, sample, opacity, seen, x);
  } else {
    g = pull_sharply(c, sample, opacity, seen, place, x);
    sums.value[Sums<T, Footprint, Group>::depth] = g.depth;
  }
  sums.value[Sums<T, Footprint, Group>::opacity] = g.opacity;
#pragma unroll
  for (int i = 0; i < Group; ++i) sums.value[Sums<T, Footprint, Group>::payload + i] = g.weight * x.grad_image[i];
  if constexpr (blend != Blend::nearest) {
    T* ray = Footprint::needs_plane ? x.ray : nullptr;
    Footprint::pull(item, pixels, sample, g.height, g.depth, sums.value, ray);
  }
  return true;
}

// From a warp's sums to the values of a primitive, of which this lane adds one.
template <class T, class Footprint, int Group>
LG_DEVICE void add_primitive(const GradientSum<T>& sum, const LaneTarget<T, Footprint, Group>& to,
                             const Stage<T, Footprint, Group>& stage, int at, const Sums<T, Footprint, Group>& sums) {
  using Lane = LaneTarget<T, Footprint, Group>;
  T record[Lane::values];
  Footprint::finish(stage.item[at], sums.value, record);
#pragma unroll
  for (int k = Lane::opacity; k < Lane::values; ++k) record[k] = sums.value[Footprint::sums + k - Lane::opacity];
  T mine = 0;
#pragma unroll
  for (int k = 0; k < Lane::values; ++k) mine = static_cast<int>(lane_id()) == k ? record[k] : mine;
  to.add(sum, stage.primitive[at], mine);
}

// Adds the block's sums of what concerns its view. of_warps: shared.
template <class T, class Footprint, Blend blend, int Group, bool Surveyed>
LG_DEVICE void add_view(const Compositing<T>& c, const GradientSum<double>& sum, const ViewSums& to,
                        const TilePlace& tile, const Camera& camera, const Pixels<T>& pixels,
                        const BackwardPixel<T, blend, Group, Surveyed>& x,
                        T (&of_warps)[tile_warps][background_value + Group]) {
  constexpr int count = background_value + Group;
  T values[count] = {};
  if constexpr (Footprint::needs_plane) {
    if (tile.inside) {  // x = (column - cx) / fx, y = (cy - row) / fy
      T grad_x, grad_y;
      Footprint::pull_plane(pixels, x.ray, &grad_x, &grad_y);
      const T ix = T(1 / camera.fx), iy = T(1 / camera.fy);
      values[0] = -grad_x * pixels.x * ix;
      values[1] = -grad_y * pixels.y * iy;
      values[2] = -grad_x * ix;
      values[3] = grad_y * iy;
    }
  }
  values[gamma_value] = x.gamma;
#pragma unroll
  for (int i = 0; i < Group; ++i) values[background_value + i] = x.background[i];
  add_up_warp(values);
  const auto lane = static_cast<int>(lane_id()), warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int k = 0; k < count; ++k) {
    if (lane == k) of_warps[warp][k] = values[k];
  }
  __syncthreads();
  if (warp != 0 || lane >= count ||
      (lane >= background_value && c.first_channel + lane - background_value >= c.scene.channels))
    return;
  double total = 0;
  for (int w = 0; w < tile_warps; ++w) total += double(of_warps[w][lane]);
  const int64_t place = tile.view * to.stride + lane + (lane >= background_value ? c.first_channel : 0);
  sum.add(to.data + place, place, total);
}

template <class T, class Footprint, int Group>
struct Shared {
  Stage<T, Footprint, Group> stage;
  T of_warps[tile_warps][background_value + Group];
  int32_t deepest;
};

template <class T>
struct Pulling {
  ImageGradients<T> images;
  Targets<T> targets;
  ViewSums views;
  GradientSum<T> sum;
  GradientSum<double> view_sum;
};

template <class T, class Footprint, Blend blend, int Group>
LG_DEVICE void pull_tile(const Compositing<T>& c, const Pulling<T>& g, int64_t tile_number,
                         Shared<T, Footprint, Group>& s) {
  constexpr int size = Stage<T, Footprint, Group>::size;
  const TilePlace tile(c.scene.tiles, c.lists, tile_number);
  const Sequence sequence(c.lists, tile_number);
  if (threadIdx.x == 0) {
    s.stage.camera = c.scene.camera(tile.view);
    s.deepest = -1;
  }
  __syncthreads();
  const auto pixels = tile.pixels<T, Footprint::needs_plane>(s.stage.camera);
  const T inverse_gamma = c.inverse_gamma();
  const LaneTarget<T, Footprint, Group> to(g.targets, c, tile.view);
  BackwardPixel<T, blend, Group, (Footprint::extras > 0)> x(c, g.images, tile, inverse_gamma);
  if (x.last >= 0) atomic_max(&s.deepest, x.last);
  __syncthreads();
  for (int64_t first = s.deepest / size * size; first >= 0 && s.deepest >= 0; first -= size) {
    __syncthreads();
    const auto k = static_cast<int>(threadIdx.x);
    if (k < size) s.stage.load(c, tile, sequence, first + k, k);
    __syncthreads();
    for (int part = size - 32; part >= 0; part -= 32) {
      if (!warp_any(x.last >= first + part)) continue;
      uint32_t any;
      const uint32_t met = s.stage.met(tile, part, &any);
      while (any) {
        const int i = highest_bit(any), at = part + i;
        any &= ~(1u << i);
        const auto place = static_cast<int32_t>(first + at);
        Sums<T, Footprint, Group> sums = {};
        const bool used =
            (met >> i & 1) && x.last >= place && pull_pixel(c, inverse_gamma, s.stage, at, place, pixels, x, sums);
        if (!warp_any(used)) continue;
        add_up_warp(sums.value);
        add_primitive(g.sum, to, s.stage, at, sums);
      }
    }
  }
  if (g.views.data) add_view<T, Footprint>(c, g.view_sum, g.views, tile, s.stage.camera, pixels, x, s.of_warps);
}

template <class T, class Footprint, Blend blend, int Group>
__global__ void __launch_bounds__(tile_threads)
    pull_tiles(const __grid_constant__ Compositing<T> c, const __grid_constant__ Pulling<T> g, int64_t tiles) {
  __shared__ Shared<T, Footprint, Group> shared;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    __syncthreads();
    pull_tile<T, Footprint, blend, Group>(c, g, tile, shared);
  }
}

// ---- After all tiles ---------------------------------------------------------------------------------------

// From gradients of places before the cameras (in_view [views, primitives, 3]) to those of places in the world and of
// the views' matrices (matrices [views, matrix_values]). A thread sees to the same primitives in all views.
template <class T>
__global__ void __launch_bounds__(128) pull_places(const __grid_constant__ Scene<T> scene, const T* in_view, T* out,
                                                   GradientSum<double> sum, double* matrices) {
  const bool shared = scene.position.views <= 1;
  for (int64_t v = 0; v < scene.tiles.views; ++v) {
    const Camera camera = scene.camera(v);
    double values[matrix_values] = {};
    for (int64_t p = first_item(); p < scene.primitives; p += item_step()) {
      const T* g = in_view + 3 * (v * scene.primitives + p);
      const bool any = g[0] != 0 || g[1] != 0 || g[2] != 0;  // else its place may be no number
      const T* x = scene.position.at(v, p);
      for (int j = 0; j < 3; ++j) {
        double world = 0;
        for (int k = 0; k < 3 && any; ++k) {
          world += double(g[k]) * camera.rotation[3 * k + j];
          values[4 * k + j] += double(g[k]) * double(x[j]);
        }
        if (!out) continue;
        T* to = out + 3 * ((shared ? 0 : v * scene.primitives) + p) + j;
        *to = shared && v > 0 ? *to + T(world) : T(world);
      }
      for (int k = 0; k < 3; ++k) values[4 * k + 3] += double(g[k]);
    }
    if (!matrices) continue;
    add_up_warp(values);
    if (lane_id() != 0) continue;
    for (int k = 0; k < matrix_values; ++k) {
      const double sign = k / 4 == 2 ? -1 : 1;  // as in Scene::camera
      sum.add(matrices + v * matrix_values + k, v * matrix_values + k, sign * values[k]);
    }
  }
}

template <class T>
struct ViewOutputs {
  T *background, *view, *intrinsics, *gamma;
};

// One thread for each value of one view, or of the sum over views where these share it.
template <class T>
__global__ void __launch_bounds__(items_per_block)
    write_views(const __grid_constant__ Scene<T> scene, ViewSums sums, const double* matrices, ViewOutputs<T> out) {
  const int64_t views = scene.tiles.views, channels = scene.channels;
  const int64_t backgrounds = scene.background_views * channels;
  for (int64_t i = first_item(); i < backgrounds && out.background; i += item_step()) {
    double total = 0;
    for (int64_t v = i / channels; v < views; v += scene.background_views) {
      total += sums.data[v * sums.stride + background_value + i % channels];
    }
    out.background[i] = T(total);
  }
  for (int64_t i = first_item(); i < views * lens_values && out.intrinsics; i += item_step()) {
    out.intrinsics[i] = T(sums.data[i / lens_values * sums.stride + i % lens_values]);
  }
  for (int64_t i = first_item(); i < 16 * views && out.view; i += item_step()) {
    out.view[i] = T(i % 16 < matrix_values ? matrices[i / 16 * matrix_values + i % 16] : 0.0);
  }
  if (first_item() == 0 && out.gamma) {
    double total = 0;
    for (int64_t v = 0; v < views; ++v) total += sums.data[v * sums.stride + gamma_value];
    *out.gamma = T(total);
  }
}

// A tensor of gradients, and where its sums begin.
template <class T>
struct Tensor {
  T* data;
  int64_t first_slot, size;
};

// grads: position, shape, depth, opacity, payload, background, view, intrinsics, gamma; any null.
template <class T>
class Backward {
 public:
  Backward(const Scene<T>& scene, const ImageGradients<T>& images, const T* gamma, int32_t footprint, int32_t blend,
           void* const* grads, bool deterministic)
      : scene_(scene),
        images_(images),
        gamma_(gamma),
        footprint_(footprint),
        blend_(blend),
        deterministic_(deterministic),
        items_(scene.tiles.views * scene.primitives),
        binning_(items_, scene.tiles),
        stride_(background_value + scene.channels),
        sums_(deterministic, std::max<int64_t>(1, slots(grads)), binning_.tiles() * tile_warps * launches()),
        view_sums_(deterministic, scene.tiles.views * stride_, binning_.tiles() * launches()),
        matrix_sums_(deterministic, scene.tiles.views * matrix_values, scene.primitives) {
    const auto to = [&](int i) { return static_cast<T*>(grads[i]); };
    position_ = to(0);
    out_ = {to(5), to(6), to(7), to(8)};
  }

  void plan(Workspace& workspace) {
    binning_.plan(workspace);
    if (in_world()) in_view_ = workspace.take<T>(3 * items_);
    views_ = workspace.take<double>(scene_.tiles.views * stride_);
    matrices_ = workspace.take<double>(scene_.tiles.views * matrix_values);
    sums_.plan(workspace);
    view_sums_.plan(workspace);
    matrix_sums_.plan(workspace);
    if (in_world()) tensors_[0].data = in_view_;
  }

  void run(Queue& queue) {
    for (const Tensor<T>& tensor : tensors_) {
      if (tensor.data) queue.fill_bytes(tensor.data, 0, tensor.size * static_cast<int64_t>(sizeof(T)));
    }
    clear(queue, views_, scene_.tiles.views * stride_);
    clear(queue, matrices_, scene_.tiles.views * matrix_values);
    if (deterministic_) view_sums_.clear(queue);
    const TileLists lists = binning_.run(queue, scene_, footprint_);
    sums_.run(queue, [&](const GradientSum<T>& sum) { pull(queue, lists, sum); });
    for (const Tensor<T>& tensor : tensors_) {
      if (tensor.data) sums_.finish(queue, tensor.first_slot, tensor.size, tensor.data);
    }
    view_sums_.finish(queue, 0, scene_.tiles.views * stride_, views_);
    finish(queue);
  }

 private:
  static void clear(Queue& queue, double* data, int64_t count) {
    queue.fill_bytes(data, 0, count * static_cast<int64_t>(sizeof *data));
  }
  // At most so many launches over the tiles, each of some channels.
  int64_t launches() const { return divide_up(std::max<int64_t>(1, scene_.channels), 3); }
  // Places in the world reach the image through those before the camera, of every view.
  bool in_world() const { return scene_.view != nullptr; }
  bool wants_views() const { return out_.background || out_.intrinsics || out_.gamma; }

  // Gives the tensors of primitives their slots, and returns how many these are.
  int64_t slots(void* const* grads) {
    const PerPrimitive<T>* inputs[5] = {&scene_.position, &scene_.shape, &scene_.depth, &scene_.opacity,
                                        &scene_.payload};
    int64_t slots = 0;
    for (int i = 0; i < 5; ++i) {
      const bool per_view = inputs[i]->views > 1 || (i == 0 && in_world());
      tensors_[i] = {static_cast<T*>(grads[i]), slots,
                     (per_view ? scene_.tiles.views : 1) * scene_.primitives * inputs[i]->channels};
      // A gradient of the camera alone needs those of places before it.
      const bool wanted = grads[i] || (i == 0 && in_world());
      slots += wanted ? tensors_[i].size : 0;
    }
    return slots;
  }

  Target<T> target(int i, const PerPrimitive<T>& input) const {
    return {tensors_[i].data, tensors_[i].first_slot, input.channels, input.views > 1 || (i == 0 && in_world())};
  }

  void pull(Queue& queue, const TileLists& lists, const GradientSum<T>& sum) {
    Compositing<T> c = compositing_of(scene_, lists, gamma_);
    const Targets<T> targets = {target(0, scene_.position), target(1, scene_.shape), target(3, scene_.opacity),
                                target(4, scene_.payload), target(2, scene_.depth)};
    const Pulling<T> g = {
        images_, targets, {wants_views() ? views_ : nullptr, stride_}, sum, view_sums_.in_round(sum.round)};
    choose<T>(footprint_, blend_, scene_.channels, [&](auto shape, auto blending, auto group) {
      using Footprint = typename decltype(shape)::type;
      do {
        queue.launch(pull_tiles<T, Footprint, blending.value, group.value>,
                     dim3(static_cast<unsigned>(binning_.tiles())), dim3(tile_threads), c, g, binning_.tiles());
        c.first_channel += group.value;
      } while (c.first_channel < scene_.channels);
    });
  }

  void finish(Queue& queue) {
    if (in_world()) {
      // Few enough blocks that adding up matrices, once per warp and view, does not take long.
      const auto blocks =
          static_cast<unsigned>(std::min<int64_t>(divide_up(scene_.primitives, 128), 8 * multiprocessors()));
      matrix_sums_.run(queue, [&](const GradientSum<double>& sum) {
        queue.launch(pull_places<T>, dim3(blocks), dim3(128), scene_, in_view_, position_, sum,
                     out_.view ? matrices_ : nullptr);
      });
      matrix_sums_.finish(queue, 0, scene_.tiles.views * matrix_values, matrices_);
    }
    const int64_t values = std::max(16 * scene_.tiles.views, scene_.background_views * scene_.channels);
    queue.launch_items(write_views<T>, std::max<int64_t>(1, values), scene_, ViewSums{views_, stride_}, matrices_,
                       out_);
  }

  Scene<T> scene_;
  ImageGradients<T> images_;
  const T* gamma_;
  int32_t footprint_, blend_;
  bool deterministic_;
  int64_t items_;
  BinningPass binning_;
  int64_t stride_;
  Tensor<T> tensors_[5];
  GradientSums<T> sums_;
  GradientSums<double> view_sums_, matrix_sums_;
  T *position_ = nullptr, *in_view_ = nullptr;
  ViewOutputs<T> out_{};
  double *views_ = nullptr, *matrices_ = nullptr;
};

}  // namespace
}  // namespace splat
}  // namespace lg

int32_t lg_splat_backward(lg_call* call, int32_t dtype, const lg_splat_scene* scene, const void* image,
                          const void* alpha, const void* depth, const void* state, const int32_t* last,
                          const void* grad_image, const void* grad_alpha, const void* grad_depth, void* grad_positions,
                          void* grad_shapes, void* grad_depths, void* grad_opacities, void* grad_features,
                          void* grad_background, void* grad_matrix, void* grad_intrinsics, void* grad_gamma) {
  return lg::dispatch_scalar(dtype, [&](auto scalar) {
    using T = decltype(scalar);
    using namespace lg::splat;
    const Scene<T> of_call = make_scene<T>(*scene);
    const int32_t status = check_splats<T>(of_call, scene->footprint, scene->blend);
    if (status != LG_OK) return status;
    const auto in = [](const void* from) { return static_cast<const T*>(from); };
    const ImageGradients<T> given = {in(grad_image), in(grad_alpha), in(grad_depth),
                                     in(image),      in(alpha),      in(depth),
                                     in(state),      last,           grad_intrinsics != nullptr};
    void* const grads[9] = {grad_positions,  grad_shapes, grad_depths,     grad_opacities, grad_features,
                            grad_background, grad_matrix, grad_intrinsics, grad_gamma};
    return lg::run_op(call, Backward<T>(of_call, given, static_cast<const T*>(scene->gamma), scene->footprint,
                                        scene->blend, grads, call->deterministic != 0));
  });
}
