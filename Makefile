# Each target does all of its own set-up: see scripts/setup.
.PHONY: demo test test-rootless test-all test-debian soak lint format docs bench clean
.NOTPARALLEL:

PYTHON_IN_VENV = $(or $(VENV),.venv)/bin/python

demo: ## play the five scenes: make demo ARGS="--backend iptables"
	@scripts/setup
	@$(PYTHON_IN_VENV) -m netkit demo $(ARGS)

test: ## make test ARGS="-k bridge -x"
	@scripts/test $(ARGS)

test-rootless: ## the kernel tests as uid 65534, which root prepares
	@scripts/test-rootless $(ARGS)

test-all: ## every Python from 3.11 up on this machine
	@scripts/test-all $(ARGS)

test-debian: ## demo and tests on a fresh Debian with its own kernel, in an emulated machine
	@scripts/test-debian $(ARGS)

soak: ## every fault test in full, minutes of it; writes docs/reliability.md
	@scripts/soak $(ARGS)

lint:
	@scripts/lint

format:
	@scripts/setup test dev
	@$(PYTHON_IN_VENV) -m ruff check --fix . ; $(PYTHON_IN_VENV) -m ruff format .

docs: ## into site/
	@scripts/setup test dev
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_IN_VENV) -m mkdocs build --strict

bench: ## make bench ARGS="--quick"
	@scripts/setup test
	@$(PYTHON_IN_VENV) -m benchmarks $(ARGS)

clean:
	rm -rf .venv .venv-* site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
