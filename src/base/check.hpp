// Formatting helpers for throwing the two errors. Internal: public headers do not see fmt.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "fovea/base/error.hpp"

namespace fovea {

template <class... Args>
[[noreturn]] void throw_argument(std::string_view call, fmt::format_string<Args...> format, Args&&... args) {
  throw ArgumentError(fmt::format("[{}] {}", call, fmt::format(format, std::forward<Args>(args)...)));
}

template <class... Args>
void check_argument(bool ok, std::string_view call, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw_argument(call, format, std::forward<Args>(args)...);
}

// `where` is a path, or "path:line".
template <class... Args>
[[noreturn]] void throw_data(std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  throw DataError(fmt::format("{}: {}", where, fmt::format(format, std::forward<Args>(args)...)));
}

template <class... Args>
void check_data(bool ok, std::string_view where, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw_data(where, format, std::forward<Args>(args)...);
}

}  // namespace fovea
