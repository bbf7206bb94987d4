#include "tools/lost_connection.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice::tools {

void CheckConnectionError(int error) {
  switch (-error) {
    case ECANCELED:  // We asked for the end ourselves.
    case ECONNABORTED:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOTCONN:
    case EADDRNOTAVAIL:  // connect: every local port towards this address is taken for now.
      return;
  }
  std::fprintf(stderr, "socket error that should not be: %s\n", strerrorname_np(-error));
  std::abort();
}

}  // namespace sluice::tools
