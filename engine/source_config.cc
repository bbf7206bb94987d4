#include "engine/source_config.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/domain_name.h"
#include "engine/base/ip_address.h"

namespace sluice {
namespace {

using policy::SourceRule;
using policy::SourceRuleKind;
using policy::Sources;

constexpr uint32_t kWeightMost = 1000;

std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::CHexEscape(text), "'");
}

bool IsMulticast(const IpAddress& address) {
  return address.family == Family::kIpv4 ? (address.bytes[0] & 0xf0) == 0xe0
                                         : address.bytes[0] == 0xff;
}

void ReadAddress(TomlSection& section, absl::string_view key, Family family, IpAddress& into) {
  std::string text;
  if (!section.Text(key, text)) return;
  const std::optional<IpAddress> address = IpAddress::Parse(text);
  if (!address || address->family != family) {
    return section.Fail(key, absl::StrCat(Quoted(text), " is not an ", key, " address"));
  }
  if (address->IsUnspecified() || IsMulticast(*address)) {
    return section.Fail(key, absl::StrCat(text, " is no address that a host can have"));
  }
  into = *address;
}

// A name that nobody else has. A source without one is not kept: nothing could be said of it.
bool ReadName(TomlSection& section, const Sources& sources, std::string& name) {
  section.Require("name");
  if (!section.Text("name", name)) return false;
  std::string error;
  if (name.empty()) {
    error = "must not be empty";
  } else if (name.find('=') != std::string::npos) {
    error = absl::StrCat(Quoted(name), " must not hold '=', behind which a weight stands");
  } else if (sources.FindPool(name)) {  // Each source is a pool of its own name.
    error = absl::StrCat("there are two sources or pools ", Quoted(name));
  }
  if (!error.empty()) section.Fail("name", error);
  return error.empty();
}

void ReadSource(const TomlFile& file, const toml::table& table, Sources& sources) {
  TomlSection section(file, "[[source]]", table);
  policy::Source source;
  const bool named = ReadName(section, sources, source.name);
  ReadAddress(section, "ipv4", Family::kIpv4, source.ipv4);
  ReadAddress(section, "ipv6", Family::kIpv6, source.ipv6);
  if (!section.Has("ipv4") && !section.Has("ipv6")) {
    file.Fail(section.line(), "[[source]]: 'ipv4' or 'ipv6' is missing, or both are");
  }
  std::string text;
  if (section.Text("hostname", text)) {
    absl::StatusOr<std::string> hostname = NormalizeDomain(text);
    if (hostname.ok()) {
      source.hostname = *std::move(hostname);
    } else {
      section.Fail("hostname", hostname.status().message());
    }
  }
  if (named) sources.AddSource(std::move(source));
}

std::optional<uint32_t> ParseWeight(absl::string_view digits) {
  uint32_t weight = 0;
  const bool only_digits = digits.find_first_not_of("0123456789") == absl::string_view::npos;
  if (!only_digits || !absl::SimpleAtoi(digits, &weight)) return std::nullopt;
  if (weight < 1 || weight > kWeightMost) return std::nullopt;
  return weight;
}

// "vg1" or "vg2=3".
void ReadMember(const TomlFile& file, const TomlText& member, const Sources& sources,
                policy::SourcePool& pool) {
  const absl::string_view text = member.text;
  const size_t equals = text.find('=');
  const absl::string_view name = text.substr(0, equals);
  const auto fail = [&](absl::string_view why) {
    file.Fail(member.line, absl::StrCat("sources: ", Quoted(text), ": ", why));
  };
  const std::optional<uint32_t> source = sources.FindSource(name);
  const std::optional<uint32_t> weight =
      equals == absl::string_view::npos ? 1 : ParseWeight(text.substr(equals + 1));
  if (!weight) fail(absl::StrCat("a weight is a whole number from 1 to ", kWeightMost));
  if (name.empty() || !source) return fail(absl::StrCat("there is no source ", Quoted(name)));
  const bool repeated =
      std::any_of(pool.members.begin(), pool.members.end(),
                  [&](const policy::SourceShare& other) { return other.source == *source; });
  if (repeated) return fail(absl::StrCat("names ", Quoted(name), " once more"));
  pool.members.push_back({.source = *source, .weight = weight.value_or(1)});
}

