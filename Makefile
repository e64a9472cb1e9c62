# The front door. `make help` lists the commands; CMake and its presets do the work behind them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
JOBS ?= 2
PREFIX ?= /usr/local
DATA_DIR ?= ../shared/data
DATA ?=
TARGET ?=

.PHONY: help setup build demo test test-sanitize bench bench-peers evaluate proofs python package format lint docs install clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install what is missing for building and testing (apt, with sudo when not root)
	@tools/setup.sh build test

build/build.ninja:
	@tools/setup.sh build
	@cmake --preset release

build: build/build.ninja  ## build everything: build/bin/fovea, libraries, tests, benchmarks
	@cmake --build build -j $(JOBS)

demo: build  ## train on the Debian package index, compare, explain; or on your texts: DATA=file.csv TARGET=class
	@tools/setup.sh $(if $(DATA),,demo)
	@tools/demo/run.sh "$(DATA)" "$(TARGET)"

test: setup  ## build, then run every test, C++ and Python
	@$(MAKE) --no-print-directory build
	@tools/python.sh test
	@ctest --test-dir build --output-on-failure -j $(JOBS)

test-sanitize:  ## the tests under Address/UB/ThreadSanitizer, and each fuzz target briefly
	@tools/setup.sh build test lint
	@tools/test_sanitize.sh $(JOBS)

bench: build  ## time our own kernels and training steps; results are checked first
	@tools/bench.sh

bench-peers: build  ## time PyTorch and Fovea in alternation in one run and print the ratios
	@tools/setup.sh peers python python-test
	@tools/python.sh install
	@.venv-peers/bin/python tools/bench_peers/run.py
	@.venv/bin/python tools/bench_peers/attention.py

evaluate: build  ## the learning results of docs/RESULTS.md, on DATA_DIR (default ../shared/data)
	@FOVEA_DATA="$(DATA_DIR)" tools/evaluate/run.sh

proofs: python  ## 128k tokens looked into, 2^31 elements (18 GB), a million random calls: minutes each
	@.venv/bin/python tools/bench_peers/long_attention.py
	@.venv/bin/python tests/python/huge.py
	@.venv/bin/python tests/python/fuzz_calls.py --calls 1000000

python: build/build.ninja  ## make .venv with the Python package in it: .venv/bin/python -c "import fovea"
	@tools/python.sh install

package:  ## make the source archive and the wheel in out/python, and test the wheel in a fresh environment
	@tools/python.sh package

format:  ## rewrite the C++ sources in the house's layout (clang-format)
	@tools/setup.sh lint
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format-16 -i

lint: build/build.ninja  ## check layout, shell scripts' syntax and clang-tidy's findings; changes nothing
	@tools/setup.sh lint
	@tools/lint.sh

docs: build/build.ninja  ## check the documentation; write book, C++ and Python reference to out/docs
	@tools/setup.sh docs
	@tools/check_docs.sh
	@python3 tools/docs/reference.py
	@tools/python.sh reference

install: build  ## install into PREFIX (default /usr/local): the tool, libraries, headers, find_package(fovea)
	@cmake --install build --prefix "$(PREFIX)"

clean:  ## remove what was built (not the virtual environments, not out/)
	@rm -rf build build-*
