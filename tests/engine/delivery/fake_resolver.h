// Routes for tests: what the test says a domain has, told when it is asked for or later.

#pragma once

#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/dns/resolver.h"

namespace sluice::delivery {

// A host for each address, the first one preferred.
inline dns::Route RouteTo(std::initializer_list<absl::string_view> ips,
                          Duration ttl = std::chrono::hours(1)) {
  dns::Route route{.result = dns::RouteResult::kFound, .ttl = ttl};
  for (const absl::string_view ip : ips) {
    const size_t number = route.hosts.size() + 1;
    route.hosts.push_back({.name = absl::StrCat("mx", number, ".example.com"),
                           .preference = static_cast<uint16_t>(10 * number),
                           .addresses = {*IpAddress::Parse(ip)}});
  }
  return route;
}

inline dns::Route NoRoute(dns::RouteResult result, absl::string_view reason) {
  return {.result = result, .reason = std::string(reason), .ttl = std::chrono::hours(1)};
}

class FakeResolver : public dns::Resolver {
 public:
  void Says(absl::string_view domain, dns::Route route) {
    routes_[std::string(domain)] = std::move(route);
  }
  // While held, answers wait. They are what the test had said when they were asked for.
  void Hold() { held_ = true; }
  void Free() { held_ = false; }
  bool HasAnswers() const { return !held_ && !waiting_.empty(); }
  size_t asked() const { return asked_; }

  void Ask(dns::RouteQuery query) override {
    ++asked_;
    waiting_.push_back({.destination = query.destination, .route = routes_.at(query.domain)});
  }
  void Poll(uint32_t, std::vector<dns::RouteAnswer>& answers) override {
    if (held_) return;
    for (dns::RouteAnswer& answer : std::exchange(waiting_, {})) answers.push_back(answer);
  }
  void UseRoutes(std::shared_ptr<const dns::RoutesTable>) override {}

 private:
  std::map<std::string, dns::Route> routes_;
  bool held_ = false;
  size_t asked_ = 0;
  std::vector<dns::RouteAnswer> waiting_;
};

}  // namespace sluice::delivery
