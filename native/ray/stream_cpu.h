// What many rays hit that may go in any directions, on the CPU. The arithmetic of a ray and a triangle is that of a ray
// alone (traverse.h), and so is what it hits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ray/bvh.h"
#include "ray/packet_cpu.h"
#include "ray/traverse.h"

namespace lg::ray {

constexpr int most_in_stream = 512;

// Packets of few rays are slower than these alone.
constexpr int least_in_packet = 4;

// Calls of_packet(packet, rays' numbers, how many) for rays that go together, of_one(number) for others. Trees with a
// single node have no need of rays that go the same way.
template <class T, class OfPacket, class OfOne>
void in_packets(const BvhView<T>& bvh, const Ray<T>* rays, int count, OfPacket&& of_packet, OfOne&& of_one) {
  int numbers[most_in_stream + packet_size];
  if (bvh.nodes != 1) {
    Packet<T> packet;
    for (int first = 0; first < count; first += packet_size) {
      const int size = std::min(count - first, packet_size);
      for (int l = 0; l < size; ++l) numbers[l] = first + l;
      if (size == packet_size && packet.load([&](int l) { return rays[first + l]; }, bvh.bounds)) {
        of_packet(packet, numbers, size);
      } else {
        for (int l = 0; l < size; ++l) of_one(numbers[l]);
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
      const auto ray_of = [&](int l) { return rays[mine[l < size ? l : 0]]; };
      if (size >= least_in_packet && packet.load_mixed(ray_of, bvh.bounds)) {
        of_packet(packet, mine, size);
      } else {
        for (int l = 0; l < size; ++l) of_one(mine[l]);
      }
    }
  }
}

// What rays hit, at most most_in_stream of them.
template <class T>
void closest_hits(const BvhView<T>& bvh, const Ray<T>* rays, int count, Hit<T>* hits) {
  in_packets(
      bvh, rays, count,
      [&](auto& packet, const int* numbers, int size) {
        packet.closest_hits(bvh, [&](int l, const Hit<T>& hit) {
          if (l < size) hits[numbers[l]] = hit;
        });
      },
      [&](int i) { hits[i] = closest_hit(bvh, rays[i]); });
}

// Whether they hit anything.
template <class T>
void any_hits(const BvhView<T>& bvh, const Ray<T>* rays, int count, bool* hits) {
  in_packets(
      bvh, rays, count,
      [&](auto& packet, const int* numbers, int size) {
        const uint32_t found = packet.any_hits(bvh);
        for (int l = 0; l < size; ++l) hits[numbers[l]] = (found >> l & 1) != 0;
      },
      [&](int i) { hits[i] = any_hit(bvh, rays[i]); });
}

// stream_cpu.cpp compiles them for all.
#define LG_STREAMS(prefix, T)                                                        \
  prefix template void closest_hits(const BvhView<T>&, const Ray<T>*, int, Hit<T>*); \
  prefix template void any_hits(const BvhView<T>&, const Ray<T>*, int, bool*);
LG_STREAMS(extern, float)
LG_STREAMS(extern, double)

}  // namespace lg::ray
