#include "tools/sink/tally.h"

#include <algorithm>

#include "engine/base/check.h"

namespace sluice::tools {
namespace {

constexpr absl::string_view kOthers = "(others)";

void Enter(Counts& row) {
  ++row.connections;
  ++row.connections_now;
  row.connections_peak = std::max(row.connections_peak, row.connections_now);
}

void CountHandshake(Counts& row, bool resumed) {
  ++row.tls_connections;
  row.tls_resumed += resumed;
}

void Leave(Counts& row) {
  CHECK(row.connections_now > 0);
  --row.connections_now;
}

void CountMail(Counts& row, uint64_t mails_on_connection) {
  row.messages_on_connection_max = std::max(row.messages_on_connection_max, mails_on_connection);
}

void CountRecipient(Counts& row, Instant now) {
  ++row.recipients;
  row.windows.Add(1, now);
}

void CountMessage(Counts& row, const Tally::Arrival& arrival, bool tls) {
  ++row.messages;
  row.messages_under_tls += tls;
  row.chunked += arrival.chunked;
  row.bytes += arrival.bytes;
  switch (arrival.verdict) {
    case ProbeReader::Verdict::kIntact:
      return;
    case ProbeReader::Verdict::kDamaged:
      ++row.damaged;
      return;
    case ProbeReader::Verdict::kNoProbe:
      ++row.without_probe;
      return;
  }
}

}  // namespace

Tally::Tally(const Options& options) : options_(options), total_(MakeRow("total")) {
  for (const std::string& port : options_.ports) ports_.push_back(MakeRow(port));
}

Counts Tally::MakeRow(absl::string_view name) {
  return Counts(name, WindowPeaks(options_.windows, stamps_left_));
}

void Tally::Connected(Connection& connection, uint32_t port_index) {
  CHECK(!connection.counted_);
  connection.counted_ = true;
  connection.port_ = port_index;
  connection.mails_ = 0;
  connection.domains_.clear();
  connection.over_bound_ = false;
  connection.tls_ = connection.resumed_ = false;
  Enter(total_);
  Enter(ports_[port_index]);
}

void Tally::Gone(Connection& connection) {
  CHECK(connection.counted_);
  connection.counted_ = false;
  ForEachRow(connection, [](Counts& row) { Leave(row); });
  connections_over_bound_ += connection.over_bound_;
}

void Tally::Secured(Connection& connection, absl::string_view cipher, bool resumed) {
  CHECK(connection.counted_);
  CHECK(!connection.tls_);
  connection.tls_ = true;
  connection.resumed_ = resumed;
  ForEachRow(connection, [&](Counts& row) { CountHandshake(row, resumed); });
  ++ciphers_[std::string(cipher)];
}

void Tally::HandshakeFailed(const Connection& connection) {
  CHECK(connection.counted_);
  ForEachRow(connection, [](Counts& row) { ++row.handshakes_failed; });
}

template <class Count>
void Tally::ForEachRow(const Connection& connection, const Count& count) {
  count(total_);
  count(ports_[connection.port_]);
  for (const Connection::Domain& domain : connection.domains_) count(domains_[domain.row]);
}

void Tally::MailSeen(Connection& connection) {
  CHECK(connection.counted_);
  ++connection.mails_;
  CountMail(total_, connection.mails_);
  CountMail(ports_[connection.port_], connection.mails_);
}

void Tally::RecipientSeen(Connection& connection, absl::string_view domain, Instant now) {
  CHECK(connection.counted_);
  const uint32_t row = RowOf(domain);
  CountRecipient(total_, now);
  CountRecipient(ports_[connection.port_], now);
  CountRecipient(domains_[row], now);
  CountDomain(connection, row);
}

void Tally::CountDomain(Connection& connection, uint32_t row) {
  auto& domains = connection.domains_;
  auto found = std::find_if(domains.begin(), domains.end(),
                            [&](const Connection::Domain& domain) { return domain.row == row; });
  if (found == domains.end()) {
    connection.over_bound_ = domains.size() == kDomainsPerConnectionMax;
    if (connection.over_bound_) return;
    found = domains.insert(domains.end(), {.row = row, .messages = 0, .last_mail = 0});
    Enter(domains_[row]);
    if (connection.tls_) CountHandshake(domains_[row], connection.resumed_);
  }
  if (found->last_mail == connection.mails_) return;
  found->last_mail = connection.mails_;
  CountMail(domains_[row], ++found->messages);
}

void Tally::MessageTaken(const Connection& connection, const Arrival& arrival) {
  Counts& port = ports_[connection.port_];
  CountMessage(total_, arrival, connection.tls_);
  CountMessage(port, arrival, connection.tls_);
  for (const smtp::EnvelopeRecipient& recipient : arrival.recipients) {
    Counts& domain = domains_[RowOf(recipient.destination)];
    if (domain.last_message != total_.messages) CountMessage(domain, arrival, connection.tls_);
    domain.last_message = total_.messages;
    const Repeat repeat = arrival.probe
                              ? Remember(arrival.probe->id, recipient.address, arrival.answered)
                              : Repeat::kFirst;
    for (Counts* row : {&total_, &port, &domain}) {
      ++row->recipients_taken;
      row->duplicates += repeat != Repeat::kFirst;
      row->duplicates_excused += repeat == Repeat::kExcused;
    }
  }
}

uint32_t Tally::RowOf(absl::string_view domain) {
  if (last_row_ < domains_.size() && absl::string_view(domains_[last_row_].name) == domain) {
    return last_row_;
  }
  auto found = rows_.find(domain);
  if (found == rows_.end()) {
    const bool full = domains_.size() >= options_.domains_max;
    const absl::string_view name = full ? kOthers : domain;
    const auto [row, fresh] = rows_.try_emplace(std::string(name), domains_.size());
    if (fresh) domains_.push_back(MakeRow(name));
    found = row;
  }
  last_row_ = found->second;
  return last_row_;
}

Tally::Repeat Tally::Remember(const ProbeId& id, absl::string_view recipient, bool answered) {
  const uint64_t seed = id.number << 16 ^ uint64_t { id.run } << 32 ^ id.run;
  const uint64_t key = XXH3_64bits_withSeed(recipient.data(), recipient.size(), seed);
  if (remembered_.contains(key)) {
    const bool excused = unanswered_.erase(key) > 0;
    if (!answered) unanswered_.insert(key);
    return excused ? Repeat::kExcused : Repeat::kDuplicate;
  }
  if (remembered_.size() >= options_.remembered_max) {
    all_remembered_ = false;
    return Repeat::kFirst;
  }
  remembered_.insert(key);
  if (!answered) unanswered_.insert(key);
  return Repeat::kFirst;
}

}  // namespace sluice::tools
