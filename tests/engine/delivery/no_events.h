// Events that nobody wants to hear of.

#pragma once

#include "engine/delivery/event.h"

namespace sluice::delivery {

class NoEvents : public EventSink {
 public:
  void Emit(const Event&, uint64_t) override {}
  void Release(uint64_t) override {}
};

}  // namespace sluice::delivery
