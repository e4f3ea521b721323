// Random numbers that depend on counters alone: a seed, the pixel, the sample and the number of the draw. Neither
// threads nor tiles change them, and a path can be drawn again.
//
// The words are those of lumigrad.types.counters.mixed, with whose help reference/light draws the same numbers.
#pragma once

#include <cstdint>

#include "runtime/config.h"

namespace lg::light {

// 64 bits that hang on all of a number's: the finaliser of MurmurHash3 (A. Appleby).
LG_HD uint64_t mixed(uint64_t number) {
  number = (number ^ number >> 33) * 0xff51afd7ed558ccdULL;
  number = (number ^ number >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return number ^ number >> 33;
}

// 24 bits, so that float32 and float64 follow the same paths.
template <class T>
LG_HD T fraction_of(uint32_t bits) {
  return static_cast<T>(bits >> 8) * T(1.0 / (1 << 24));
}

template <class T>
struct Pair {
  T first, second;
};

// The numbers of one path. Draw n is the same wherever it is drawn.
template <class T>
class Random {
 public:
  Random() = default;
  LG_HD Random(uint64_t seed, uint64_t pixel, uint64_t sample) : key_(mixed(mixed(mixed(seed) + pixel) + sample)) {}

  // Two numbers in [0, 1).
  LG_HD Pair<T> pair(uint32_t draw) const {
    const uint64_t word = mixed(key_ + draw * 0x9e3779b97f4a7c15ULL);
    return {fraction_of<T>(static_cast<uint32_t>(word)), fraction_of<T>(static_cast<uint32_t>(word >> 32))};
  }

 private:
  uint64_t key_;
};

// A number whose bits each depend on the key and on lower bits alone (Laine and Karras 2011).
LG_HD uint32_t permuted(uint32_t number, uint32_t key) {
  number += key;
  number ^= number * 0x6c50b47cu;
  number ^= number * 0xb82f1e52u;
  number ^= number * 0xc7afe638u;
  return number ^ number * 0x8d22f6e6u;
}

LG_HD uint32_t reversed(uint32_t bits) {
  bits = (bits & 0x55555555u) << 1 | (bits >> 1 & 0x55555555u);
  bits = (bits & 0x33333333u) << 2 | (bits >> 2 & 0x33333333u);
  bits = (bits & 0x0f0f0f0fu) << 4 | (bits >> 4 & 0x0f0f0f0fu);
  bits = (bits & 0x00ff00ffu) << 8 | (bits >> 8 & 0x00ff00ffu);
  return bits << 16 | bits >> 16;
}

// Numbers for several samples of one integral that fill the square more evenly than random ones: the first two
// dimensions of Sobol's sequence, in an order and with digits that are random for each point and draw (Burley 2020,
// "Practical Hash-based Owen Scrambling"). Each sample by itself is uniform, so means have no bias.
template <class T>
class EvenRandom {
 public:
  LG_HD EvenRandom(uint64_t seed, uint64_t point, uint32_t sample)
      : key_(mixed(mixed(seed) + point)), sample_(sample) {}

  LG_HD Pair<T> pair(uint32_t draw) const {
    const uint64_t order = mixed(key_ + 2ULL * draw * 0x9e3779b97f4a7c15ULL);
    const uint64_t digits = mixed(key_ + (2ULL * draw + 1) * 0x9e3779b97f4a7c15ULL);
    const uint32_t first = permuted(reversed(sample_), static_cast<uint32_t>(order));
    uint32_t second = 0;
    for (uint32_t index = reversed(first), way = 0x80000000u; index != 0; index >>= 1, way ^= way >> 1) {
      if (index & 1) second ^= way;
    }
    return {fraction_of<T>(first ^ static_cast<uint32_t>(digits)),
            fraction_of<T>(second ^ static_cast<uint32_t>(digits >> 32))};
  }

 private:
  uint64_t key_;
  uint32_t sample_;
};

}  // namespace lg::light
