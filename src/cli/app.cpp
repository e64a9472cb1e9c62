#include "cli/app.hpp"

#include <fmt/format.h>

#include <new>

#include "cli/interrupt.hpp"
#include "cli/run.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/version.hpp"

namespace fovea::cli {
namespace {

constexpr const char* kEverywhere =
    "Everywhere:\n"
    "  --json        the result as JSON on standard output\n"
    "  --quiet       no progress, no log\n"
    "  --threads N   use at most N threads (default: every core)\n"
    "  --seed N      seed of everything random (default: 0, or the recipe's)\n"
    "  --help, --version\n";

int fail(Console& console, int code, std::string_view message) {
  console.clear_line();
  std::string line(message);
  for (char& c : line) c = c == '\n' ? ' ' : c;  // one error, one line
  fmt::print(stderr, "fovea: {}\n", line);
  return code;
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

std::string call_error(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) &&
      !chosen(&app)->get_subcommands({}).empty()) {
    return missing_command(*chosen(&app));
  }
  std::string message = error.what();
  while (!message.empty() && (message.back() == '\n' || message.back() == '.')) message.pop_back();
  return fmt::format("{}; see {} --help", message, full_name(chosen(&app)));
}

void add_common(CLI::App& app, CommonOptions& common) {
  app.add_flag("--json", common.json, "The result as JSON on standard output");
  app.add_flag("--quiet", common.quiet, "No progress, no log");
  app.add_option("--threads", common.threads, "Use at most this many threads")->check(CLI::Range(1, 1024));
  app.add_option("--seed", common.seed, "Seed of everything random")->check(CLI::NonNegativeNumber);
  app.set_version_flag("--version", std::string("fovea ") + version());
}

int run_command(Invocation& invocation, Console& console) {
  try {
    if (invocation.common.threads > 0) set_num_threads(invocation.common.threads);
    return invocation.command(invocation.common, console);
  } catch (const ArgumentError& error) {
    return fail(console, kWrongCall, error.what());
  } catch (const Interrupted& error) {
    return fail(console, kInterrupted, error.what());
  } catch (const std::bad_alloc&) {
    return fail(console, kFailed,
                "expected enough memory, the system refused; use shorter texts or smaller batches");
  } catch (const std::exception& error) {
    return fail(console, kFailed, error.what());
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
  fmt::print("{}", text);
  if (text.empty() || text.back() != '\n') fmt::print("\n");
}

int run(int argc, const char* const* argv) {
  catch_interrupts();
  CLI::App app("Fovea: attention models that one can look inside", "fovea");
  app.require_subcommand(0, 1);  // none is reported below, in our own words
  app.footer(
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
    fmt::print(stderr, "fovea: {}\n", call_error(app, error));
    return kWrongCall;
  }
  if (!invocation.command) {
    fmt::print(stderr, "fovea: {}\n", missing_command(*chosen(&app)));
    return kWrongCall;
  }
  invocation.common.seed_given = app.count("--seed") > 0;
  Console console(console_options(invocation.common.quiet));
  return run_command(invocation, console);
}

}  // namespace fovea::cli
