#include "tools/sluice/spool_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "engine/spool/posix_disk.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::ordered_json;
using spool::FaultKind;
using spool::RecipientState;
using spool::RecordType;

std::string TimeText(WallTime time) {
  const absl::Time then = absl::UnixEpoch() + absl::FromChrono(time.time_since_epoch());
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3S%Ez", then, absl::LocalTimeZone());
}

Json PlaceJson(const spool::Extent& place) {
  return {{"file", spool::PosixDisk::NameOf(place.segment)},
          {"offset", place.offset},
          {"bytes", place.bytes}};
}

const char* FaultName(FaultKind kind) {
  switch (kind) {
    case FaultKind::kRecords:
      return "records";
    case FaultKind::kPromise:
      return "promise";
    case FaultKind::kBody:
      return "body";
    case FaultKind::kIndex:
      return "index";
    case FaultKind::kVersion:
      return "version";
    case FaultKind::kUnreadable:
      return "unreadable";
  }
  return "";
}

Json FaultJson(const spool::Fault& fault) {
  Json json = {{"fault", FaultName(fault.kind)}};
  json.update(PlaceJson(fault.place));
  if (fault.message) json["message"] = fault.message.ToString();
  if (fault.kind == FaultKind::kVersion) json["version"] = fault.version;
  if (!fault.error.empty()) json["error"] = fault.error;
  return json;
}

Json LogJson(const spool::LogAudit& log) {
  Json faults = Json::array();
  for (const spool::Fault& fault : log.faults) faults.push_back(FaultJson(fault));
  Json set_aside = Json::array();
  for (const spool::SegmentId id : log.set_aside) set_aside.push_back(spool::PosixDisk::NameOf(id));
  Json json = {{"log", log.log},
               {"segments", log.segments},
               {"indexed", log.indexed},
               {"bytes", log.bytes},
               {"records", log.records},
               {"waiting", log.waiting},
               {"incomplete", log.incomplete},
               {"set_aside", std::move(set_aside)},
               {"faults_found", log.faults_found},
               {"faults", std::move(faults)}};
  if (log.cut_off) json["cut_off"] = PlaceJson(*log.cut_off);
  return json;
}

// What the fault means for mail.
std::string FaultText(const Json& fault) {
  const std::string kind = fault["fault"];
  const std::string message = fault.value("message", "");
  const std::string error = fault.value("error", "");
  if (kind == "records") return "are no records: what stood there is lost";
  if (kind == "promise")
    return absl::StrCat("held the promise of message ", message, ": it cannot be delivered");
  if (kind == "body") {
    return absl::StrCat("the body of message ", message, " is not what was accepted: ",
                        error.empty() ? "it will be bounced" : error);
  }
  if (kind == "index") return "the index is not what the records say: a start reads the records";
  if (kind == "version") {
    return absl::StrCat("has format version ", fault.value("version", 0u),
                        ", and this program "
                        "reads version ",
                        spool::kFormatVersion);
  }
  return absl::StrCat("cannot be read: ", error);
}

std::string PlaceText(const Json& place) {
  return absl::StrCat(place["file"].get<std::string>(), " at ", place["offset"].get<uint64_t>(),
                      ", ", place["bytes"].get<uint64_t>(), " bytes");
}

const char* StateName(RecipientState state) {
  switch (state) {
    case RecipientState::kWaiting:
      return "waiting";
    case RecipientState::kDelivered:
      return "delivered";
    case RecipientState::kBounced:
      return "bounced";
  }
  return "";
}

const char* TypeName(RecordType type) {
  switch (type) {
    case RecordType::kSegment:
      return "segment";
    case RecordType::kBody:
      return "body";
    case RecordType::kAccepted:
      return "accepted";
    case RecordType::kOutcome:
      return "outcome";
    case RecordType::kDeferred:
      return "deferred";
    case RecordType::kDone:
      return "done";
    case RecordType::kBatch:
      return "batch";
    case RecordType::kWindow:
      return "window";
    case RecordType::kIndex:
      return "index";
  }
  return "";
}

Json RecipientJson(const spool::RecipientRecord& recipient) {
  Json json = {{"address", recipient.address},
               {"destination", recipient.destination},
               {"state", StateName(recipient.state)},
               {"attempts", recipient.attempts}};
  const bool at_once = recipient.next_attempt == WallTime{};
  if (recipient.state == RecipientState::kWaiting && !at_once) {
    json["next_attempt"] = TimeText(recipient.next_attempt);
  }
  if (!recipient.last_reply.empty()) json["last_reply"] = recipient.last_reply;
  if (!recipient.original_recipient.empty()) json["orcpt"] = recipient.original_recipient;
  return json;
}