// Returns the name of one that could not be kept, so that it is not called unknown as well.
std::string ReadPool(const TomlFile& file, const toml::table& table, Sources& sources) {
  TomlSection section(file, "[[source_pool]]", table);
  policy::SourcePool pool;
  const bool named = ReadName(section, sources, pool.name);
  std::vector<TomlText> members;
  section.Require("sources");
  if (section.Texts("sources", members) && members.empty()) {
    section.Fail("sources", "at least one is needed");
  }
  for (const TomlText& member : members) ReadMember(file, member, sources, pool);
  if (!named) return "";
  if (pool.members.empty()) return pool.name;
  sources.AddPool(std::move(pool));
  return "";
}

struct MapLine {
  int line = 0;
  std::string rule;
  std::optional<std::string> pool;  // Empty: it is no text.
};

// In the order of their lines, so that of two that are the same the second is the error.
std::vector<MapLine> LinesOf(const toml::table& table) {
  std::vector<MapLine> lines;
  for (const auto& [key, node] : table) {
    const std::string_view rule = key.str();
    MapLine line = {.line = static_cast<int>(key.source().begin.line), .rule = std::string(rule)};
    if (const toml::value<std::string>* text = node.as_string()) line.pool = text->get();
    lines.push_back(std::move(line));
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const MapLine& a, const MapLine& b) { return a.line < b.line; });
  return lines;
}

// Two texts of one rule have one such name.
std::string Normalised(const SourceRule& rule) {
  switch (rule.kind) {
    case SourceRuleKind::kClient:
      return absl::StrCat(rule.client.base.ToString(), "/", rule.client.prefix_bits);
    case SourceRuleKind::kSender:
      return rule.text;
    case SourceRuleKind::kLocalPart:
      return absl::StrCat(rule.text, "@");
    case SourceRuleKind::kDomain:
    case SourceRuleKind::kPartialDomain:
      break;
  }
  return absl::StrCat("@", rule.text);
}

class MapReader {
 public:
  MapReader(const TomlFile& file, const std::set<std::string>& broken_pools, Sources& sources)
      : file_(file), broken_pools_(broken_pools), sources_(sources) {}

  void Read(const MapLine& line);

 private:
  std::optional<uint32_t> PoolOf(const MapLine& line) const;
  void Fail(const MapLine& line, absl::string_view why) const {
    file_.Fail(line.line, absl::StrCat("[source_map]: ", Quoted(line.rule), " ", why));
  }

  const TomlFile& file_;
  const std::set<std::string>& broken_pools_;
  Sources& sources_;
  std::map<std::string, int> lines_;  // Of each rule.
};

void MapReader::Read(const MapLine& line) {
  const std::optional<uint32_t> pool = PoolOf(line);
  if (line.rule == "default") {
    if (pool) sources_.SetDefaultPool(*pool);
    return;
  }
  std::optional<SourceRule> rule = policy::ParseSourceRule(line.rule);
  if (!rule) {
    return Fail(line,
                "is no rule: an address, a network, user@domain, user@, @domain, @.domain, <> or "
                "default");
  }
  const auto [first, distinct] = lines_.try_emplace(Normalised(*rule), line.line);
  if (!distinct) return Fail(line, absl::StrCat("stands twice, first at line ", first->second));
  if (!pool) return;
  rule->pool = *pool;
  sources_.AddRule(*std::move(rule));
}

std::optional<uint32_t> MapReader::PoolOf(const MapLine& line) const {
  if (!line.pool) {
    Fail(line, "must name a source or a pool, as a text in quotes");
    return std::nullopt;
  }
  if (broken_pools_.count(*line.pool) > 0) return std::nullopt;
  const std::optional<uint32_t> pool = sources_.FindPool(*line.pool);
  if (!line.pool->empty() && pool) return pool;
  Fail(line, absl::StrCat("names ", Quoted(*line.pool), ", and there is no such source or pool"));
  return std::nullopt;
}

}  // namespace

void ReadSources(const TomlFile& file, TomlSection& root, Sources& sources) {
  for (const toml::table* table : root.Tables("source")) ReadSource(file, *table, sources);
  std::set<std::string> broken_pools;
  for (const toml::table* table : root.Tables("source_pool")) {
    broken_pools.insert(ReadPool(file, *table, sources));
  }
  broken_pools.erase("");
  const toml::table* map = root.Table("source_map");
  if (map == nullptr) return;
  MapReader reader(file, broken_pools, sources);
  for (const MapLine& line : LinesOf(*map)) reader.Read(line);
}

}  // namespace sluice
