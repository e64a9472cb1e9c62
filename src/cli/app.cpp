#include "cli/app.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>
#include <system_error>

#include "base/check.hpp"
#include "cli/interrupt.hpp"
#include "cli/run.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/version.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::cli {
namespace {

constexpr const char* kEverywhere =
    "Everywhere:\n"
    "  --json        the result as JSON on standard output: one object, or one a line for streams\n"
    "  --quiet       no progress, no log\n"
    "  --threads N   use at most N threads (default: every core)\n"
    "  --seed N      seed of everything random (default: 0, or the recipe's)\n"
    "  --help, --version\n";

// Says what a value is in the option's own words, not how the parser holds it.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = option->get_option_text();
    if (!text.empty()) text.insert(0, 1, ' ');
    if (option->get_required()) text += " (required)";
    for (const CLI::Option* other : option->get_needs()) text += " (with " + other->get_name() + ")";
    for (const CLI::Option* other : option->get_excludes()) text += " (not with " + other->get_name() + ")";
    return text;
  }
};

int fail(Console& console, int code, std::string_view message) {
  console.clear_line();
  std::string line(message);
  for (char& c : line) c = c == '\n' ? ' ' : c;  // one error, one line
  fmt::print(stderr, "fovea: {}\n", formats::printable(line, line.size()));
  return code;
}

[[noreturn]] void output_failed() {
  const int error = errno;
  if (error == EPIPE) throw ClosedOutput();
  throw_data("standard output", "expected to write the result, found: {}; make room or write elsewhere",
             std::generic_category().message(error));
}

// The command line again, for a person to paste.
std::string quoted(int argc, const char* const* argv) {
  std::string line = "fovea";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain =
        !word.empty() && word.find_first_of(" \t\n\"'\\$`*?[]{}()<>|&;#~!") == std::string::npos;
    line += plain ? " " + word : " '";
    if (plain) continue;
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

// The deepest command that was named on the line, for help.
const CLI::App* chosen(const CLI::App* app) {
  const auto parsed = app->get_subcommands();
  return parsed.empty() ? app : chosen(parsed.front());
}

std::string full_name(const CLI::App* app) {
  const CLI::App* parent = app->get_parent();
  return parent == nullptr ? "fovea" : full_name(parent) + " " + app->get_name();
}

// What stands where a command should, with the commands there are.
std::string missing_command(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands({})) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  const std::vector<std::string> words = app.remaining();
  return fmt::format("expected a command out of {}, found {}; see {} --help", names,
                     words.empty() ? "none" : "'" + words.front() + "'", full_name(&app));
}

// The text between two others; empty when they are not there.
std::string between(std::string_view text, std::string_view before, std::string_view after) {
  const size_t begin = text.find(before);
  if (begin == std::string_view::npos) return "";
  const size_t end = after.empty() ? text.size() : text.find(after, begin + before.size());
  return end == std::string_view::npos
             ? ""
             : std::string(text.substr(begin + before.size(), end - begin - before.size()));
}

// The parser's errors in the form of ours.
std::string said_by_us(const CLI::App& app, const CLI::ParseError& error) {
  std::string_view said = error.what();
  while (said.ends_with('\n') || said.ends_with('.')) said.remove_suffix(1);
  const std::string option(said.substr(0, said.find(':')));
  switch (static_cast<CLI::ExitCodes>(error.get_exit_code())) {
    case CLI::ExitCodes::ExtrasError: {
      const std::vector<std::string> words = app.remaining(true);
      return fmt::format("expected no further argument, found '{}'", words.empty() ? "" : words.front());
    }
    case CLI::ExitCodes::RequiredError:
      return fmt::format("expected {}, found none", said.substr(0, said.find(' ')));
    case CLI::ExitCodes::ConversionError:
      return fmt::format("{}: expected a number, found '{}'", between(said, ": ", " = "),
                         between(said, " = ", ""));
    case CLI::ExitCodes::ArgumentMismatch:
      return fmt::format("{}: expected a value, found none", option);
    case CLI::ExitCodes::ExcludesError:
      return fmt::format("expected one of {} and {}, found both", said.substr(0, said.find(' ')),
                         between(said, "excludes ", ""));
    case CLI::ExitCodes::ValidationError:
      if (said.find(" not in range ") != std::string_view::npos) {
        return fmt::format("{}: expected a number from {}, found '{}'", option,
                           between(said, " not in range ", ""), between(said, "Value ", " not in range "));
      }
      return fmt::format("{}: expected a number of at least 0, found '{}'", option,
                         said.substr(said.rfind(' ') + 1));
    default:
      return "expected a call as in the examples, found another";
  }
}