void PutEnvelope(const spool::AcceptedRecord& accepted, Json& json) {
  json["accepted"] = TimeText(accepted.accepted_at);
  json["sender"] = accepted.sender;
  if (!accepted.envelope_id.empty()) json["envid"] = accepted.envelope_id;
  if (!accepted.source_pool.empty()) json["source_pool"] = accepted.source_pool;
  if (accepted.bounce) json["bounce"] = true;
  json["message_bytes"] = accepted.message_bytes;
  json["wire_bytes"] = accepted.wire_bytes;
  json["recipients"] = Json::array();
  for (const spool::RecipientRecord& recipient : accepted.recipients) {
    json["recipients"].push_back(RecipientJson(recipient));
  }
}

}  // namespace

Json ToJson(const spool::SpoolAudit& audit) {
  Json logs = Json::array();
  for (const spool::LogAudit& log : audit.logs) logs.push_back(LogJson(log));
  return {{"logs", std::move(logs)},
          {"given_back_meanwhile", audit.given_back},
          {"faults_found", audit.faults}};
}

void WriteAudit(const Json& audit, std::ostream& out) {
  for (const Json& log : audit["logs"]) {
    out << absl::StreamFormat(
        "log %d: %d segments (%d with an index), %d bytes, %d records; %d messages wait, %d "
        "incomplete\n",
        log["log"].get<int>(), log["segments"].get<uint64_t>(), log["indexed"].get<uint64_t>(),
        log["bytes"].get<uint64_t>(), log["records"].get<uint64_t>(),
        log["waiting"].get<uint64_t>(), log["incomplete"].get<uint64_t>());
    for (const Json& name : log["set_aside"]) {
      out << "  " << name.get<std::string>() << " is set aside\n";
    }
    if (log.contains("cut_off")) {
      out << "  " << PlaceText(log["cut_off"]) << ": a write that was cut off, or is under way\n";
    }
    for (const Json& fault : log["faults"]) {
      out << "  " << PlaceText(fault) << ": " << FaultText(fault) << "\n";
    }
    const uint64_t more = log["faults_found"].get<uint64_t>() - log["faults"].size();
    if (more > 0) out << "  and " << more << " faults more\n";
  }
  for (const Json& id : audit["quarantine"]) {
    out << id.get<std::string>() << " is in quarantine\n";
  }
  const uint64_t faults = audit["faults_found"];
  if (faults == 0) {
    out << "nothing is damaged\n";
  } else {
    out << faults << (faults == 1 ? " fault\n" : " faults\n");
  }
}

Json ToJson(MessageId id, const spool::MessageTrace& trace) {
  const bool waits = trace.accepted && !trace.done;
  Json json = {{"id", id.ToString()},
               {"state", waits        ? "waiting"
                         : trace.done ? "done"
                                      : "incomplete"}};
  if (trace.accepted) PutEnvelope(*trace.accepted, json);
  json["records"] = Json::array();
  for (const spool::MessageTrace::Record& record : trace.records) {
    Json place = {{"type", TypeName(record.type)}};
    place.update(PlaceJson(record.place));
    json["records"].push_back(std::move(place));
  }
  return json;
}

void WriteMessage(const Json& message, std::ostream& out) {
  out << message["id"].get<std::string>() << " is " << message["state"].get<std::string>() << "\n";
  if (message.contains("sender")) {
    out << "accepted " << message["accepted"].get<std::string>() << ", " << message["message_bytes"]
        << " bytes (" << message["wire_bytes"] << " on the wire)\n"
        << "from <" << message["sender"].get<std::string>() << ">\n";
    for (const Json& to : message["recipients"]) {
      out << "to <" << to["address"].get<std::string>() << "> " << to["state"].get<std::string>()
          << ", attempts " << to["attempts"];
      if (to.contains("next_attempt")) out << ", next " << to["next_attempt"].get<std::string>();
      if (to.contains("last_reply")) out << ", " << to["last_reply"].get<std::string>();
      out << "\n";
    }
  }
  for (const Json& record : message["records"]) {
    out << absl::StreamFormat("%-8s  %s\n", record["type"].get<std::string>(), PlaceText(record));
  }
}

}  // namespace sluice::tools
