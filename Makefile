# Two commands do everything on a fresh machine: `make demo` and `make test`. Each target makes the environment it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
NODE_CLIENT := tests/support/grpc/node
.DEFAULT_GOAL := help
# Compiled modules are kept beside their sources, whatever the shell says: what runs here starts many processes, each in half the time.
export PYTHONDONTWRITEBYTECODE =
.PHONY: help venv npm clients demo hf test lint format docs bench soak wheel wheelhouse lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## .venv with everything that development needs
	@$(PYTHON) scripts/venv.py

demo: ## the main job: 512 agents, an endpoint, a crash, a local model, with figures; llama.cpp compiles meanwhile
	@$(PYTHON) scripts/venv.py --llama-later demo
	@$(BIN)/python -m agents_demo three_modes; code=$$?; echo; $(BIN)/three-mode doctor && exit $$code

hf: ## what models of Hugging Face need, with PyTorch's CPU build; `make test` runs their tests too from then on
	@$(PYTHON) scripts/venv.py hf

npm: # Node packages of clients that tests run, where npm is installed
	@if command -v npm >/dev/null && [ ! -d $(NODE_CLIENT)/node_modules/@grpc/grpc-js ]; then \
	  npm install --prefix $(NODE_CLIENT) --no-package-lock --ignore-scripts --no-audit --no-fund --silent; fi

clients: venv ## SDKs and frameworks of other makers, in an environment of their own, run against the endpoint; ALL=1: large ones too
	@$(PYTHON) -m scripts.clients $(if $(ALL),large)
	@$(BIN)/python -m pytest -m "$(if $(ALL),clients,clients and not large)" tests/clients

test: venv npm ## all tests that fit in minutes
	@$(BIN)/python -m scripts.run_tests

lint: venv ## formatting, types, the import contract, generated code, secrets
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config contracts.toml
	@$(BIN)/python -m scripts.protos --check
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline
	@echo "lint: all checks pass"

format: venv ## what the formatter and the linter can mend themselves
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

docs: ## the guides and the API reference, as a site in build/docs; a broken link or an undocumented public name fails it
	@$(PYTHON) scripts/venv.py docs
	@$(BIN)/python -m sphinx -q -E -n -W --keep-going docs build/docs
	@echo "docs: build/docs/index.html"

bench: ## all benchmarks, beside their peers
	@$(PYTHON) scripts/venv.py bench
	@.ci/packages redis-server nghttp2-client
	@$(PYTHON) -m scripts.peers
	@$(BIN)/python -m benchmarks all --json results/all.json --picture results

soak: ## long fault and load runs, and a minute of fuzzing for each target; not in CI
	@$(PYTHON) scripts/venv.py fuzz
	@.ci/packages gcc clang
	@$(BIN)/python -m pytest -m soak --timeout=3600

wheel: venv ## dist/three_mode-*.whl
	@$(BIN)/python -m build --wheel --outdir dist .

wheelhouse: venv ## dist/wheelhouse: wheels of all of it for machines like this one; PORTABLE=1: for older processors too
	@$(PYTHON) scripts/wheelhouse.py $(if $(PORTABLE),--portable)

lock: venv ## constraints.txt anew from pyproject.toml
	@$(BIN)/python scripts/lock.py

clean: ## what the targets above made
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find transports -name '*.so' -delete
