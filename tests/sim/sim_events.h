// The events of one shard, read as the operator reads them: an event that is released is true for
// good. Here the engine's word is compared with what the peers know.

#pragma once

#include <deque>
#include <string>

#include "engine/delivery/event.h"
#include "tests/sim/sim_peer.h"

namespace sluice::sim {

class SimEvents : public delivery::EventSink {
 public:
  explicit SimEvents(Scene& scene) : scene_(scene) {}
  void Emit(const delivery::Event& event, uint64_t batch) override;
  void Release(uint64_t durable_batch) override;

 private:
  struct Held {
    uint64_t batch = 0;
    delivery::EventType type{};
    std::string id;
    std::string recipient;
    bool report = false;
  };
  void OnDelivery(const Held& held, const delivery::Event& event);
  bool SaysHow(const delivery::Event& event, const Delivery& delivery) const;
  void OnBounce(const Held& held, const delivery::Event& event);
  bool RefusedByUs(const std::string& address, const delivery::Event& event) const;
  void OnExpiration(const Held& held, const delivery::Event& event);

  Scene& scene_;
  std::deque<Held> held_;
};

}  // namespace sluice::sim
