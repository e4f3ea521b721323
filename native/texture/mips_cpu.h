// Building mip levels on the CPU, and folding gradients of mip levels back into the texture.
#pragma once

#include <cstdint>

#include "texture/mips.h"

namespace lg::texture {

// Computes the `below` levels below `tex`, which has the given size, and stores them consecutively.
template <class T>
void build_mips(int32_t threads, LevelSize size, int64_t below, const T* tex, T* mips);

// The transpose: adds the gradients of each level to those of the next finer level. At `tex`, adds to the gradients or
// overwrites them. Changes `mips`.
template <class T>
void fold_mips(int32_t threads, LevelSize size, int64_t below, T* mips, bool add_to_tex, T* tex);

}  // namespace lg::texture
