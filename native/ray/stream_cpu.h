// What many rays hit that may go in any directions, on the CPU. The arithmetic of a ray and a triangle is that of a ray
// alone (traverse.h), and so is what it hits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ray/bvh.h"
#include "ray/group_cpu.h"
#include "ray/packet_cpu.h"
#include "ray/ray_lanes_cpu.h"

namespace lg::ray {

constexpr int most_in_stream = 512;

// Packets of few rays are slower than these alone.
constexpr int least_in_packet = 4;

// Calls trace(rays, numbers, how many) for rays that go together, a Packet, and for others, a RayGroup. Trees with a
// single node have no need of rays that go the same way.
template <class T, class Trace>
void in_packets(const BvhView<T>& bvh, const Ray<T>* rays, int count, Trace&& trace) {
  int numbers[most_in_stream + packet_size];
  RayLanes<T> given;
  RayGroup<T> group;
  const auto gather = [&](const int* mine, int size) {
    given.gather([&](int l) { return rays[mine[l < size ? l : 0]]; });
  };
  const auto trace_alone = [&](const int* mine, int size) {
    group.load(given, size, bvh.bounds);
    trace(group, mine, size);
  };
  if (bvh.nodes != 1) {
    Packet<T> packet;
    for (int first = 0; first < count; first += packet_size) {
      const int size = std::min(count - first, packet_size);
      for (int l = 0; l < size; ++l) numbers[l] = first + l;
      gather(numbers, size);
      if (size == packet_size && packet.load(given, bvh.bounds)) {
        trace(packet, numbers, size);
      } else {
        trace_alone(numbers, size);
      }
    }
    return;
  }
  Packet<T, true> packet;
  int8_t axis[most_in_stream];
  for (int i = 0; i < count; ++i) axis[i] = static_cast<int8_t>(direction_of(rays[i].direction).axis[2]);
  for (int main = 0; main < 3; ++main) {
    int found = 0;
    for (int i = 0; i < count; ++i) {
      numbers[found] = i;
      found += axis[i] == main;
    }
    for (int first = 0; first < found; first += packet_size) {
      const int size = std::min(found - first, packet_size);
      const int* mine = numbers + first;
      gather(mine, size);
      if (size >= least_in_packet && packet.load_mixed(given, bvh.bounds)) {
        trace(packet, mine, size);
      } else {
        trace_alone(mine, size);
      }
    }
  }
}

// What rays hit, at most most_in_stream of them.
template <class T>
void closest_hits(const BvhView<T>& bvh, const Ray<T>* rays, int count, Hit<T>* hits) {
  in_packets(bvh, rays, count, [&](auto& together, const int* numbers, int size) {
    together.closest_hits(bvh, [&](int l, const Hit<T>& hit) {
      if (l < size) hits[numbers[l]] = hit;
    });
  });
}

// Whether they hit anything.
template <class T>
void any_hits(const BvhView<T>& bvh, const Ray<T>* rays, int count, bool* hits) {
  in_packets(bvh, rays, count, [&](auto& together, const int* numbers, int size) {
    const uint32_t found = together.any_hits(bvh);
    for (int l = 0; l < size; ++l) hits[numbers[l]] = (found >> l & 1) != 0;
  });
}

// stream_cpu.cpp compiles them for all.
#define LG_STREAMS(prefix, T)                                                        \
  prefix template void closest_hits(const BvhView<T>&, const Ray<T>*, int, Hit<T>*); \
  prefix template void any_hits(const BvhView<T>&, const Ray<T>*, int, bool*);
LG_STREAMS(extern, float)
LG_STREAMS(extern, double)

}  // namespace lg::ray