std::string call_error(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) &&
      !chosen(&app)->get_subcommands({}).empty()) {
    return missing_command(*chosen(&app));
  }
  return fmt::format("{}; see {} --help", said_by_us(app, error), full_name(chosen(&app)));
}

int fail_call(std::string_view message) {
  fmt::print(stderr, "fovea: {}\n", formats::printable(message, message.size()));
  return kWrongCall;
}

void add_common(CLI::App& app, CommonOptions& common) {
  app.add_flag("--json", common.json,
               "The result as JSON on standard output: one object, or one a line for streams");
  app.add_flag("--quiet", common.quiet, "No progress, no log");
  app.add_option("--threads", common.threads, "Use at most N threads, 1 to 1024 (default: every core)")
      ->option_text("N")
      ->check(CLI::Range(1, 1024));
  app.add_option("--seed", common.seed, "Seed of everything random, from 0 (default: 0, or the recipe's)")
      ->option_text("N")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  app.set_version_flag("--version", std::string("fovea ") + version());
}

int run_command(Invocation& invocation, Console& console) {
  try {
    if (invocation.common.threads > 0) set_num_threads(invocation.common.threads);
    const int code = invocation.command(invocation.common, console);
    flush_results();
    return code;
  } catch (const ClosedOutput&) {
    return kFailed;
  } catch (const ArgumentError& error) {
    return fail(console, kWrongCall, error.what());
  } catch (const Interrupted& error) {
    return fail(console, kInterrupted, error.what());
  } catch (const DataError& error) {
    return fail(console, kFailed, error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(console, kFailed, formats::in_our_words(error).what());
  } catch (const std::bad_alloc&) {
    return fail(console, kFailed,
                "expected enough memory, the system refused; use shorter texts or smaller batches");
  } catch (const std::exception&) {
    // Whatever it is, it was written for programmers; they can make it again from the command line.
    return fail(
        console, kFailed,
        "expected no fault within Fovea, found one; please report the command line and the input that "
        "caused it");
  }
}

}  // namespace

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description,
                      const std::vector<std::string>& examples) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->fallthrough();  // the common options may stand after the command
  std::string footer = "Examples:\n";
  for (const std::string& example : examples) footer += "  " + example + "\n";
  command->footer(footer + "\n" + kEverywhere);
  return command;
}

void print_result(std::string_view text) {
  print_part(text);
  if (text.empty() || text.back() != '\n') print_part("\n");
}

void print_part(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) < text.size()) output_failed();
}

void flush_results() {
  if (std::fflush(stdout) != 0) output_failed();
}

int run(int argc, const char* const* argv) {
  catch_interrupts();
  CLI::App app("Fovea: attention models that one can look inside", "fovea");
  app.require_subcommand(0, 1);                      // none is reported below, in our own words
  app.formatter(std::make_shared<HelpFormatter>());  // the commands inherit it
  app.footer(
      "Results go to standard output, progress and log to standard error. The exit code is 0 when the work "
      "is\n"
      "done, 1 when it failed, 2 when the call was wrong, and 130 when Ctrl-C or SIGTERM stopped it.\n\n"
      "Examples:\n  fovea train --task text-classification --data reviews.csv --target label\n"
      "  fovea COMMAND --help");
  Invocation invocation;
  add_common(app, invocation.common);
  invocation.command_line = quoted(argc, argv);
  add_train(app, invocation);
  add_evaluate(app, invocation);
  add_predict(app, invocation);
  add_generate(app, invocation);
  add_explain(app, invocation);
  add_data(app, invocation);
  add_info(app, invocation);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App* command = chosen(&app);
    print_result(command->help(command == &app ? "" : full_name(command->get_parent())));
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    print_result(version.what());
    return kDone;
  } catch (const CLI::ParseError& error) {
    return fail_call(call_error(app, error));
  }
  if (!invocation.command) {
    return fail_call(missing_command(*chosen(&app)));
  }
  invocation.common.seed_given = app.count("--seed") > 0;
  Console console(console_options(invocation.common.quiet));
  return run_command(invocation, console);
}

}  // namespace fovea::cli
