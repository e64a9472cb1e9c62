// Recipes: read, or refused with DataError; what is written is read back the same. The last line is a --set.
#include <cstdlib>

#include "fovea/base/error.hpp"
#include "fovea/formats/recipe.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fovea::formats::Recipe;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line = text.rfind('\n');
  try {
    Recipe recipe = Recipe::parse(text, "recipe.toml");
    if (line != std::string_view::npos) {
      try {
        recipe.set(text.substr(line + 1));
      } catch (const fovea::ArgumentError&) {
      }
    }
    const std::string written = recipe.to_toml();
    if (Recipe::parse(written, "again.toml").to_toml() != written) std::abort();
    recipe.keys("model");
    recipe.integer("model.width", 1);
    recipe.texts("data.text", {});
    recipe.check_unread();
  } catch (const fovea::DataError&) {
  }
  return 0;
}
