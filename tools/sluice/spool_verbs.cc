#include "tools/sluice/spool_verbs.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/config.h"
#include "engine/spool/posix_disk.h"
#include "engine/spool/readable_disk.h"
#include "engine/suspects.h"
#include "tools/process.h"
#include "tools/sluice/dot_remover.h"
#include "tools/sluice/spool_json.h"

namespace sluice::tools {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::string> FolderOf(const SpoolOptions& options) {
  if (!options.spool.empty()) return options.spool;
  const LoadedConfig loaded = LoadConfig(options.config_path);
  if (!loaded.errors.empty()) {
    return absl::InvalidArgumentError(loaded.errors.front().ToString());
  }
  return loaded.config.spool_path;
}

struct OpenedSpool {
  std::string path;
  std::unique_ptr<spool::PosixDisk> disk;
  std::optional<int> engine;  // The process that runs on it.
};

absl::StatusOr<OpenedSpool> OpenSpool(const SpoolOptions& options) {
  OpenedSpool opened;
  absl::StatusOr<std::string> path = FolderOf(options);
  if (!path.ok()) return path.status();
  opened.path = *std::move(path);
  RaiseDescriptorLimit();  // A segment each.
  absl::StatusOr<std::unique_ptr<spool::PosixDisk>> disk =
      spool::PosixDisk::OpenToRead(opened.path);
  if (!disk.ok()) return disk.status();
  opened.disk = *std::move(disk);
  opened.engine = spool::PosixDisk::HolderOf(opened.path);
  return opened;
}

int CannotBeRead(const absl::Status& why, std::ostream& errors) {
  errors << "sluice: " << why.message() << "\n";
  return 2;
}

int NoId(const SpoolOptions& options, std::ostream& errors) {
  errors << "sluice: '" << options.id << "' is no message id: it has 13 characters, as in the "
         << "delivery log\n";
  return 1;
}

// The ids in quarantine.
absl::StatusOr<Json> QuarantineOf(const std::string& folder) {
  const absl::StatusOr<Suspects> suspects = LoadSuspects(folder);
  if (!suspects.ok()) return suspects.status();
  Json ids = Json::array();
  for (const Suspect& suspect : suspects->list) {
    if (suspect.quarantined()) ids.push_back(suspect.id.ToString());
  }
  return ids;
}

// Addresses and replies are what others sent.
void Print(const Json& json, std::ostream& out) {
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

int WriteBody(spool::ReadableDisk& disk, const spool::MessageTrace& trace, bool raw,
              std::ostream& out, std::ostream& errors) {
  DotRemover remover;
  const auto put = [&](spool::Bytes bytes) {
    const absl::string_view wire(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    out << (raw ? std::string(wire) : remover.Take(wire));
  };
  const absl::StatusOr<std::optional<spool::Extent>> wrong =
      spool::ReadBody(disk, trace.segments, *trace.accepted, put);
  out.flush();
  if (!wrong.ok()) return CannotBeRead(wrong.status(), errors);
  if (!*wrong) return 0;
  errors << "sluice: the body is not what was accepted: see "
         << spool::PosixDisk::NameOf((*wrong)->segment) << " at " << (*wrong)->offset << "\n";
  return 1;
}

}  // namespace

int CheckSpool(const SpoolOptions& options, std::ostream& out, std::ostream& errors) {
  const absl::StatusOr<OpenedSpool> opened = OpenSpool(options);
  if (!opened.ok()) return CannotBeRead(opened.status(), errors);
  const absl::StatusOr<spool::SpoolAudit> audit = spool::AuditSpool(*opened->disk);
  if (!audit.ok()) return CannotBeRead(audit.status(), errors);
  Json said = {{"spool", opened->path}, {"engine", nullptr}};
  if (opened->engine) said["engine"] = *opened->engine;
  said.update(ToJson(*audit));
  absl::StatusOr<Json> quarantine = QuarantineOf(opened->path);
  if (!quarantine.ok()) return CannotBeRead(quarantine.status(), errors);
  said["quarantine"] = *std::move(quarantine);
  if (options.json) {
    Print(said, out);
  } else {
    if (opened->engine) {
      out << "process " << *opened->engine
          << " runs on this spool: what it writes from now on is not looked at\n";
    }
    WriteAudit(said, out);
  }
  return audit->faults == 0 ? 0 : 1;
}

int ShowMessage(const SpoolOptions& options, std::ostream& out, std::ostream& errors) {
  const std::optional<MessageId> id = MessageId::Parse(options.id);
  if (!id) return NoId(options, errors);
  const absl::StatusOr<OpenedSpool> opened = OpenSpool(options);
  if (!opened.ok()) return CannotBeRead(opened.status(), errors);
  absl::StatusOr<spool::ReadableDisk> disk = spool::ReadableDisk::Of(*opened->disk);
  if (!disk.ok()) return CannotBeRead(disk.status(), errors);
  const absl::StatusOr<spool::MessageTrace> trace = spool::TraceMessage(*disk, *id);
  if (!trace.ok()) return CannotBeRead(trace.status(), errors);
  if (trace->records.empty()) {
    errors << "sluice: no message " << options.id << " is in " << opened->path
           << ": it never was, or it is done and its records are gone; the delivery log tells\n";
    return 1;
  }
  const bool wants_body = options.body || options.raw;
  if (wants_body && !trace->accepted) {
    errors << "sluice: the promise of message " << options.id << " is not there, which says where "
           << "its body lies\n";
    return 1;
  }
  if (wants_body) return WriteBody(*disk, *trace, options.raw, out, errors);
  const Json said = ToJson(*id, *trace);
  if (options.json) {
    Print(said, out);
  } else {
    WriteMessage(said, out);
  }
  return 0;
}

int ReleaseMessage(const SpoolOptions& options, std::ostream& out, std::ostream& errors) {
  const std::optional<MessageId> id = MessageId::Parse(options.id);
  if (!id) return NoId(options, errors);
  const absl::StatusOr<std::string> folder = FolderOf(options);
  if (!folder.ok()) return CannotBeRead(folder.status(), errors);
  const absl::StatusOr<bool> released = ReleaseSuspect(*folder, *id);
  if (!released.ok()) return CannotBeRead(released.status(), errors);
  if (!*released) {
    errors << "sluice: message " << options.id << " is not in quarantine\n";
    return 1;
  }
  if (options.json) {
    Print({{"id", options.id}, {"released", true}}, out);
  } else {
    out << options.id << " is tried when the engine starts the next time\n";
  }
  return 0;
}

}  // namespace sluice::tools
