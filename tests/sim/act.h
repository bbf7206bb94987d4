// Something that is going to happen: a function without arguments that is called once. Small ones,
// which nearly all are, stand in the act itself: a simulation makes millions of them.

#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "engine/base/check.h"

namespace sluice::sim {

class Act {
 public:
  Act() = default;
  template <class Function>
  requires(!std::is_same_v<std::decay_t<Function>, Act>)
      Act(Function&& function) {  // NOLINT: acts are made of what is at hand.
    using Held = std::decay_t<Function>;
    if constexpr (sizeof(Held) <= kBytes && alignof(Held) <= alignof(std::max_align_t)) {
      new (bytes_) Held(std::forward<Function>(function));
      work_ = &Work<Held>;
    } else {
      using Boxed = Box<Held>;
      new (bytes_) Boxed{std::make_unique<Held>(std::forward<Function>(function))};
      work_ = &Work<Boxed>;
    }
  }
  Act(Act&& other) noexcept { Move(other); }
  Act& operator=(Act&& other) noexcept {
    if (this == &other) return *this;
    Drop();
    Move(other);
    return *this;
  }
  ~Act() { Drop(); }

  void operator()() {
    CHECK(work_ != nullptr);
    work_(Do::kCall, bytes_, nullptr);
  }

 private:
  static constexpr size_t kBytes = 64;
  enum class Do : uint8_t { kCall, kMove, kDrop };

  template <class Held>
  struct Box {
    std::unique_ptr<Held> held;
    void operator()() { (*held)(); }
  };

  template <class Held>
  static void Work(Do what, void* self, void* to) {
    Held& held = *std::launder(static_cast<Held*>(self));
    switch (what) {
      case Do::kCall:
        held();
        return;
      case Do::kMove:
        new (to) Held(std::move(held));
        held.~Held();
        return;
      case Do::kDrop:
        held.~Held();
        return;
    }
  }

  void Move(Act& other) {
    work_ = std::exchange(other.work_, nullptr);
    if (work_ != nullptr) work_(Do::kMove, other.bytes_, bytes_);
  }
  void Drop() {
    if (work_ != nullptr) work_(Do::kDrop, bytes_, nullptr);
    work_ = nullptr;
  }

  alignas(std::max_align_t) std::byte bytes_[kBytes];
  void (*work_)(Do, void*, void*) = nullptr;
};

}  // namespace sluice::sim
