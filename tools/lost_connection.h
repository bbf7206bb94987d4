// What an error of a socket's operation means to a tool: the connection is lost, or, if it is none
// of these, the program is wrong.

#pragma once

namespace sluice::tools {

// `error` is a completion's negative result. Ends the process with the error's name when it is not
// one that a network can cause.
void CheckConnectionError(int error);

}  // namespace sluice::tools
