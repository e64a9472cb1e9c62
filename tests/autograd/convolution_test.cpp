#include "fovea/autograd/functions/convolution.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "tests/autograd/registry.hpp"
#include "tests/reference/layers.hpp"

namespace fovea::autograd {
namespace {

FOVEA_GRADIENT_CASES(conv1d) {
  struct Windows {
    int64_t width;
    Conv1dOptions options;
  };
  const Windows kinds[] = {{1, {}},
                           {3, {.pad_left = 1, .pad_right = 1}},
                           {4, {.pad_left = 3}},
                           {3, {.stride = 2, .dilation = 2, .pad_left = 1}},
                           {5, {}}};
  std::vector<GradientCase> cases;
  for (const int64_t n : awkward_sizes()) {
    for (const auto& [width, options] : kinds) {
      const Offsets offsets = awkward_offsets(n);
      const Offsets out = options.out_offsets(offsets, width);
      const reference::Window1d window{options.stride, options.dilation, options.pad_left, options.pad_right};
      cases.push_back(
          {.label = std::to_string(n) + " tokens, width " + std::to_string(width),
           .inputs = {random_array({n, 3}, 1), random_array({6, width, 3}, 2), random_array({6}, 3)},
           .op = [=, o = options](auto& in) { return conv1d(in[0], in[1], in[2], offsets, out, o); },
           .reference =
               [=](const auto& in) {
                 return reference::conv1d(in[0], in[1], in[2],
                                          {offsets.values().begin(), offsets.values().end()}, window);
               },
           .depth = static_cast<double>(n)});
    }
  }
  return cases;
}

struct ImageCase {
  std::vector<int64_t> image;  // [batch, h, w, channels]
  int64_t kernel_h, kernel_w;
  Conv2dOptions options;
};
const std::vector<ImageCase>& image_cases() {
  static const std::vector<ImageCase> all{{{1, 1, 1, 1}, 1, 1, {}},
                                          {{2, 5, 7, 3}, 3, 3, {.pad_h = 1, .pad_w = 1}},
                                          {{3, 8, 6, 4}, 2, 2, {.stride_h = 2, .stride_w = 2}},
                                          {{1, 9, 9, 2}, 3, 2, {.stride_h = 2, .stride_w = 1, .pad_h = 1}},
                                          {{0, 4, 4, 2}, 2, 2, {}}};
  return all;
}

std::string image_label(const ImageCase& c) {
  return std::to_string(c.image[0]) + " images of " + std::to_string(c.image[1]) + " × " +
         std::to_string(c.image[2]);
}

FOVEA_GRADIENT_CASES(conv2d) {
  std::vector<GradientCase> cases;
  for (const ImageCase& c : image_cases()) {
    const reference::Window2d window{c.options.stride_h, c.options.stride_w, c.options.pad_h,
                                     c.options.pad_w};
    cases.push_back(
        {.label = image_label(c),
         .inputs = {random_array(c.image, 1), random_array({5, c.image[3], c.kernel_h, c.kernel_w}, 2),
                    random_array({5}, 3)},
         .op = [o = c.options](auto& in) { return conv2d(in[0], in[1], in[2], o); },
         .reference = [window](const auto& in) { return reference::conv2d(in[0], in[1], in[2], window); },
         .depth = 200});
  }
  return cases;
}

FOVEA_GRADIENT_CASES(max_pool2d) {
  std::vector<GradientCase> cases;
  for (const ImageCase& c : image_cases()) {
    const reference::Window2d window{c.options.stride_h, c.options.stride_w, c.options.pad_h,
                                     c.options.pad_w};
    // Distinct values far apart, so that no central difference crosses from one maximum to another.
    reference::Array x = reference::zeros(c.image);
    for (int64_t i = 0; i < x.size(); ++i) x.at(i) = static_cast<double>(i * 37 % 1009) / 64;
    cases.push_back({.label = image_label(c),
                     .inputs = {x},
                     .op = [&c](auto& in) { return max_pool2d(in[0], c.kernel_h, c.kernel_w, c.options); },
                     .reference =
                         [&c, window](const auto& in) {
                           return reference::max_pool2d(in[0], c.kernel_h, c.kernel_w, window);
                         },
                     .magnitude = 16});
  }
  return cases;
}

TEST(Convolution, MisuseIsNamed) {
  const Tensor x = Tensor::zeros({4, 3});
  const Offsets o = Offsets::single(4);
  try {
    conv1d(x, Tensor::zeros({2, 3, 3}), {}, o, o);
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(),
                 "[conv1d] expected 2 windows of sequence 0, got 4; take the offsets from the options");
  }
  EXPECT_THROW(conv1d(x, Tensor::zeros({2, 1, 4}), {}, o, o), ArgumentError);
  EXPECT_THROW((void)Conv1dOptions{.stride = 0}.out_offsets(o, 1), ArgumentError);
  EXPECT_THROW(conv2d(Tensor::zeros({1, 2, 2, 3}), Tensor::zeros({2, 3, 3, 3}), {}), ArgumentError);
  EXPECT_THROW(max_pool2d(Tensor::zeros({1, 2, 2, 3}), 2, 2, {.pad_h = 2}), ArgumentError);
}

}  // namespace
}  // namespace fovea::autograd
