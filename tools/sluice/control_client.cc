#include "tools/sluice/control_client.h"

#include <httplib.h>
#include <sys/socket.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

// A change of a large table takes the engine some seconds.
constexpr time_t kPatienceSeconds = 60;

}  // namespace

absl::StatusOr<ControlAnswer> AskEngine(const std::string& socket, const std::string& method,
                                        const std::string& path, const std::string& body) {
  httplib::Client client(socket);
  client.set_address_family(AF_UNIX);
  client.set_read_timeout(kPatienceSeconds);
  httplib::Request request;
  request.method = method;
  request.path = path;
  request.body = body;
  request.set_header("Content-Type", "application/json");
  const httplib::Result result = client.send(request);
  if (!result && result.error() != httplib::Error::Connection) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the engine at ", socket, " took the request and has not answered (",
        httplib::to_string(result.error()), "): look at sluice status before asking again"));
  }
  if (!result) {
    return absl::UnavailableError(
        absl::StrCat("no engine answers at ", socket, " (", httplib::to_string(result.error()),
                     "): is sluiced running, and are you root or its user?"));
  }
  return ControlAnswer{.status = result->status, .body = result->body};
}

}  // namespace sluice::tools
