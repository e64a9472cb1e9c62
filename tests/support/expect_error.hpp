// EXPECT_ERROR(statement, Type, "exact message"): the statement throws Type with exactly this message.
#pragma once

#include <gtest/gtest.h>

#include <string>

#define EXPECT_ERROR(statement, Type, message)                           \
  try {                                                                  \
    static_cast<void>(statement);                                        \
    ADD_FAILURE() << "expected " #Type " from " #statement ", got none"; \
  } catch (const Type& error) {                                          \
    EXPECT_EQ(std::string(error.what()), std::string(message));          \
  }                                                                      \
  static_assert(true, "a semicolon follows")
