#include "train/journal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/paths.hpp"

namespace fovea::train {
namespace {

// The lines up to and including `last_step`; a line cut short by a kill is dropped.
std::string lines_until(const std::string& text, int64_t last_step) {
  std::string kept;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const auto line = text.substr(begin, end - begin);
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer() &&
        json["step"].get<int64_t>() <= last_step) {
      kept += line + "\n";
    }
    begin = end + 1;
  }
  return kept;
}

// JSON has no NaN: null, as most readers expect.
nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

Journal::Journal(std::filesystem::path file, int64_t last_step) : file_(std::move(file)) {
  std::string kept;
  if (last_step >= 0 && formats::exists(file_)) kept = lines_until(formats::read_file(file_), last_step);
  formats::write_atomically(file_, kept);
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  check_data(descriptor_ >= 0, file_.string(), "expected to write, found: {}", std::strerror(errno));
}

Journal::~Journal() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void Journal::write(const std::string& line) {
  const char* at = line.data();
  size_t left = line.size();
  while (left > 0) {
    const ssize_t written = ::write(descriptor_, at, left);
    if (written < 0 && errno == EINTR) continue;
    check_data(written > 0, file_.string(),
               "expected to write, found: {}; make room and continue with --resume", std::strerror(errno));
    at += written;
    left -= static_cast<size_t>(written);
  }
}

void Journal::step(int64_t step, int64_t epoch, double loss, double learning_rate, double gradient_norm,
                   int64_t tokens, double seconds) {
  const nlohmann::ordered_json line = {{"step", step},
                                       {"epoch", epoch},
                                       {"loss", number(loss)},
                                       {"learning_rate", learning_rate},
                                       {"gradient_norm", number(gradient_norm)},
                                       {"tokens", tokens},
                                       {"seconds", std::round(seconds * 1000.0) / 1000.0}};
  write(line.dump() + "\n");
}

void Journal::validation(int64_t step, std::span<const tasks::Figure> figures) {
  nlohmann::ordered_json values;
  for (const auto& figure : figures) values[figure.name] = number(figure.value);
  write(nlohmann::ordered_json{{"step", step}, {"validation", values}}.dump() + "\n");
}

}  // namespace fovea::train
