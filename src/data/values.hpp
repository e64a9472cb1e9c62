// What a cell's text means. Internal.
#pragma once

#include <span>
#include <string_view>

#include "fovea/data/read.hpp"

namespace fovea::data {

// The whole cell, spaces around it aside.
bool is_integer(std::string_view cell);
bool is_number(std::string_view cell);  // integers, decimals, scientific; not "nan" or "inf"
bool is_date(
    std::string_view cell);  // 2024-02-29, 2024/02/29, 29.02.2024, each with a time after a space or 'T'
double parse_number(std::string_view cell);  // NaN when it is none

ColumnReport describe_column(std::string_view name, std::span<const std::string_view> cells);

}  // namespace fovea::data
