// Which kernel serves an attention call, and why the others decline. Thread-safe, but for
// set_attention_kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/attention/spec.hpp"
#include "fovea/tensor/dtype.hpp"

namespace fovea {

// What a plan depends on. It does not depend on lengths, the number of sequences or what is observed, so that
// a sequence has the same bits in any batch, observed or not.
struct AttentionShape {
  int64_t width = 64;         // D, 0…1024
  int64_t value_width = 64;   // Dv
  DType dtype = DType::kF32;  // of q, k and v: float32, bfloat16 or float16
  bool backward = false;      // the gradients' call
  bool biases = false;        // biases by distance or of any shape, masks, block masks: every kernel has them
  bool overrides = false;     // patterns of heads given from outside
  bool head_scales = false;   // a scale a head
};

// One line of a plan.
struct PlannedKernel {
  std::string name;     // as FOVEA_ATTENTION_KERNEL takes it
  bool serves = false;  // would run if no kernel before it did
  std::string reason;   // why it declines, or what it does
};

// The kernels in order of preference; the first that serves is used, and the last always serves.
//   amx_bf16       products of bf16 pairs in tile registers (Intel AMX)
//   avx512_bf16    … by the dot products of AVX-512-BF16
//   software_bf16, software_tiles  … in float32 arithmetic, without and with tiles; only when asked for by
//   name,
//                  to test the two above
//   float32        multiply-adds of the instruction set in use; 16-bit inputs are widened, exactly
// ArgumentError for a dtype that attention does not take.
std::vector<PlannedKernel> attention_plan(const AttentionShape& shape, const AttentionSpec& spec = {});

// Asks for one kernel by name ("" for the usual order): the others decline, float32 excepted, which serves
// where the named one cannot. For tests and comparisons; not while calls run. The start value is the
// environment variable FOVEA_ATTENTION_KERNEL. ArgumentError for an unknown name.
void set_attention_kernel(std::string_view name);

// The name asked for; empty: the usual order.
std::string_view current_attention_kernel();

}  // namespace fovea
