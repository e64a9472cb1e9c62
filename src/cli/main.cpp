#include "cli/run.hpp"

int main(int argc, char** argv) {
  return fovea::cli::run(argc, argv);
}
