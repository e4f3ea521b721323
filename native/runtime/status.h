// Converts C++ failures to the C interface's error codes.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <exception>
#include <new>

#include "lumigrad.h"

namespace lg {

// An invalid argument that only the kernel can notice, such as an index out of range. The text is shown to users.
class InvalidArgument : public std::exception {
 public:
  explicit InvalidArgument(const char* format, ...);
  const char* what() const noexcept override { return text_; }

 private:
  char text_[256];
};

void set_last_error(const char* text);

// Runs body() and returns a status. No exception crosses the C interface.
template <class Body>
int32_t guarded(Body&& body) {
  try {
    body();
    return LG_OK;
  } catch (const InvalidArgument& error) {
    set_last_error(error.what());
    return LG_INVALID;
  } catch (const std::bad_alloc&) {
    set_last_error("out of memory");
    return LG_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return LG_INTERNAL;
  }
}

// Calls body(T{}) with the scalar type that `dtype` names.
template <class Body>
int32_t dispatch(int32_t dtype, Body&& body) {
  return guarded([&] {
    if (dtype == LG_FLOAT32) {
      body(float{});
    } else if (dtype == LG_FLOAT64) {
      body(double{});
    } else {
      throw InvalidArgument("dtype code %d is neither float32 nor float64", static_cast<int>(dtype));
    }
  });
}

}  // namespace lg
