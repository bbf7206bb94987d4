#include "engine/toml_section.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

std::string_view Std(absl::string_view text) {
  return {text.data(), text.size()};
}
absl::string_view Absl(std::string_view text) {
  return {text.data(), text.size()};
}

int LineOfNode(const toml::node& node) {
  return static_cast<int>(node.source().begin.line);
}

absl::string_view TypeName(toml::node_type type) {
  switch (type) {
    case toml::node_type::none:
      return "nothing";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      return "a date or time";
  }
  return "something else";
}

// Whether one letter added, left out, changed or swapped with its neighbour makes `b` of `a`.
bool OneLetterApart(absl::string_view a, absl::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > 1) return false;
  size_t same = 0;
  while (same < a.size() && a[same] == b[same]) ++same;
  const absl::string_view rest_a = a.substr(same);
  const absl::string_view rest_b = b.substr(same);
  if (rest_b.empty()) return true;
  if (a.size() < b.size()) return rest_a == rest_b.substr(1);
  if (rest_a.substr(1) == rest_b.substr(1)) return true;
  return rest_a.size() > 1 && rest_a[0] == rest_b[1] && rest_a[1] == rest_b[0] &&
         rest_a.substr(2) == rest_b.substr(2);
}

}  // namespace

void TomlFile::Fail(int line, std::string text) const {
  errors->push_back({.file = path, .line = std::max(line, 1), .text = std::move(text)});
}

TomlSection::TomlSection(const TomlFile& file, std::string name, const toml::table& table)
    : file_(file), name_(std::move(name)), table_(table) {}

TomlSection::~TomlSection() {
  for (const auto& [key, node] : table_) {
    const absl::string_view text = Absl(key.str());
    if (std::find(known_.begin(), known_.end(), text) != known_.end()) continue;
    std::string message = absl::StrCat("unknown key '", text, "'");
    if (!name_.empty()) absl::StrAppend(&message, " in ", name_);
    for (const std::string& known : known_) {
      if (!OneLetterApart(text, known)) continue;
      absl::StrAppend(&message, "; did you mean '", known, "'?");
      break;
    }
    file_.Fail(static_cast<int>(key.source().begin.line), std::move(message));
  }
}

bool TomlSection::Text(absl::string_view key, std::string& value) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  const toml::value<std::string>* text = node->as_string();
  if (text == nullptr) {
    FailType(key, *node, "a text in quotes");
    return false;
  }
  value = text->get();
  return true;
}

bool TomlSection::Path(absl::string_view key, std::string& value) {
  std::string text;
  if (!Text(key, text)) return false;
  if (text.empty() || text.find('\0') != std::string::npos) {
    Fail(key, "must name a path");
    return false;
  }
  const size_t slash = file_.path.rfind('/');
  if (text[0] != '/' && slash != std::string::npos) text.insert(0, file_.path, 0, slash + 1);
  value = std::move(text);
  return true;
}

bool TomlSection::Flag(absl::string_view key, bool& value) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  const toml::value<bool>* flag = node->as_boolean();
  if (flag == nullptr) {
    FailType(key, *node, "true or false");
    return false;
  }
  value = flag->get();
  return true;
}

bool TomlSection::Number(absl::string_view key, uint64_t least, uint64_t most, uint64_t& value) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  const toml::value<int64_t>* number = node->as_integer();
  if (number == nullptr) {
    FailType(key, *node, "a whole number");
    return false;
  }
  const int64_t given = number->get();
  if (given < 0 || static_cast<uint64_t>(given) < least || static_cast<uint64_t>(given) > most) {
    Fail(key, absl::StrCat("must be from ", least, " to ", most, ", not ", given));
    return false;
  }
  value = static_cast<uint64_t>(given);
  return true;
}

bool TomlSection::Texts(absl::string_view key, std::vector<TomlText>& values) {
  const toml::node* node = Find(key);
  if (node == nullptr) return false;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    FailType(key, *node, "a list of texts");
    return false;
  }
  std::vector<TomlText> texts;
  for (const toml::node& member : *list) {
    const toml::value<std::string>* text = member.as_string();
    if (text == nullptr) {
      FailType(key, member, "a list of texts");
      return false;
    }
    texts.push_back({.text = text->get(), .line = LineOfNode(member)});
  }
  values = std::move(texts);
  return true;
}

const toml::table* TomlSection::Table(absl::string_view key) {
  const toml::node* node = Find(key);
  if (node == nullptr) return nullptr;
  const toml::table* table = node->as_table();
  if (table == nullptr) FailType(key, *node, absl::StrCat("a table, [", key, "]"));
  return table;
}

std::vector<const toml::table*> TomlSection::Tables(absl::string_view key) {
  std::vector<const toml::table*> tables;
  const toml::node* node = Find(key);
  if (node == nullptr) return tables;
  const std::string wanted = absl::StrCat("one or more tables, [[", key, "]]");
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    FailType(key, *node, wanted);
    return tables;
  }
  for (const toml::node& member : *list) {
    const toml::table* table = member.as_table();
    if (table == nullptr) {
      FailType(key, member, wanted);
      continue;
    }
    tables.push_back(table);
  }
  return tables;
}

bool TomlSection::Has(absl::string_view key) const {
  return table_.get(Std(key)) != nullptr;
}

int TomlSection::LineOf(absl::string_view key) const {
  const toml::node* node = table_.get(Std(key));
  return node == nullptr ? line() : LineOfNode(*node);
}

int TomlSection::line() const {
  return LineOfNode(table_);
}

void TomlSection::Fail(absl::string_view key, absl::string_view text) const {
  file_.Fail(LineOf(key), absl::StrCat(key, ": ", text));
}

void TomlSection::Require(absl::string_view key) const {
  if (Has(key)) return;
  file_.Fail(line(), name_.empty() ? absl::StrCat("'", key, "' is missing")
                                   : absl::StrCat("'", key, "' is missing in ", name_));
}

const toml::node* TomlSection::Find(absl::string_view key) {
  known_.emplace_back(key);
  return table_.get(Std(key));
}

void TomlSection::FailType(absl::string_view key, const toml::node& node,
                           absl::string_view wanted) const {
  file_.Fail(LineOfNode(node),
             absl::StrCat(key, ": must be ", wanted, ", not ", TypeName(node.type())));
}

}  // namespace sluice
