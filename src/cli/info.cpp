// fovea info: the machine, its instruction sets, and what Fovea will use of them.
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/app.hpp"
#include "cli/text.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/version.hpp"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

constexpr const char* kCompiler =
#if defined(__clang__)
    "clang " __clang_version__;
#else
    "g++ " __VERSION__;
#endif

constexpr const char* kArchitecture =
#if defined(__x86_64__)
    "x86-64";
#elif defined(__aarch64__)
    "aarch64";
#else
        "other";
#endif

int64_t memory_bytes() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGE_SIZE));
}

ordered_json machine() {
  const CpuFeatures& cpu = cpu_features();
  ordered_json sets = ordered_json::array();
  for (const Isa isa : available_isas()) sets.push_back(to_string(isa));
  return {{"version", version()},           {"compiler", kCompiler},
          {"architecture", kArchitecture},  {"processor", cpu.model_name},
          {"threads", get_num_threads()},   {"memory_bytes", memory_bytes()},
          {"instruction_sets", sets},       {"instruction_set_in_use", to_string(current_isa())},
          {"avx512_bf16", cpu.avx512_bf16}, {"avx512_vnni", cpu.avx512_vnni},
          {"amx_bf16", cpu.amx_bf16}};
}

std::string machine_text() {
  const CpuFeatures& cpu = cpu_features();
  std::string sets;
  for (const Isa isa : available_isas())
    sets += fmt::format("{}{}", sets.empty() ? "" : ", ", to_string(isa));
  std::string extras;
  for (const auto& [has, name] : {std::pair{cpu.avx512_bf16, "avx512_bf16"},
                                  {cpu.avx512_vnni, "avx512_vnni"},
                                  {cpu.amx_bf16, "amx_bf16"}}) {
    if (has) extras += fmt::format("{}{}", extras.empty() ? "" : ", ", name);
  }
  const double gibibytes = static_cast<double>(memory_bytes()) / (1024.0 * 1024.0 * 1024.0);
  std::string text;
  text += fmt::format("fovea             {}, {}, {}\n", version(), kArchitecture, kCompiler);
  text += fmt::format("processor         {}\n", cpu.model_name.empty() ? "unknown" : cpu.model_name);
  text += fmt::format("threads           {}\n", get_num_threads());
  text += fmt::format("memory            {:.1f} GiB\n", gibibytes);
  text +=
      fmt::format("instruction sets  {}; in use: {} (FOVEA_ISA chooses)\n", sets, to_string(current_isa()));
  text += fmt::format("also present      {}\n",
                      extras.empty() ? "none of avx512_bf16, avx512_vnni, amx_bf16" : extras);
  return text;
}

}  // namespace

void add_info(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, "info", "The machine and its instruction sets", {"fovea info", "fovea info --json"});
  command->callback([&invocation] {
    invocation.command = [](const CommonOptions& common, Console&) {
      print_result(common.json ? machine().dump() : machine_text());
      return kDone;
    };
  });
}

}  // namespace fovea::cli
