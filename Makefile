PYTHON ?= python3
VENV := .tools/venv/bin
export PATH := $(CURDIR)/$(VENV):$(CURDIR)/.tools/bin:$(PATH)
export PYTHONPYCACHEPREFIX := $(CURDIR)/.tools/pycache
.DEFAULT_GOAL := help
.PHONY: help tools up spike down test test-fast soak bench lint status

help: ; @grep -E '^[a-z-]+: ; .* ## ' Makefile | grep -v '^help' | sed 's/: ; .* ## /\t/'
tools: ; $(PYTHON) toolchain/bootstrap.py $(if $(TOOLS),--tools $(TOOLS)) ## ready this machine: packages, Python environment, tools
up: ; $(PYTHON) toolchain/bootstrap.py && bin/surge up local ## bring the local stack up
spike: ; $(VENV)/python -m lab.spike $(if $(SHAPE),--shape lab/shapes/$(SHAPE).yaml) ## replay a 7x spike on the local stack; SHAPE=step, ramp or ghibli
down: ; bin/surge down local ## take the local stack down
status: ; bin/surge status local ## what the local stack does now
test-fast: ; $(PYTHON) toolchain/bootstrap.py --dev --no-tools && $(VENV)/pytest tests/unit tests/engine ## seconds, nothing built
test: ; $(PYTHON) toolchain/bootstrap.py --dev && $(MAKE) lint && $(VENV)/pytest -m "not soak" ## lint and every test but soak
soak: ; $(PYTHON) toolchain/bootstrap.py --dev && $(VENV)/pytest -m soak ## minutes of load
bench: ; $(VENV)/python -m lab.bench $(BENCH) ## measure; BENCH=stack, fleet or spike for one alone
lint: ; ruff check . && ruff format --check . && basedpyright && lint-imports && deptry . && actionlint && zizmor --offline .github && shellcheck .ci/run bin/* providers/bin/* toolchain/engine/bin/* ## every static check
