// Recycled memory for outputs and workspaces.
//
// A renderer makes the same large images frame after frame. Returning them to the operating system costs the next frame
// one page fault per 4 KiB, which takes longer than computing the pixels. Blocks are kept and reused, as torch does
// with GPU memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace lg {

// 64-byte aligned, uninitialised. Throws std::bad_alloc. Small blocks, whose page faults do not matter, come straight
// from malloc.
void* memory_take(size_t bytes);
void memory_give(void* block, size_t bytes) noexcept;

// An uninitialised workspace of trivially constructible elements, freed at the end of its scope.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) : data_(static_cast<T*>(memory_take(count * sizeof(T)))), count_(count) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_) memory_give(data_, count_ * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

// A growing array on the same memory, only for trivially copyable elements. It has a cache line of its own: otherwise,
// arrays of different workers or tasks, side by side in a vector, would contend for one line at every push_back.
template <class T>
class alignas(64) Array {
 public:
  void push_back(const T& value) {
    if (size_ == buffer_.size()) reserve(size_ ? 2 * size_ : 256);
    buffer_[size_++] = value;
  }
  // Adds `count` uninitialised elements and returns the first.
  T* extend(size_t count) {
    while (size_ + count > buffer_.size()) reserve(buffer_.size() ? 2 * buffer_.size() : 256);
    T* first = buffer_.data() + size_;
    size_ += count;
    return first;
  }
  void reserve(size_t count) {
    if (count <= buffer_.size()) return;
    Buffer<T> larger(count);
    if (size_) std::memcpy(static_cast<void*>(larger.data()), buffer_.data(), size_ * sizeof(T));
    buffer_ = std::move(larger);
  }
  void clear() { size_ = 0; }
  T* data() { return buffer_.data(); }
  const T* data() const { return buffer_.data(); }
  size_t size() const { return size_; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  T& operator[](size_t i) { return buffer_[i]; }
  const T& operator[](size_t i) const { return buffer_[i]; }

 private:
  Buffer<T> buffer_;
  size_t size_ = 0;
};

}  // namespace lg
