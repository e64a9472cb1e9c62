// Every float kernel by name, swept over instruction sets, sizes and alignments: none reads or writes outside
// of its arrays (they end at a page that may not be touched), none depends on where its arrays begin, and
// none on the number of threads. What the kernels compute is the other files' matter.
#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "fovea/kernels/dropout.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/embedding.hpp"
#include "fovea/kernels/norm.hpp"
#include "fovea/kernels/optimizer.hpp"
#include "fovea/kernels/reduce.hpp"
#include "fovea/kernels/rnn.hpp"
#include "fovea/kernels/softmax.hpp"
#include "fovea/kernels/transpose.hpp"
#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

// Floats that end exactly at a forbidden page, or some floats before it when shifted.
class GuardedArray {
 public:
  GuardedArray(const std::vector<float>& values, size_t shift) : count_(values.size()) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = (count_ + shift) * sizeof(float);
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(base_, MAP_FAILED);
    char* guard = static_cast<char*>(base_) + mapped_ - page;
    EXPECT_EQ(mprotect(guard, page, PROT_NONE), 0);
    data_ = reinterpret_cast<float*>(guard) - count_ - shift;
    if (count_ > 0) std::memcpy(data_, values.data(), count_ * sizeof(float));
  }
  ~GuardedArray() { munmap(base_, mapped_); }
  GuardedArray(const GuardedArray&) = delete;
  GuardedArray& operator=(const GuardedArray&) = delete;

  float* data() { return data_; }
  std::span<const float> values() const { return {data_, count_}; }

 private:
  size_t count_;
  size_t mapped_;
  void* base_;
  float* data_;
};

// Sizes of arrays: n · rows · cols for n = 1…4, one number a row, one a column.
constexpr int kRow = -1;
constexpr int kCol = -2;

using Pointers = std::vector<float*>;
struct Kernel {
  const char* name;
  std::vector<int> arrays;  // all are filled with numbers before, and compared after
  std::function<void(int64_t rows, int64_t cols, const Pointers& p)> run;
};

