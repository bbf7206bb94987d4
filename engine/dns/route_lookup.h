// One look-up of a route, as a core without I/O: it says what to ask the DNS, takes the answers in
// any order, and ends with the route. What each answer means is decided here and nowhere else.
//
//   MX records   -> A and AAAA of every host, at once
//   no MX record -> A and AAAA of the domain itself (implicit MX, RFC 5321 5.1)
//   routes table -> A and AAAA of its hosts' names; no MX look-up, and no address is refused
//   literal      -> nothing to ask
//
// Not thread-safe. The rules must outlive it.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/ip_address.h"
#include "engine/base/time.h"
#include "engine/dns/rdata.h"
#include "engine/dns/route.h"
#include "engine/dns/routes_table.h"

namespace sluice::dns {

enum class RecordType : uint16_t { kA = 1, kMx = 15, kAaaa = 28 };

struct DnsQuestion {
  uint32_t number = 0;  // Within its look-up; comes back with the answer.
  std::string name;     // Without a trailing dot, and meant absolutely.
  RecordType type = RecordType::kMx;
};

struct DnsAnswer {
  enum class Result : uint8_t {
    kRecords,
    kNoRecords,   // The name exists, without records of this type.
    kNoSuchName,  // NXDOMAIN.
    kFailed,      // SERVFAIL, timeout, bogus: nothing is known.
  };
  Result result = Result::kFailed;
  std::vector<std::string> records;  // RDATA, as on the wire.
  Duration ttl{};
  std::string failure;  // "SERVFAIL", "bogus: …"

  static DnsAnswer Failed(absl::string_view why) {
    DnsAnswer answer;
    answer.failure = std::string(why);
    return answer;
  }
};

struct RouteRules {
  uint16_t delivery_port = 25;
  std::vector<Network> allow_addresses;
  // A route never leads to ourselves (C19): neither to a host of these names, normalised, nor to
  // one of these addresses unless it is in `allow_addresses`.
  std::vector<std::string> own_names;
  std::vector<IpAddress> own_addresses;
};

class RouteLookup {
 public:
  // `domain` is normalised, or an address literal. `table` is what the routes table has for it, or
  // null.
  RouteLookup(const RouteRules& rules, std::string domain, const std::vector<TableHost>* table);

  // What is to be asked now: after the constructor and after each answer. Each question comes once.
  std::vector<DnsQuestion> TakeQuestions();

  // One answer a question; never after done().
  void OnAnswer(uint32_t question, const DnsAnswer& answer);

  // The time is over: what is known by now must do. done() is true after it; never called after
  // done().
  void OnBudgetSpent();

  bool done() const { return done_; }

  // Once, when done().
  Route TakeRoute();

 private:
  struct Host {
    RouteHost route;
    bool failed = false;  // A question about it got no answer.
  };
  struct Asked {
    RecordType type = RecordType::kMx;
    size_t host = 0;  // Of an address question.
    bool answered = false;
  };

  void BeginTable(const std::vector<TableHost>& table);
  void BeginLiteral();
  void BeginMx();

  void OnMx(const DnsAnswer& answer);
  void OnMxRecords(const DnsAnswer& answer);
  void KeepMxHosts(std::vector<MxRecord> records);
  void OnAddresses(const Asked& asked, const DnsAnswer& answer);
  void AddAddress(Host& host, const IpAddress& address);

  void AskAddresses(size_t host);
  void Ask(absl::string_view name, RecordType type, size_t host);
  std::string NameOf(const Asked& asked) const;

  void DropOurselvesByName(std::vector<MxRecord>& records);
  void DropOurselvesByAddress();
  void FinishWhenAnswered();
  void Finish();
  void FinishFound();
  void FinishWithoutHosts();
  void End(RouteResult result, std::string reason, Duration ttl);

  bool OwnsName(absl::string_view name) const;
  bool OwnsAddress(const IpAddress& address) const;
  bool MayConnect(const IpAddress& address) const;

  const RouteRules& rules_;
  std::string domain_;
  bool from_table_ = false;
  bool loops_ = false;   // Hosts were dropped because they are ourselves or stand behind us.
  std::string failure_;  // The first question that got no answer, as a sentence.
  std::string refused_;  // The first address that may not be connected to, as a sentence.
  Duration ttl_ = Duration::max();           // Of the answers that the route is made of.
  Duration negative_ttl_ = Duration::max();  // Of the answers that said "no address".
  std::vector<Host> hosts_;
  std::vector<Asked> asked_;
  std::vector<DnsQuestion> to_ask_;
  size_t unanswered_ = 0;
  bool done_ = false;
  Route route_;
};

}  // namespace sluice::dns
