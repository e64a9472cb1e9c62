#include "fovea/explain/page.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/check.hpp"
#include "explain/page_json.hpp"
#include "explain/page_sources.hpp"

namespace fovea::explain {
namespace {

// Every '<' of the data is escaped, so that no text can end the script element that holds it.
std::string script_safe(const std::string& json) {
  std::string safe;
  safe.reserve(json.size() + json.size() / 64);
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

void append_filled(std::string& page, std::string_view& rest, std::string_view mark,
                   std::string_view content) {
  const size_t at = rest.find(mark);
  if (at == std::string_view::npos)
    throw_argument("render_page", "expected the mark {} in page.html, got none", mark);
  page.append(rest.substr(0, at)).append(content);
  rest.remove_prefix(at + mark.size());
}

// A file descriptor that is closed, and a temporary file that is removed, unless all went well.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& final_path)
      : final_path_(final_path), path_(fmt::format("{}.tmp{}", final_path, ::getpid())) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail("create");
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!kept_) ::unlink(path_.c_str());
  }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("write");
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }

  void keep() {
    if (::fsync(descriptor_) != 0) fail("sync");
    if (::rename(path_.c_str(), final_path_.c_str()) != 0) fail("rename");
    kept_ = true;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    const int error = errno;
    if (descriptor_ < 0)
      throw_data(final_path_, "could not {} the page: {}; check the folder", what, std::strerror(error));
    throw_data(final_path_, "could not {} the page: {}; free some space or choose another place", what,
               std::strerror(error));
  }

  std::string final_path_, path_;
  int descriptor_ = -1;
  bool kept_ = false;
};

}  // namespace

std::string render_page(const PageData& data, const PageOptions& options) {
  const std::string json =
      script_safe(page_json(data, options).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  std::string_view rest = page_html();
  std::string page;
  page.reserve(rest.size() + page_style().size() + page_script().size() + json.size() + 256);
  append_filled(page, rest, "<!--title-->", html_escaped(data.title.empty() ? "Fovea" : data.title));
  append_filled(page, rest, "/*style*/", page_style());
  append_filled(page, rest, "/*data*/", json);
  append_filled(page, rest, "/*script*/", page_script());
  page.append(rest);
  return page;
}

void write_page(const std::string& path, const PageData& data, const PageOptions& options) {
  const std::string page = render_page(data, options);
  TemporaryFile file(path);
  file.write(page);
  file.keep();
}

}  // namespace fovea::explain