const Kernel kKernels[] = {
    {"add", {1, 1, 1}, [](int64_t r, int64_t c, const Pointers& p) { add(r * c, p[0], p[1], p[2]); }},
    {"multiply_add",
     {1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) { multiply_add(r * c, p[0], p[1], p[2]); }},
    {"axpy", {1, 1}, [](int64_t r, int64_t c, const Pointers& p) { axpy(r * c, 0.5f, p[0], p[1]); }},
    {"exp", {1, 1}, [](int64_t r, int64_t c, const Pointers& p) { exp(r * c, p[0], p[1]); }},
    {"log", {1, 1}, [](int64_t r, int64_t c, const Pointers& p) { log(r * c, p[0], p[1]); }},
    {"add_row",
     {1, kCol, 1},
     [](int64_t r, int64_t c, const Pointers& p) { add_row(r, c, p[0], p[1], p[2]); }},
    {"scale_columns",
     {1, kCol, 1},
     [](int64_t r, int64_t c, const Pointers& p) { scale_columns(r, c, p[0], p[1], p[2]); }},
    {"scale_rows",
     {1, kRow, 1},
     [](int64_t r, int64_t c, const Pointers& p) { scale_rows(r, c, p[0], p[1], p[2]); }},
    {"gelu",
     {1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       activation_forward(Activation::kGelu, r * c, p[0], p[1]);
     }},
    {"gelu_tanh backward",
     {1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       activation_backward(Activation::kGeluTanh, r * c, p[0], nullptr, p[1], p[2], true);
     }},
    {"tanh backward",
     {1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       activation_backward(Activation::kTanh, r * c, nullptr, p[0], p[1], p[2]);
     }},
    {"glu forward",
     {2, 1},
     [](int64_t r, int64_t c, const Pointers& p) { glu_forward(Activation::kSilu, r, c, p[0], p[1]); }},
    {"glu backward",
     {2, 1, 2},
     [](int64_t r, int64_t c, const Pointers& p) {
       glu_backward(Activation::kSilu, r, c, p[0], p[1], p[2]);
     }},
    {"layer_norm forward",
     {1, kCol, kCol, 1, kRow, kRow},
     [](int64_t r, int64_t c, const Pointers& p) {
       layer_norm_forward(r, c, p[0], p[1], p[2], 1e-5f, p[3], p[4], p[5]);
     }},
    {"layer_norm backward",
     {1, kCol, kRow, kRow, 1, 1, kCol, kCol},
     [](int64_t r, int64_t c, const Pointers& p) {
       layer_norm_backward(r, c, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], true);
     }},
    {"add_rms_norm forward",
     {1, 1, kCol, 1, 1, kRow},
     [](int64_t r, int64_t c, const Pointers& p) {
       add_rms_norm_forward(r, c, p[0], p[1], p[2], 1e-5f, p[3], p[4], p[5]);
     }},
    {"rms_norm backward",
     {1, kCol, kRow, 1, 1, kCol},
     [](int64_t r, int64_t c, const Pointers& p) {
       rms_norm_backward(r, c, p[0], p[1], p[2], p[3], p[4], p[5]);
     }},
    {"softmax", {1, 1}, [](int64_t r, int64_t c, const Pointers& p) { softmax(r, c, p[0], p[1]); }},
    {"softmax backward",
     {1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) { softmax_backward(r, c, p[0], p[1], p[2]); }},
    {"log_softmax", {1, 1}, [](int64_t r, int64_t c, const Pointers& p) { log_softmax(r, c, p[0], p[1]); }},
    {"log_sum_exp",
     {1, kRow},
     [](int64_t r, int64_t c, const Pointers& p) { log_sum_exp(r, c, p[0], p[1]); }},
    {"cross_entropy",
     {1, kRow, 1, kCol},
     [](int64_t r, int64_t c, const Pointers& p) {
       if (c == 0) return;
       const std::vector<int32_t> targets(static_cast<size_t>(r), static_cast<int32_t>(c - 1));
       cross_entropy_forward_backward(
           {.rows = r, .classes = c, .label_smoothing = 0.1f, .class_weights = p[3]}, p[0], targets.data(),
           1.0f, p[1], p[2]);
     }},
    {"gather_rows",
     {1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       std::vector<int64_t> ids;
       for (int64_t i = 0; i < r; ++i) ids.push_back(i * 7 % r);
       gather_rows(r, c, p[0], ids.data(), p[1]);
       scatter_add_rows(r, c, p[0], ids.data(), r, p[1]);
     }},
    {"column_sums",
     {1, kCol},
     [](int64_t r, int64_t c, const Pointers& p) { column_sums(r, c, p[0], p[1], true); }},
    {"row_dots",
     {1, 1, kRow},
     [](int64_t r, int64_t c, const Pointers& p) { row_dots(r, c, p[0], p[1], p[2]); }},
    {"dropout",
     {1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       dropout(r * c, 0.3f, {1, 2}, p[0], p[1]);
     }},
    {"dropout_add",
     {1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       dropout_add(r * c, 0.3f, {1, 2}, p[0], p[1], p[2]);
     }},
    {"random_uniform",
     {1},
     [](int64_t r, int64_t c, const Pointers& p) {
       random_uniform(r * c, {1, 2}, -1.0f, 1.0f, p[0]);
     }},
    {"adam_step",
     {1, 1, 1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       for (int64_t i = 0; i < r * c; ++i) p[3][i] = std::abs(p[3][i]);
       const OptimizerTensor t{r * c, p[0], p[1], p[2], p[3], p[4], 0.1f, 1.0f};
       adam_step({}, {&t, 1});
     }},
    {"sgd_step",
     {1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       const OptimizerTensor t{r * c, p[0], p[1], p[2], nullptr, nullptr, 0.1f, 1.0f};
       sgd_step({.momentum = 0.9f, .nesterov = true}, {&t, 1});
     }},
    {"lstm forward",
     {4, 1, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) { lstm_cell_forward(r, c, p[0], p[1], p[2], p[3]); }},
    {"lstm backward",
     {4, 1, 1, 1, 1, 4, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       lstm_cell_backward(r, c, p[0], p[1], p[2], p[3], p[4], p[5], p[6]);
     }},
    {"gru forward",
     {3, 3, 1, 1},
     [](int64_t r, int64_t c, const Pointers& p) { gru_cell_forward(r, c, p[0], p[1], p[2], p[3]); }},
    {"gru backward",
     {3, 3, 1, 1, 3, 3, 1},
     [](int64_t r, int64_t c, const Pointers& p) {
       gru_cell_backward(r, c, p[0], p[1], p[2], p[3], p[4], p[5], p[6]);
     }},
    {"transpose", {1, 1}, [](int64_t r, int64_t c, const Pointers& p) { transpose(r, c, p[0], c, p[1], r); }},
};

class Sweep : public testing::TestWithParam<Kernel> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Sweep, testing::ValuesIn(kKernels), [](const auto& entry) {
  std::string name = entry.param.name;
  for (char& c : name) c = c == ' ' ? '_' : c;
  return name;
});

std::vector<float> outcome(const Kernel& kernel, int64_t rows, int64_t cols, size_t shift) {
  std::vector<std::unique_ptr<GuardedArray>> arrays;
  Pointers pointers;
  for (size_t i = 0; i < kernel.arrays.size(); ++i) {
    const int kind = kernel.arrays[i];
    const int64_t n = kind == kRow ? rows : kind == kCol ? cols : kind * rows * cols;
    arrays.push_back(std::make_unique<GuardedArray>(normals(n, i + 1), shift));
    pointers.push_back(arrays.back()->data());
  }
  kernel.run(rows, cols, pointers);
  std::vector<float> all;
  for (const auto& a : arrays) all.insert(all.end(), a->values().begin(), a->values().end());
  return all;
}

TEST_P(Sweep, StaysInsideItsArraysWhereverTheyBegin) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t cols : kSizes) {
      const std::vector<float> want = outcome(GetParam(), 3, cols, 0);
      for (const size_t shift : {1u, 3u, 16u}) {
        expect_same_bits(outcome(GetParam(), 3, cols, shift), want, isa + " cols " + std::to_string(cols));
        if (HasFatalFailure()) return;
      }
    }
  });
}

TEST_P(Sweep, SameBitsForAnyNumberOfThreads) {
  on_every_isa([](const std::string& isa) {
    expect_thread_independent([] { return outcome(GetParam(), 700, 65, 0); }, isa);
  });
}

}  // namespace
}  // namespace fovea::kernels
