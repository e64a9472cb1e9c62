// Everything that a program which uses Fovea needs. Single headers compile faster: each stands alone.
#pragma once

#include "fovea/attention/attention.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/progress.hpp"
#include "fovea/base/random.hpp"
#include "fovea/base/version.hpp"
#include "fovea/metrics/classification_report.hpp"
#include "fovea/metrics/perplexity.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/tensor.hpp"
