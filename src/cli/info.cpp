// fovea info: the machine and its instruction sets, or a model: its card and whether its files are whole.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "cli/app.hpp"
#include "cli/attention_call.hpp"
#include "cli/model_folder.hpp"
#include "cli/text.hpp"
#include "formats/json.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/version.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/folder_lock.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"

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

// What is written about a model, as far as it is there: a run that was stopped has no card yet.
std::string optional_file(const std::filesystem::path& path) {
  return formats::exists(path) ? formats::read_file(path, 1 << 20) : std::string();
}

// What a folder holds beside its model, for people: whether it is whole, and a run under way.
std::string folder_text(const std::filesystem::path& folder, const std::filesystem::path& files,
                        formats::Integrity integrity) {
  std::string text = "\n## Files\n\n";
  if (integrity == formats::Integrity::kUnverified) {
    return text + fmt::format("Unverified: there is no {}, so that damage cannot be seen.\n",
                              formats::kManifestName);
  }
  const auto entries = formats::read_manifest(files);
  text += fmt::format("Verified: {} files are as they were written.\n\n", entries.size());
  for (const auto& entry : entries)
    text += fmt::format("    {:<18} {:>14} bytes  CRC-32C {:08x}\n", entry.name, with_commas(entry.bytes),
                        entry.checksum);
  if (formats::exists(folder / formats::kNextFolder / "checkpoint")) {
    text += fmt::format(
        "\nA run that will replace this model stands in {}; fovea train … --resume continues it.\n",
        (folder / formats::kNextFolder).string());
  }
  return text;
}

// Records the files as they are now as right.
void accept_files(const std::filesystem::path& folder) {
  const std::filesystem::path files = formats::model_files(folder);
  check_data(formats::exists(files / "model.safetensors"), folder.string(),
             "expected a finished model to accept, found none; train it first");
  const formats::FolderLock lock(files);
  formats::accept_files(files);
}

int model_info(const std::filesystem::path& folder, bool accept, const CommonOptions& common) {
  if (accept) accept_files(folder);
  const std::filesystem::path files = formats::model_files(folder);
  const formats::Integrity integrity = formats::verify_files(files);
  const ordered_json config = read_config(folder);
  const std::string metrics = optional_file(files / "metrics.json");
  const std::string card = optional_file(files / "card.md");
  if (common.json) {
    print_result(dump_line(
        {{"config", config},
         {"metrics", metrics.empty() ? ordered_json(nullptr)
                                     : formats::parse_json(metrics, (files / "metrics.json").string())},
         {"integrity", formats::to_string(integrity)}}));
  } else {
    print_result((card.empty() ? dump_text(config) + "\n(no card.md: the run has not finished)\n"
                               : formats::printable_lines(card)) +
                 folder_text(folder, files, integrity));
  }
  return kDone;
}

}  // namespace

void add_info(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, "info", "The machine and its instruction sets, or a model's card",
                                  {"fovea info", "fovea info out/packages",
                                   "fovea info --attention \"B=1 H=8 L=4096 D=64 causal bf16\""});
  auto model = std::make_shared<std::string>();
  CLI::Option* folder =
      command->add_option("MODEL", *model,
                          "Folder that fovea train wrote (default: the machine): its card, and "
                          "whether every file is as it was written");
  auto accept = std::make_shared<bool>(false);
  command
      ->add_flag("--accept", *accept,
                 "Take MODEL's files as they are now for right, after a change that was meant")
      ->needs(folder);
  auto call = std::make_shared<std::string>();
  command
      ->add_option("--attention", *call,
                   "Which kernel serves an attention call, and why others decline. CALL is words in one "
                   "argument: B=, H=, "
                   "L=, Lq=, Lk=, D=, Dv= (numbers), "
                   "window=LEFT,RIGHT, softcap=, dropout=, top_k=, causal, alibi, bias, mask, blocks, " +
                       score_names("|") +
                       ", f32|bf16|f16, strict|high|fast; the environment's FOVEA_ATTENTION_KERNEL asks for "
                       "one by name (default: none, the machine is described)")
      ->option_text("CALL")
      ->excludes("MODEL");
  command->callback([model, accept, call, &invocation] {
    invocation.command = [model, accept, call](const CommonOptions& common, Console&) {
      if (!call->empty()) {
        const AttentionCall parsed = parse_attention_call(*call);
        print_result(common.json ? attention_call_json(parsed).dump() : attention_call_text(parsed));
        return kDone;
      }
      if (!model->empty()) return model_info(*model, *accept, common);
      print_result(common.json ? machine().dump() : machine_text());
      return kDone;
    };
  });
}

}  // namespace fovea::cli
