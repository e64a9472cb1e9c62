#include "fovea/explain/page.hpp"

#include "base/check.hpp"
#include "explain/page_json.hpp"
#include "explain/page_sources.hpp"
#include "fovea/formats/file.hpp"

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
  formats::write_atomically(path, render_page(data, options));
}

}  // namespace fovea::explain
