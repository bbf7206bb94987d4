#include "name_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace sluice::dns {
namespace {

constexpr const char* kProgram = "/usr/sbin/nsd";

// Below those that the kernel gives to clients (32768 to 60999, unless told otherwise): a
// connection that is made between our look and the server's start does not take it.
constexpr uint16_t kPortMin = 10000;
constexpr uint16_t kPortMax = 32767;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// -1: somebody has the port. 0: any.
int BoundSocket(int type, uint16_t port) {
  const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  const sockaddr_in address = Loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

uint16_t PortOf(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

bool IsFree(int type, uint16_t port) {
  const int fd = BoundSocket(type, port);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

// A query for the SOA of the root: header, root name, type 6, class IN.
constexpr char kSoaQuery[] = "\x12\x34\0\0\0\1\0\0\0\0\0\0\0\0\6\0\1";

}  // namespace

uint16_t FreePort() {
  std::random_device chance;
  std::uniform_int_distribution<uint16_t> ports(kPortMin, kPortMax);
  while (true) {
    const uint16_t port = ports(chance);
    if (IsFree(SOCK_DGRAM, port) && IsFree(SOCK_STREAM, port)) return port;
  }
}

NameServer::NameServer(absl::string_view zone) {
  if (access(kProgram, X_OK) != 0) {
    trouble_ = absl::StrCat(kProgram, " is not there: install the package nsd");
    return;
  }
  char directory[] = "/tmp/sluice-nsd-XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  directory_ = directory;
  port_ = FreePort();
  WriteFiles(zone);
  const std::string config = directory_ + "/nsd.conf";
  process_ = fork();
  CHECK(process_ >= 0);
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // A test that crashes leaves no server behind.
    execl(kProgram, kProgram, "-d", "-c", config.c_str(), nullptr);
    _exit(127);
  }
  ready_ = AnswersBefore(200);
  if (ready_) return;
  std::ostringstream log;
  log << std::ifstream(directory_ + "/nsd.log").rdbuf();
  trouble_ = "nsd does not answer: " + log.str();
}

NameServer::~NameServer() {
  if (process_ > 0) {
    kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
  }
  if (!directory_.empty()) std::filesystem::remove_all(directory_);
}

std::string NameServer::forward() const {
  return absl::StrCat("127.0.0.1@", port_);
}

void NameServer::WriteFiles(absl::string_view zone) {
  std::ofstream(directory_ + "/zone") << std::string(zone);
  std::ofstream(directory_ + "/nsd.conf")
      << "server:\n  ip-address: 127.0.0.1@" << port_ << "\n  port: " << port_
      << "\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: "
         "\"\"\n"
      << "  zonesdir: \"" << directory_ << "\"\n  zonelistfile: \"" << directory_ << "/zones\"\n"
      << "  xfrdfile: \"" << directory_ << "/xfrd\"\n  xfrdir: \"" << directory_ << "\"\n"
      << "  logfile: \"" << directory_ << "/nsd.log\"\n  rrl-ratelimit: 0\n"
      << "remote-control:\n  control-enable: no\n"
      << "zone:\n  name: \".\"\n  zonefile: \"zone\"\n";
}

// Asks until it answers; each try waits for 50 ms, or less when the kernel says that nobody
// listens.
bool NameServer::AnswersBefore(int tries) const {
  for (int i = 0; i < tries; ++i) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const sockaddr_in server = Loopback(port_);
    CHECK(connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof(server)) == 0);
    (void)!send(fd, kSoaQuery, sizeof(kSoaQuery) - 1, 0);
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    poll(&ready, 1, 50);
    char answer[512];
    const ssize_t size = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    close(fd);
    if (size > 12 && (answer[3] & 15) == 0) return true;
    if (waitpid(process_, nullptr, WNOHANG) != 0) return false;
    if (size < 0) poll(nullptr, 0, 10);
  }
  return false;
}

OddServer::OddServer()
    : socket_(BoundSocket(SOCK_DGRAM, 0)), port_(PortOf(socket_)), thread_([this] { Serve(); }) {}

OddServer::~OddServer() {
  stopping_ = true;
  const sockaddr_in self = Loopback(port_);  // An empty datagram of our own wakes the thread.
  sendto(socket_, "", 0, 0, reinterpret_cast<const sockaddr*>(&self), sizeof(self));
  thread_.join();
  close(socket_);
}

std::string OddServer::forward() const {
  return absl::StrCat("127.0.0.1@", port_);
}

void OddServer::Release() {
  const std::lock_guard lock(mutex_);
  released_ = true;
  for (const Held& held : held_) Send(held.answer, held.peer);
  held_.clear();
}

void OddServer::Send(absl::string_view answer, const std::vector<char>& peer) const {
  sendto(socket_, answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(peer.data()),
         static_cast<socklen_t>(peer.size()));
}

namespace {

// The question's own bytes after the header: name, type, class.
std::string QuestionOf(absl::string_view query) {
  size_t end = 12;
  while (end < query.size() && query[end] != 0) end += static_cast<unsigned char>(query[end]) + 1;
  return std::string(query.substr(12, end + 5 - 12));
}

std::string Header(absl::string_view query, int code, int questions, int answers) {
  std::string header(query.substr(0, 2));
  header += '\x84';                          // A response, authoritative,
  header += static_cast<char>(0x80 | code);  // with recursion.
  for (const int count : {questions, answers, 0, 0}) {
    header += '\0';
    header += static_cast<char>(count);
  }
  return header;
}

// One record for the name in the question: MX, IN, a TTL of 0, three octets, "0 .".
std::string NullMx() {
  return std::string("\xc0\x0c\0\x0f\0\1\0\0\0\0\0\3\0\0\0", 15);
}

std::string OddAnswer(absl::string_view behaviour, absl::string_view query) {
  const std::string question = QuestionOf(query);
  std::string whole = Header(query, 0, 1, 1) + question + NullMx();
  if (behaviour == "servfail") return Header(query, 2, 1, 0) + question;
  if (behaviour == "refused") return Header(query, 5, 1, 0) + question;
  if (behaviour == "formerr") return Header(query, 1, 1, 0) + question;
  if (behaviour == "garbage") return std::string(query.substr(0, 2)) + std::string(300, '\xff');
  if (behaviour == "cut") return whole.substr(0, whole.size() / 2);
  if (behaviour == "no-question") return Header(query, 0, 0, 1) + NullMx();
  if (behaviour == "wrong-id") {
    whole[0] = static_cast<char>(whole[0] ^ 1);
    return whole;
  }
  if (behaviour == "held") return whole;
  return "";
}

}  // namespace

void OddServer::Serve() {
  while (true) {
    char query[2048];
    std::vector<char> peer(sizeof(sockaddr_in));
    socklen_t length = sizeof(sockaddr_in);
    const ssize_t size = recvfrom(socket_, query, sizeof(query), 0,
                                  reinterpret_cast<sockaddr*>(peer.data()), &length);
    if (stopping_) return;
    if (size <= 17) continue;
    const absl::string_view bytes(query, static_cast<size_t>(size));
    const std::string behaviour =
        absl::AsciiStrToLower(bytes.substr(13, static_cast<unsigned char>(bytes[12])));
    const std::string answer = OddAnswer(behaviour, bytes);
    const std::lock_guard lock(mutex_);
    if (behaviour == "held" && !released_) {
      held_.push_back({answer, peer});
    } else if (!answer.empty()) {
      Send(answer, peer);
    }
  }
}

}  // namespace sluice::dns
