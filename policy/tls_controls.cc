#include "policy/tls_controls.h"

#include <utility>

namespace sluice::policy {
namespace {

template <typename Said, typename T>
void Override(const std::optional<Said>& said, T& inherited) {
  if (said) inherited = *said;
}

}  // namespace

TlsControls InheritTls(const TlsEntry& entry, TlsControls controls) {
  Override(entry.level, controls.level);
  Override(entry.version_min, controls.version_min);
  Override(entry.sni, controls.sni);
  Override(entry.accept_cn, controls.accept_cn);
  Override(entry.alert_where_required_fails, controls.alert_where_required_fails);
  Override(entry.broken_memory, controls.broken_memory);
  Override(entry.ca_file, controls.ca_file);
  Override(entry.certificate, controls.certificate);
  if (!Prefers(controls.level)) controls.broken_memory = Duration::zero();
  return controls;
}

}  // namespace sluice::policy
