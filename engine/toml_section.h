// One table of a TOML file, read key by key with every mistake noted where it stands.
//
// Asking for a key makes it a known one. What nobody asked for when the section ends is an error,
// with the known key that it was meant to be if one letter makes the difference.

#pragma once

// The header form without exceptions: a parse error is a value. The library form of Debian throws.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/config.h"

namespace sluice {

// Where errors go, and what paths are relative to.
struct TomlFile {
  std::string path;
  std::vector<ConfigError>* errors;

  void Fail(int line, std::string text) const;
};

struct TomlText {
  std::string text;
  int line = 0;
};

class TomlSection {
 public:
  // `name` is "" for the root, else as it stands in the file: "[spool]".
  TomlSection(const TomlFile& file, std::string name, const toml::table& table);
  ~TomlSection();  // Names the unknown keys.
  TomlSection(const TomlSection&) = delete;
  TomlSection& operator=(const TomlSection&) = delete;

  // Each leaves `value` alone when the key is not there or wrong, and says whether it was set.
  bool Text(absl::string_view key, std::string& value);
  bool Path(absl::string_view key, std::string& value);
  bool Flag(absl::string_view key, bool& value);
  bool Number(absl::string_view key, uint64_t least, uint64_t most, uint64_t& value);
  bool Texts(absl::string_view key, std::vector<TomlText>& values);

  // Sub-tables: [key] and [[key]]. Null and empty when not there or wrong.
  const toml::table* Table(absl::string_view key);
  std::vector<const toml::table*> Tables(absl::string_view key);

  bool Has(absl::string_view key) const;
  int LineOf(absl::string_view key) const;  // Of the section when the key is not there.
  int line() const;

  void Fail(absl::string_view key, absl::string_view text) const;  // "key: text", at the key.
  void Require(absl::string_view key) const;                       // Fails when it is not there.

 private:
  const toml::node* Find(absl::string_view key);
  void FailType(absl::string_view key, const toml::node& node, absl::string_view wanted) const;

  const TomlFile& file_;
  std::string name_;
  const toml::table& table_;
  std::vector<std::string> known_;
};

}  // namespace sluice
