// fovea generate: a language model continues a text.
#include <memory>
#include <string>
#include <utility>

#include "cli/app.hpp"
#include "cli/model_folder.hpp"
#include "cli/read_options.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/tasks/generation.hpp"

namespace fovea::cli {
namespace {

struct GenerateArguments {
  std::string model;
  std::string file;
  std::string column;
  std::string prompt;
  tasks::GenerateOptions options;
  ReadArguments read;
};

// A person watches the text grow.
void generate_one(const tasks::TextGenerator& generator, const std::string& prompt,
                  const tasks::GenerateOptions& options) {
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
}

std::string generated_json(std::string_view prompt, const std::string& text, uint64_t seed) {
  return dump_line({{"prompt", prompt}, {"text", text}, {"seed", seed}});
}

// A line for each prompt, whatever line breaks the text has: they are shown as \n.
void generate_each(const tasks::TextGenerator& generator, const GenerateArguments& arguments,
                   const tasks::GenerateOptions& options, bool json, Console& console) {
  const TextInput input{.file = arguments.file,
                        .column = arguments.column,
                        .usual = "text",
                        .target = "",
                        .options = arguments.read.options()};
  for_each_text(input, 1, console, [&](const TextBatch& batch) {
    const std::string text = generator.generate(batch.texts[0], options);
    const std::string whole = std::string(batch.texts[0]) + text;
    print_result(json ? generated_json(batch.texts[0], text, options.seed)
                      : formats::printable(whole, whole.size()) + "\n");
    flush_results();
    return true;
  });
}

int generate(GenerateArguments arguments, const CommonOptions& common, Console& console) {
  require_task(arguments.model, "generate", {"language-model"}, console);
  if (arguments.prompt == "-") arguments.file = std::exchange(arguments.prompt, "");
  const auto generator = tasks::TextGenerator::load(arguments.model);
  tasks::GenerateOptions options = arguments.options;
  if (common.seed_given) options.seed = static_cast<uint64_t>(common.seed);
  if (!arguments.file.empty()) {
    generate_each(generator, arguments, options, common.json, console);
  } else if (common.json) {
    print_result(
        generated_json(arguments.prompt, generator.generate(arguments.prompt, options), options.seed));
  } else {
    generate_one(generator, arguments.prompt, options);
  }
  return kDone;
}

}  // namespace

void add_generate(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(
      app, "generate",
      "A language model continues a text, or each of several, a line for each; --json gives JSON Lines",
      {"fovea generate out/shakespeare --prompt 'To be'",
       "fovea generate out/shakespeare --temperature 0.8 --top-k 20 --seed 7",
       "fovea generate out/shakespeare - --json < prompts.txt"});
  auto arguments = std::make_shared<GenerateArguments>();
  command->add_option("MODEL", arguments->model, "Folder that fovea train wrote")->required();
  CLI::Option* file = command->add_option(
      "FILE", arguments->file,
      "Texts to continue, each by itself: a table, a line each, or - for standard input (default: none)");
  command
      ->add_option("--prompt", arguments->prompt,
                   "Text to continue, line breaks and all, or - as FILE's (default: none, a new text)")
      ->option_text("TEXT")
      ->excludes(file);
  command
      ->add_option("--column", arguments->column,
                   "Column of FILE with the texts (default: text, or the only one)")
      ->option_text("COLUMN");
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
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return generate(*arguments, common, console);
    };
  });
}

}  // namespace fovea::cli
