#include "tools/sink/report.h"

#include <nlohmann/json.hpp>

namespace sluice::tools {
namespace {

using Json = nlohmann::ordered_json;

Json WindowsOf(const Counts& row) {
  Json windows = Json::array();
  for (size_t i = 0; i < row.windows.size(); ++i) {
    windows.push_back({{"seconds", Seconds(row.windows.span(i))},
                       {"recipients_max", row.windows.peak(i)},
                       {"exact", row.windows.exact()}});
  }
  return windows;
}

Json RowOf(const Counts& row) {
  return {{"name", row.name},
          {"connections", row.connections},
          {"connections_now", row.connections_now},
          {"connections_peak", row.connections_peak},
          {"tls_connections", row.tls_connections},
          {"tls_resumed", row.tls_resumed},
          {"handshakes_failed", row.handshakes_failed},
          {"messages", row.messages},
          {"messages_under_tls", row.messages_under_tls},
          {"messages_in_clear", row.messages - row.messages_under_tls},
          {"chunked", row.chunked},
          {"messages_on_connection_max", row.messages_on_connection_max},
          {"recipients", row.recipients},
          {"recipients_taken", row.recipients_taken},
          {"bytes", row.bytes},
          {"duplicates", row.duplicates},
          {"duplicates_excused", row.duplicates_excused},
          {"damaged", row.damaged},
          {"without_probe", row.without_probe},
          {"windows", WindowsOf(row)}};
}

Json TotalsOf(const Tally& tally) {
  Json row = RowOf(tally.total());
  row["ciphers"] = tally.ciphers();
  return row;
}

template <class Rows>
Json RowsOf(const Rows& rows) {
  Json list = Json::array();
  for (const Counts& row : rows) list.push_back(RowOf(row));
  return list;
}

Json FaultsOf(const Faults& faults) {
  Json list = Json::array();
  for (const Fault& fault : faults.all()) {
    list.push_back({{"fault", fault.text}, {"times", fault.times}});
  }
  return list;
}

double Ratio(double of, double to) {
  return to > 0 ? of / to : 0;
}

}  // namespace

std::string SinkReport(const Sink& sink, Duration cpu) {
  const Tally& tally = sink.tally();
  const auto messages = static_cast<double>(tally.total().messages);
  const Json report = {{"program", "sluice-sink"},
                       {"seconds", Seconds(sink.busy())},
                       {"messages_per_s", Ratio(messages, Seconds(sink.busy()))},
                       {"cpu_us_per_message", Ratio(Seconds(cpu) * 1e6, messages)},
                       {"totals", TotalsOf(tally)},
                       {"refused_by_session", sink.refused_by_session()},
                       {"connections_refused", sink.connections_refused()},
                       {"connections_over_bound", tally.connections_over_bound()},
                       {"duplicates_exact", tally.all_remembered()},
                       {"faults", FaultsOf(sink.faults())},
                       {"ports", RowsOf(tally.ports())},
                       {"domains", RowsOf(tally.domains())}};
  // Names came from a network: what is not UTF-8 is replaced.
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::tools
