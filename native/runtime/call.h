// LG_HD_CALL: functions of host and device that are too large to inline at each use; they are called on the device
// too.
#pragma once

#if defined(__CUDACC__)
#define LG_HD_CALL __host__ __device__ __noinline__
#else
#define LG_HD_CALL
#endif
