// The page's HTML, style and script, built into the library from src/explain/page (cmake/FoveaPage.cmake).
#pragma once

#include <string_view>

namespace fovea::explain {

std::string_view page_html();  // with the marks <!--title-->, /*style*/, /*data*/ and /*script*/
std::string_view page_style();
std::string_view page_script();

}  // namespace fovea::explain
