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
  LG_HD Random(uint64_t seed, uint64_t pixel, uint64_t sample) : key_(mixed(mixed(mixed(seed) + pixel) + sample)) {}

  // Two numbers in [0, 1).
  LG_HD Pair<T> pair(uint32_t draw) const {
    const uint64_t word = mixed(key_ + draw * 0x9e3779b97f4a7c15ULL);
    return {fraction_of<T>(static_cast<uint32_t>(word)), fraction_of<T>(static_cast<uint32_t>(word >> 32))};
  }

 private:
  uint64_t key_;
};

}  // namespace lg::light
