// `sluice destconfig` without a command: the appliance's dialogue, a front of the batch commands.
//
// It reads the table with `export`, puts its questions, and gives a command of the words that the
// answers come to: what is refused, staged and committed is the same as in batch, and so are the
// sentences. A question that is interrupted changes nothing.

#pragma once

#include "tools/sluice/console.h"
#include "tools/sluice/destconfig.h"

namespace sluice::tools {

// Until it is left by an empty answer at the menu, or by the end of the answers there. `options`
// has no words. Exit codes: 0; 1 if the answers ended within an operation, and from a console that
// is scripted() if any answer was wrong or any operation was refused; 2 nobody can be asked; 130
// after Ctrl-C.
int RunDestconfigDialogue(const DestconfigOptions& options, Console& console);

}  // namespace sluice::tools
