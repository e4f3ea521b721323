// Streams of rays, compiled once for all that trace them.
#include "ray/stream_cpu.h"

namespace lg::ray {

LG_STREAMS(, float)
LG_STREAMS(, double)

}  // namespace lg::ray
