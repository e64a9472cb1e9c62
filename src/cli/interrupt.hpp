// Ctrl-C (SIGINT) and SIGTERM. The first ends the process at once, whatever it does or waits for, with one
// line and exit code 130: files are written under a temporary name, so none is left half. Only while work
// runs that asks between its steps whether to stop, and saves its state then, the first sets a flag. A second
// one has the system's usual effect.
#pragma once

namespace fovea::cli {

void catch_interrupts();

// From here on (or no longer) interrupt_requested() is asked in short intervals. A request that came in
// between and was not asked for any more ends the process when asking ends, unless an exception is on its way
// out.
void ask_for_interrupts(bool asks);
bool interrupt_requested();

}  // namespace fovea::cli
