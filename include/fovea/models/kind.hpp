// What kind of model a recipe's model.kind names. The baselines are the same recipe with this one word
// changed.
#pragma once

#include <string_view>

namespace fovea::models {

// What a model is made of. Language models are kAttention or kLstm, classifiers any of the five.
enum class ModelKind {
  kAttention,  // transformer
  kLstm,       // recurrent network of comparable size
  kCnn,        // one-dimensional convolutions (Kim 2014)
  kLinear,     // logistic regression on tf-idf weighted word and character n-grams
  kMajority,   // the most frequent class: what knowing nothing about the input gives
};

// "attention", "lstm", "cnn", "linear", "majority".
const char* to_string(ModelKind kind);
// ArgumentError names the five.
ModelKind model_kind(std::string_view name);

}  // namespace fovea::models
