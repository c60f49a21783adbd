# Debian's own where it is new enough: built for speed, it needs a quarter less CPU here than a plain build does.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .tools/venv/bin
export PATH := $(CURDIR)/$(VENV):$(CURDIR)/.tools/bin:$(PATH)
export PYTHONPYCACHEPREFIX := $(CURDIR)/.tools/pycache
# Images of Python set it; every program here would compile itself again at every start.
unexport PYTHONDONTWRITEBYTECODE
# Shell code around each stage of a target: its name, then how long it took, and the exit code of the first that fails.
STAGES = for stage in $(1); do start=$$(date +%s); code=0; $(MAKE) --no-print-directory $$stage || code=$$?; echo "== $$stage: $$(( $$(date +%s) - start )) s, exit $$code"; [ $$code = 0 ] || exit $$code; done
UV ?= uv
COMPILE := pip compile -q --generate-hashes --no-emit-index-url --universal --python-version 3.11 --no-header
SERVER := aiohttp httptools orjson pika prometheus-client pydantic pyyaml starlette structlog uvicorn uvloop
.DEFAULT_GOAL := help
.PHONY: help tools up spike down test test-fast ready check quiet stacks parts soak bench lint static status pins

help: ; @grep -E '^[a-z-]+: ; .* ## ' Makefile | grep -v '^help' | sed 's/: ; .* ## /\t/'
tools: ; $(PYTHON) toolchain/bootstrap.py $(if $(TOOLS),--tools $(TOOLS)) ## ready this machine: packages, Python environment, tools
up: ; $(PYTHON) toolchain/bootstrap.py && bin/surge up local ## bring the local stack up
spike: ; @[ -x $(VENV)/python ] || { echo "no stack runs here yet. Bring it up: make up" >&2; exit 2; }; $(VENV)/python -m lab.spike $(if $(SHAPE),--shape lab/shapes/$(SHAPE).yaml) ## replay a 7x spike on the local stack; SHAPE=step, ramp or ghibli
down: ; bin/surge down local ## take the local stack down
status: ; bin/surge status local ## what the local stack does now
test-fast: ; $(PYTHON) toolchain/bootstrap.py --dev --no-tools && $(VENV)/pytest -n auto --dist loadfile -m "not long" --hypothesis-profile fast tests/unit tests/engine ## on all cores, nothing built
soak: ; $(PYTHON) toolchain/bootstrap.py --dev && $(VENV)/pytest -m soak ## close to an hour of load with faults
bench: ; $(PYTHON) toolchain/bootstrap.py --dev && $(VENV)/python -m lab.bench $(BENCH) ## measure; BENCH=laws, saturation, stack, fleet, spike or scale_in for one alone
test: ; @$(call STAGES,ready static quiet check) ## lint and every test but soak, with the time of each stage
ready: ; $(PYTHON) toolchain/bootstrap.py --dev
# Side by side, as both mostly wait. What the second says is shown when it has ended, also by Ctrl-C.
check: ; @$(MAKE) --no-print-directory -j2 stacks parts
# The first of the two has the tests that need nothing, too: so both take as long.
quiet: ; @$(VENV)/pytest -m quiet
stacks: ; @code=0; $(VENV)/pytest -m "stack and not soak and not quiet" || code=$$?; $(VENV)/pytest tests/unit tests/engine || code=$$?; exit $$code
parts: ; @mkdir -p build; trap : INT; code=0; $(VENV)/pytest tests/broker tests/local -m "not stack and not soak and not quiet" > build/parts.log 2>&1 || code=$$?; cat build/parts.log; exit $$code
lint: ; @$(PYTHON) toolchain/bootstrap.py --dev --no-tools && $(PYTHON) toolchain/build.py actionlint && $(MAKE) --no-print-directory static ## every static check
static: ; ruff check . && ruff format --check . && basedpyright && lint-imports && deptry . && actionlint && zizmor --offline .github && shellcheck .ci/run bin/* providers/bin/* toolchain/engine/bin/*
pins: ; $(UV) $(COMPILE) $(RENEW) pyproject.toml --group dev -o requirements-dev.txt && $(UV) $(COMPILE) -c requirements-dev.txt pyproject.toml -o requirements.txt && printf '%s\n' $(SERVER) | $(UV) $(COMPILE) --no-annotate -c requirements.txt - -o metrics_server/requirements.txt ## pin what pyproject.toml asks for; RENEW=--upgrade renews all
