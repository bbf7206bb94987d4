#include "tools/sluice/control_client.h"

#include <errno.h>
#include <httplib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

// A change of a large table takes the engine some seconds.
constexpr time_t kPatienceSeconds = 60;

// Whether somebody listens there and lets us in.
absl::Status Reach(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": too long for a socket's path"));
  }
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool reached =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int error = errno;
  close(probe);
  if (reached) return absl::OkStatus();
  const bool nobody = error == ENOENT || error == ECONNREFUSED;
  const std::string why = absl::StrCat(nobody ? "no engine answers at " : "the engine at ", path,
                                       ": ", std::strerror(error));
  return nobody ? absl::UnavailableError(why) : absl::PermissionDeniedError(why);
}

}  // namespace

absl::StatusOr<ControlAnswer> AskEngine(const std::string& socket, const std::string& method,
                                        const std::string& path, const std::string& body) {
  if (absl::Status reached = Reach(socket); !reached.ok()) return reached;
  httplib::Client client(socket);
  client.set_address_family(AF_UNIX);
  client.set_read_timeout(kPatienceSeconds);
  httplib::Request request;
  request.method = method;
  request.path = path;
  request.body = body;
  request.set_header("Content-Type", "application/json");
  const httplib::Result result = client.send(request);
  if (!result) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the engine at ", socket, " took the request and has not answered (",
        httplib::to_string(result.error()), "): look at sluice status before asking again"));
  }
  return ControlAnswer{.status = result->status, .body = result->body};
}

}  // namespace sluice::tools
