// Ctrl-C: the first asks the work to save and stop (ProgressSink::stop_requested), the second ends the
// process.
#pragma once

namespace fovea::cli {

// From here on SIGINT and SIGTERM set a flag; a second one has the system's usual effect.
void catch_interrupts();
bool interrupt_requested();

}  // namespace fovea::cli
