#include "fovea/train/checkpoint.hpp"

#include <charconv>

#include "base/check.hpp"
#include "base/number_text.hpp"
#include "fovea/formats/safetensors.hpp"

namespace fovea::train {
namespace {

constexpr const char* kVersion = "1";

// A double as text that reads back to the same bits: fmt's shortest decimal, which knows no locale ("{:a}"
// does).
std::string exact(double value) {
  return fmt::format("{}", value);
}

int64_t whole(const formats::Metadata& metadata, const std::string& key, const std::string& where) {
  const auto found = metadata.find(key);
  check_data(found != metadata.end(), where, "expected \"{}\" in the checkpoint, found none", key);
  int64_t value = 0;
  const auto& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check_data(error == std::errc() && end == text.data() + text.size(), where,
             "expected a whole number for \"{}\", found \"{}\"", key, text);
  return value;
}

double fraction(const formats::Metadata& metadata, const std::string& key, const std::string& where) {
  const auto found = metadata.find(key);
  check_data(found != metadata.end(), where, "expected \"{}\" in the checkpoint, found none", key);
  const auto value = number_of_any_base_in(found->second);
  check_data(value.has_value(), where, "expected a number for \"{}\", found \"{}\"", key, found->second);
  return *value;
}

void copy_in(const formats::SafeTensors& file, const std::string& name, Tensor& to,
             const std::string& where) {
  const Tensor* from = file.find(name);
  check_data(from != nullptr, where, "expected a tensor \"{}\", found none: it is of another model", name);
  check_data(from->shape() == to.shape() && from->dtype() == to.dtype(), where,
             "expected \"{}\" with {} elements, found {}: it is of another model", name, to.numel(),
             from->numel());
  to.copy_from(*from);
}

optim::OptimizerState state_under(const formats::SafeTensors& file, std::string_view prefix, int64_t steps) {
  optim::OptimizerState state;
  state.steps = steps;
  for (const auto& entry : file.tensors) {
    if (entry.name.starts_with(prefix))
      state.tensors.push_back({entry.name.substr(prefix.size()), entry.tensor});
  }
  return state;
}

Progress read_checkpoint(const std::filesystem::path& file, const TrainState& state) {
  const auto loaded = formats::load_safetensors(file);
  const std::string where = file.string();
  const auto version = loaded.metadata.find("fovea.checkpoint");
  check_data(version != loaded.metadata.end() && version->second == kVersion, where,
             "expected a checkpoint of version {}, found {}", kVersion,
             version == loaded.metadata.end() ? "none" : version->second);
  Progress p;
  p.step = whole(loaded.metadata, "step", where);
  p.pass = whole(loaded.metadata, "pass", where);
  p.epoch = whole(loaded.metadata, "epoch", where);
  p.batch = whole(loaded.metadata, "batch", where);
  p.tokens = whole(loaded.metadata, "tokens", where);
  p.best_step = whole(loaded.metadata, "best_step", where);
  p.best_score = fraction(loaded.metadata, "best_score", where);
  p.stale = whole(loaded.metadata, "stale", where);
  p.seconds = fraction(loaded.metadata, "seconds", where);
  check_data(p.step >= 0 && p.pass >= 0 && p.epoch >= 0 && p.batch >= 0, where,
             "expected counts >= 0, found a negative one");
  for (auto parameter : state.parameters)
    copy_in(loaded, "weight." + parameter.name, parameter.var.value(), where);
  try {
    state.optimizer->load_state(
        state_under(loaded, "optimizer.", whole(loaded.metadata, "optimizer_steps", where)));
    if (state.average != nullptr) {
      state.average->load_state(
          state_under(loaded, "average.", whole(loaded.metadata, "average_steps", where)));
    }
  } catch (const ArgumentError& error) {
    throw_data(where, "it is of another run: {}", error.what());
  }
  return p;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& file, const TrainState& state, const Progress& progress) {
  std::vector<formats::NamedTensor> tensors;
  formats::Metadata metadata{{"fovea.checkpoint", kVersion},
                             {"step", std::to_string(progress.step)},
                             {"pass", std::to_string(progress.pass)},
                             {"epoch", std::to_string(progress.epoch)},
                             {"batch", std::to_string(progress.batch)},
                             {"tokens", std::to_string(progress.tokens)},
                             {"best_step", std::to_string(progress.best_step)},
                             {"best_score", exact(progress.best_score)},
                             {"stale", std::to_string(progress.stale)},
                             {"seconds", exact(progress.seconds)}};
  for (const auto& p : state.parameters) tensors.push_back({"weight." + p.name, p.var.value()});
  const auto optimizer = state.optimizer->state();
  metadata["optimizer"] = state.optimizer->name();
  metadata["optimizer_steps"] = std::to_string(optimizer.steps);
  for (const auto& t : optimizer.tensors) tensors.push_back({"optimizer." + t.name, t.tensor});
  if (state.average != nullptr) {
    const auto average = state.average->state();
    metadata["average_steps"] = std::to_string(average.steps);
    for (const auto& t : average.tensors) tensors.push_back({"average." + t.name, t.tensor});
  }
  formats::save_safetensors(file, tensors, metadata);
}

Progress load_checkpoint(const std::filesystem::path& file, const TrainState& state) {
  try {
    return read_checkpoint(file, state);
  } catch (const DataError& error) {
    throw DataError(
        fmt::format("{}; where there is no copy of it, begin anew with --overwrite", error.what()));
  }
}

void save_weights(const std::filesystem::path& file, const nn::Parameters& parameters) {
  std::vector<formats::NamedTensor> tensors;
  for (const auto& p : parameters) tensors.push_back({p.name, p.var.value()});
  formats::save_safetensors(file, tensors);
}

void load_weights(const std::filesystem::path& file, const nn::Parameters& parameters) {
  const auto loaded = formats::load_safetensors(file);
  for (auto p : parameters) copy_in(loaded, p.name, p.var.value(), file.string());
}

}  // namespace fovea::train
