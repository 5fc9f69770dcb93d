# The two commands of the README are `make run` and `make test`. Each target sets up what it needs.
# `make bench BENCH_ARGS='--write README.md'` also puts the figures where the README shows them;
# with `--page wire` (`memory`, `async`) it measures that page alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Another virtual environment beside it (`make VENV=.venv-oldest …`) has stamps of its own.
STAMPS := .stamps$(VENV:.venv%=%)
CORE := $(shell find rust -name target -prune -o '(' -name '*.rs' -o -name Cargo.toml ')' -print) Cargo.toml Cargo.lock
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help run test test-rust test-python test-engine test-pythons answering-pythons lint format typecheck bench coverage \
  minimum-rust soak fuzz wheel wheels wheels-arm64 layer docs third-party deny clean

help: ## List what one can do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: $(STAMPS)/built ## Run the example order workflow on the embedded service
	cd examples && ../$(BIN)/perdure run order:handler --event order.json --skip-time
	@printf '\nThe perdure command is in %s. This puts it on the path:\n\n  . %s/activate\n' $(BIN) $(BIN)

test: answering-pythons $(STAMPS)/built $(STAMPS)/dev test-rust test-python test-pythons ## Pass every test; the engine's on each of PYTHONS="3.13 …" as well

test-rust: $(STAMPS)/dev
	cargo test --locked --quiet --workspace

test-python: $(STAMPS)/built $(STAMPS)/dev
	$(PYTEST) -q benches --benchmark-disable
	$(PYTEST) -q $(PYTEST_ARGS)

test-engine: $(STAMPS)/built $(STAMPS)/test ## Pass the engine's tests alone, for another CPython
	$(PYTEST) -q tests/unit tests/property tests/e2e tests/differential tests/aio $(PYTEST_ARGS)

# What an environment is of stands in its name, so that another patch release gets one of its own.
OF := import platform, sys; print(platform.python_version() + sys.abiflags)
NAMED = $(if $(strip $(PYTHONS)),.ci/pythons $(PYTHONS),true)

test-pythons: answering-pythons
	@set -e; for python in $$($(NAMED)); do \
	  version=$$("$$python" -c '$(OF)'); \
	  echo "the engine's tests on CPython $$version"; \
	  $(MAKE) PYTHON="$$python" VENV=".venv-$$version" test-engine; \
	done

answering-pythons: # before the minutes that other tests take
	@$(NAMED) >/dev/null

lint: $(STAMPS)/built $(STAMPS)/dev ## Check formats, lints, types, the stub and what the Rust documentation links to
	cargo fmt --check
	cargo clippy --locked --quiet --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --workspace --no-deps --document-private-items
	$(BIN)/ruff format --check python tests benches examples packaging
	$(BIN)/ruff check python tests benches examples packaging
	$(BIN)/mypy
	$(BIN)/basedpyright --level error
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/python -m mypy.stubtest perdure._core --allowlist tests/typing/stubtest-allowlist.txt

format: $(STAMPS)/dev ## Format everything
	cargo fmt
	$(BIN)/ruff check --fix-only --quiet python tests benches examples packaging
	$(BIN)/ruff format --quiet python tests benches examples packaging

bench: $(STAMPS)/release $(STAMPS)/dev ## Measure perdure against the official SDK and a bare loop, and check the bars
	$(BIN)/python benches/table.py --check $(BENCH_ARGS)
ifeq ($(findstring --page,$(BENCH_ARGS)),)
	$(BIN)/python benches/service_load.py $(BENCH_ARGS)
	$(PYTEST) benches --benchmark-only -q
endif

soak: $(STAMPS)/built $(STAMPS)/dev ## The long runs: deep property tests, repeated loads
	PROPTEST_CASES=200000 cargo test --locked --quiet --release -p perdure-client
	PERDURE_HYPOTHESIS=deep $(PYTEST) -q --timeout 3600 -m "soak or hypothesis" $(PYTEST_ARGS)
	if cargo +nightly fuzz --version 2>/dev/null; then $(MAKE) fuzz FUZZ_SECONDS=60; else echo "not fuzzed: no cargo-fuzz"; fi

coverage: $(STAMPS)/dev ## See which lines the tests reach, of Python and of Rust; needs cargo-llvm-cov
	$(BIN)/python -m pip install --quiet --group coverage
	.ci/coverage $(BIN)/python env $(DEVELOP) -- $(PYTEST_ARGS)

FUZZ_SECONDS ?= 600

fuzz: $(STAMPS)/built ## Fuzz the reader of answers and the codec, guided by coverage; needs a nightly Rust and cargo-fuzz
	.ci/fuzz $(FUZZ_SECONDS) $(BIN)/python

# The interpreter is named, since maturin would take whichever python3 is on the path.
wheel: $(STAMPS)/venv ## Build a release wheel into dist/
	$(BIN)/maturin build --release --locked --out dist --interpreter $(BIN)/python

layer: wheel ## Make Lambda layers of the wheels in dist/
	$(BIN)/python -m pip install --quiet --group layer
	$(BIN)/python packaging/layer.py dist/*.whl

wheels: $(STAMPS)/venv ## Build a release wheel for each CPython (or PYTHONS="3.13 …"), and try each without compiler and source
	$(BIN)/python -m pip install --quiet --group wheels
	PYTHONS="$(PYTHONS)" $(BIN)/python packaging/wheels.py

wheels-arm64: $(STAMPS)/venv ## Build release wheels for Linux on arm64 (PYTHONS="3.13 3.14"), and try each under QEMU; on Debian
	$(BIN)/python -m pip install --quiet --group wheels
	PYTHONS="$(PYTHONS)" $(BIN)/python packaging/wheels_arm64.py

third-party: $(STAMPS)/venv ## Write THIRD_PARTY_LICENSES.txt anew, after a change of Cargo.lock
	$(BIN)/python packaging/third_party.py

docs: $(STAMPS)/venv ## Build a site of docs/ and the docstrings into site/; a link that leads nowhere fails it
	$(BIN)/python -m pip install --quiet --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Without a way to the database of advisories: make deny DENY="bans licenses sources".
DENY ?= all

deny: ## Check licences, doubles, sources and advisories of the crates; needs cargo install --locked cargo-deny
	cargo deny --all-features check $(DENY)

MINIMUM_RUST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

minimum-rust: ## Build with the oldest Rust that Cargo.toml names; needs rustup, which fetches it
	rustup toolchain install --no-self-update --profile minimal $(MINIMUM_RUST)
	cargo +$(MINIMUM_RUST) check --locked --workspace --target-dir target/minimum-rust

clean: ## Remove everything that was built
	cargo clean
	rm -rf .venv .venv-* .stamps .stamps-* dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f python/perdure/_core*.so
	find python tests benches examples packaging -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/venv: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c \
	  'import sys; sys.exit("perdure needs Python 3.11 or newer: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group build
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --group dev
	@touch $(STAMPS)/test $@

$(STAMPS)/test: $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

# A group is named, since maturin would install `dev` of itself: some 500 MB that only tests and lints need. The
# environment is named, since maturin would take .venv whichever environment it was called from.
DEVELOP := VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --locked --quiet --extras local --group build

$(STAMPS)/built: $(STAMPS)/venv $(CORE)
	$(DEVELOP)
	@touch $@

$(STAMPS)/release: $(STAMPS)/venv $(CORE)
	$(DEVELOP) --release
	@touch $(STAMPS)/built $@
