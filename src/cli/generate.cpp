// fovea generate: a language model continues a text.
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "base/check.hpp"
#include "cli/app.hpp"
#include "cli/model_folder.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/tasks/generation.hpp"

namespace fovea::cli {
namespace {

struct GenerateArguments {
  std::string model;
  std::string prompt;
  tasks::GenerateOptions options;
};

constexpr size_t kMaxPromptBytes = size_t{16} << 20;

std::string read_prompt(const std::string& prompt) {
  if (prompt != "-") return prompt;
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  check_data(text.size() <= kMaxPromptBytes, "standard input",
             "expected a prompt of at most {} bytes, found {}", kMaxPromptBytes, text.size());
  return text;
}

int generate(const GenerateArguments& arguments, const CommonOptions& common, Console& console) {
  require_task(arguments.model, "generate", {"language-model"}, console);
  const auto generator = tasks::TextGenerator::load(arguments.model);
  tasks::GenerateOptions options = arguments.options;
  if (common.seed_given) options.seed = static_cast<uint64_t>(common.seed);
  const std::string prompt = read_prompt(arguments.prompt);
  if (common.json) {
    const std::string text = generator.generate(prompt, options);
    print_result(dump_line({{"prompt", prompt}, {"text", text}, {"seed", options.seed}}));
    return kDone;
  }
  print_part(formats::printable_lines(prompt));
  size_t shown = 0;
  const std::string text = generator.generate(prompt, options, [&](std::string_view so_far) {
    if (so_far.size() > shown) {
      print_part(formats::printable_lines(so_far.substr(shown)));
      flush_results();
      shown = so_far.size();
    }
    return true;
  });
  if (text.size() > shown) print_part(formats::printable_lines(std::string_view(text).substr(shown)));
  print_part("\n");
  return kDone;
}

}  // namespace

void add_generate(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, "generate", "A language model continues a text",
                                  {"fovea generate out/shakespeare --prompt 'To be'",
                                   "fovea generate out/shakespeare --temperature 0.8 --top-k 20 --seed 7"});
  auto arguments = std::make_shared<GenerateArguments>();
  command->add_option("MODEL", arguments->model, "Folder that fovea train wrote")->required();
  command
      ->add_option("--prompt", arguments->prompt,
                   "Text to continue, or - for standard input (default: none, a new text)")
      ->option_text("TEXT");
  command
      ->add_option(
          "--tokens", arguments->options.max_tokens,
          "Write at most N tokens, the characters or pieces of words of the model's vocabulary, up to "
          "1,000,000 (default: 256)")
      ->option_text("N")
      ->check(CLI::Range(0, 1'000'000));
  command
      ->add_option("--temperature", arguments->options.sampler.temperature,
                   "Below 1 surer, above 1 wilder, 0 always the likeliest token (default: 1)")
      ->option_text("X");
  command
      ->add_option("--top-k", arguments->options.sampler.top_k,
                   "Draw from the K likeliest tokens, 0 from all (default: 0)")
      ->option_text("K");
  command
      ->add_option(
          "--top-p", arguments->options.sampler.top_p,
          "Draw from the likeliest tokens that together reach the probability P, above 0 and up to 1 "
          "(default: 1, all)")
      ->option_text("P");
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return generate(*arguments, common, console);
    };
  });
}

}  // namespace fovea::cli
