// Threads: one pool for the process, whose threads wait awake for a moment, then leave their core to whoever
// wants it, then sleep, and handle no signals. A caller does what helpers have not begun, so that one that
// comes late costs little. Calls from several threads at once run on one of them with helpers, on the others
// alone. Work is cut from its size alone, never from the number of threads, wherever the cut could change a
// result; so results have the same bits for any number of threads. Exceptions thrown by a worker are rethrown
// on the caller (the one of the lowest index).
#pragma once

#include <cstdint>

#include "fovea/base/function_ref.hpp"

namespace fovea {

// Upper bound on the threads that one call uses. Default: the processor's cores this process may run on.
// Throws ArgumentError unless 1 <= n <= 1024. May be called at any time from one thread. A process that was
// forked after the first call of its parent has 1, for it is often one of many that share the cores; it may
// ask for more. OpenMP's own number is set with it, for oneDNN.
void set_num_threads(int n);
int get_num_threads();

// Runs body(begin, end) over contiguous, disjoint pieces of [0, n), at most one a thread. Pieces are
// multiples of `grain` but the last. n <= grain, or a call from inside a parallel region, runs in place
// without waking anyone. Only for bodies whose results do not depend on where the pieces are cut
// (elementwise, row by row). grain is the least work worth a thread: about 16k floats of elementwise work.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t begin, int64_t end)> body);

// Runs body(i) for i in [0, n), pulled one by one from a shared counter (longest first is the caller's
// order). worth_threads false runs in place: say so when the whole work is under about 20 microseconds.
void parallel_tasks(int64_t n, bool worth_threads, FunctionRef<void(int64_t task)> body);

// The index of the calling thread in the current parallel region, 0 outside of one; < get_num_threads().
// For choosing a workspace only, never for choosing what to compute.
int thread_index();

}  // namespace fovea
