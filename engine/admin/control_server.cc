#include "engine/admin/control_server.h"

#include <errno.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/thread.h"

namespace sluice::admin {
namespace {

constexpr int kThreads = 4;
constexpr int kPatienceMs = 5000;  // For each read and write of a client.
constexpr int kRestReads = 16;     // Of what a client still sends behind its request.
constexpr int kRestPatienceMs = 200;
constexpr size_t kBodyBytesMax = 160 << 20;  // A table's file of 150 MiB as JSON.

absl::Status Failed(const std::string& path, absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat("control socket ", path, ": ", what, ": ", std::strerror(errno)));
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// Nothing but a socket is ever replaced.
bool RemoveLeftover(const std::string& path) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) return errno == ENOENT;
  if (S_ISSOCK(status.st_mode)) return unlink(path.c_str()) == 0;
  errno = EEXIST;
  return false;
}

bool SomebodyAnswers(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool answered =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(probe);
  return answered;
}

// The file's mode says the same; this also holds where a path was linked elsewhere.
bool MayAsk(int socket) {
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

// Closes without a reset, which would take the reply from a client that had sent more than was
// read.
void CloseGently(int socket) {
  char rest[4096];
  pollfd waited = {.fd = socket, .events = POLLIN, .revents = 0};
  shutdown(socket, SHUT_WR);
  for (int i = 0; i < kRestReads && poll(&waited, 1, kRestPatienceMs) > 0; ++i) {
    if (recv(socket, rest, sizeof(rest), 0) <= 0) break;
  }
  close(socket);
}

// An accepted socket as httplib reads and writes it.
class SocketStream : public httplib::Stream {
 public:
  explicit SocketStream(int socket) : socket_(socket) {}

  bool is_readable() const override { return WaitFor(POLLIN); }
  bool is_writable() const override { return WaitFor(POLLOUT); }
  ssize_t read(char* bytes, size_t size) override {
    return WaitFor(POLLIN) ? recv(socket_, bytes, size, 0) : -1;
  }
  ssize_t write(const char* bytes, size_t size) override {
    return WaitFor(POLLOUT) ? send(socket_, bytes, size, MSG_NOSIGNAL) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  bool WaitFor(short events) const {
    pollfd waited = {.fd = socket_, .events = events, .revents = 0};
    return poll(&waited, 1, kPatienceMs) > 0;
  }

  int socket_;
};

}  // namespace

// Every path and method goes to the queue.
class ControlServer::Http : public httplib::Server {
 public:
  explicit Http(ControlQueue& queue) {
    set_payload_max_length(kBodyBytesMax);
    const auto handler = [&queue](const httplib::Request& request, httplib::Response& response) {
      ControlRequest asked = {
          .method = request.method, .path = request.path, .parameters = {}, .body = request.body};
      asked.parameters.insert(request.params.begin(), request.params.end());
      ControlReply reply = queue.Call(asked);
      response.status = reply.status;
      response.set_content(std::move(reply.body), "application/json");
    };
    Get(".*", handler);
    Post(".*", handler);
    Put(".*", handler);
    Patch(".*", handler);
    Delete(".*", handler);
  }

  void Answer(int socket) {
    SocketStream stream(socket);
    bool closed = false;
    process_request(stream, /*close_connection=*/true, closed, nullptr);
  }
};

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& path,
                                                                     ControlQueue& queue) {
  const sockaddr_un address = AddressOf(path);
  if (SomebodyAnswers(address)) {
    return absl::AlreadyExistsError(
        absl::StrCat("control socket ", path, ": another engine answers there"));
  }
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  if (!RemoveLeftover(path)) return Failed(path, "cannot be made");
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return Failed(path, "socket");
  fchmod(listener, 0600);  // Before the name is there: it is never open to others.
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, SOMAXCONN) != 0) {
    const absl::Status failed = Failed(path, "cannot be made");
    close(listener);
    return failed;
  }
  return std::unique_ptr<ControlServer>(new ControlServer(path, listener, queue));
}

ControlServer::ControlServer(std::string path, int listener, ControlQueue& queue)
    : path_(std::move(path)), listener_(listener), http_(std::make_unique<Http>(queue)) {
  for (int i = 0; i < kThreads; ++i) threads_.push_back(StartThread([this] { Run(); }));
}

ControlServer::~ControlServer() {
  unlink(path_.c_str());
  shutdown(listener_, SHUT_RDWR);  // Ends the threads' accept.
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

void ControlServer::Run() {
  while (true) {
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0 && errno != EINVAL && errno != EBADF) {  // EINVAL: it has been shut down.
      if (errno == EMFILE || errno == ENFILE) poll(nullptr, 0, kPatienceMs / 10);
      continue;
    }
    if (socket < 0) return;
    if (MayAsk(socket)) http_->Answer(socket);
    CloseGently(socket);
  }
}

}  // namespace sluice::admin
