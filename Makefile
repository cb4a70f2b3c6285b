# Every command of the project; `make help` lists them. Set-up is done on demand, once: stamps, logs
# and models are kept in .cache, and an interrupted step is done again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PY := .venv/bin/python
ENGINE_PY := .venv-vllm/bin/python
STAMPS := .cache/stamps
LOGS := .cache/logs
MODELS := tiny demo
# Most tests wait for real servers: more of them than cores run side by side.
TEST_WORKERS ?= 3
# Cells of a benchmark that run at the same time.
BENCH_JOBS ?= 2
FUZZ_S ?= 600
FUZZ_TARGETS ?= decoder mirror saved deltas frames

# $(call step,LOG,WHAT AND ABOUT HOW LONG,COMMANDS): says what runs, counts the seconds on a terminal,
# logs the output, and shows the end of the log when it fails.
define step
mkdir -p $(STAMPS) $(LOGS); echo "==> $(2)"; started=$$SECONDS; \
if [ -t 1 ]; then \
	while sleep 1; do printf '\r    %s s ' $$((SECONDS - started)); done & trap "kill $$! 2> /dev/null || true" EXIT; \
fi; \
if ! ( $(3) ) > $(LOGS)/$(1).log 2>&1; then \
	echo; tail -n 25 $(LOGS)/$(1).log; echo "==> failed; all of its output is in $(LOGS)/$(1).log"; \
	exit 1; \
fi; \
if [ -t 1 ]; then printf '\r'; fi; echo "    done in $$((SECONDS - started)) s"
endef

# $(call fresh_venv,DIR,STAMP): a virtual environment; one whose installation was interrupted is
# made anew.
define fresh_venv
if [ -e $(STAMPS)/$(2).unfinished ]; then rm -rf $(1); fi; \
touch $(STAMPS)/$(2).unfinished; \
{ [ -x $(1)/bin/python ] || $(PYTHON) -m venv $(1); }
endef

# $(call apt,PROGRAM,PACKAGE): install a Debian package when the program is not on the PATH.
# RUNLEVEL=1 keeps the package's own service from being started.
define apt
if ! command -v $(1) > /dev/null; then \
	sudo=$$([ $$(id -u) = 0 ] || command -v sudo || true); \
	if ! command -v apt-get > /dev/null || { [ $$(id -u) != 0 ] && [ -z "$$sudo" ]; }; then \
		echo "$(1) is missing and cannot be installed from here: install it (Debian package $(2))"; \
		exit 1; \
	fi; \
	$(call step,apt-$(2),$(1): installing the Debian package $(2) (under a minute),\
		$$sudo apt-get update && \
		$$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get install --yes --no-install-recommends $(2)); \
fi
endef

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##### Set-up

.PHONY: venv venv-vllm infra proto model setup clean
venv: $(STAMPS)/venv ## The control plane's environment, .venv
$(STAMPS)/venv: pyproject.toml constraints.txt
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11"; exit 1; \
	fi
	@if ! $(PYTHON) -c 'import ensurepip' 2> /dev/null; then \
		$(call apt,python3-venv,python3-venv); \
	fi
	@$(call step,venv,.venv: the control plane's environment (1 to 4 minutes),\
		$(call fresh_venv,.venv,venv) && \
		$(PY) -m pip install -e '.[dev]' -c constraints.txt)
	@rm $@.unfinished; touch $@

venv-vllm: $(STAMPS)/venv-vllm ## The engines' environment, .venv-vllm: torch and vLLM for CPU
$(STAMPS)/venv-vllm: constraints-vllm.txt | $(STAMPS)/venv
	@$(call step,venv-vllm,.venv-vllm: torch and vLLM for CPU (2 to 6 minutes; 2.5 GB of disk),\
		$(call fresh_venv,.venv-vllm,venv-vllm) && \
		$(ENGINE_PY) -m pip install --no-deps -r constraints-vllm.txt && \
		$(ENGINE_PY) -c 'import torch; assert torch.version.cuda is None; import vllm')
	@rm $@.unfinished; touch $@

$(STAMPS)/fuzz: $(STAMPS)/venv
	@$(call step,fuzz,.venv: the fuzzer (seconds),$(PY) -m pip install -e '.[fuzz]' -c constraints.txt)
	@touch $@

infra: venv ## etcd, promtool and kubectl, from Debian packages when they are not on the PATH
	@$(call apt,etcd,etcd-server)
	@$(call apt,promtool,prometheus)
	@deploy/kubectl.sh .venv/bin/kubectl

proto: $(STAMPS)/proto ## Generate farsight/pb from proto/
$(STAMPS)/proto: $(wildcard proto/*) | $(STAMPS)/venv
	@$(call step,proto,farsight/pb: generating messages and stubs (seconds),$(PY) proto/generate.py)
	@touch $@

model: $(MODELS:%=.cache/models/%/recipe.json) ## Random models and their tokenizer, in .cache/models
.cache/models/%/recipe.json: farsight/local/model.py | $(STAMPS)/venv-vllm
	@$(call step,model-$*,.cache/models/$*: training a tokenizer and making a model (10 seconds),\
		PYTHONPATH=. $(ENGINE_PY) -m farsight.local.model --out .cache/models/$* --size $*)
	@touch $@

setup: venv infra proto venv-vllm model ## All of the above

##### What it does

.PHONY: demo bench bench-simulator bench-index bench-accuracy validate-sim test test-fast fuzz test-e2e check format docs
demo: $(if $(filter emulated,$(PODS)),infra venv proto,setup infra) ## The whole system on this machine against round-robin; KEEP=1 leaves it running; PODS=emulated needs no engine
	@$(PY) -m farsight.demo $(if $(KEEP),--keep) $(if $(PODS),--pods $(PODS))

bench: venv proto ## Policies on simulated fleets, a short matrix (minutes); RESUME=1 goes on with the last one
	@$(if $(RESUME),,rm -rf build/bench/short)
	@$(PY) -m farsight.cli bench --matrix sim/bench/short.yaml --out build/bench/short \
		--summary build/bench/short.json --jobs $(BENCH_JOBS)

bench-simulator: venv proto ## Speed and memory of the simulator on one core (half an hour)
	@$(PY) -m sim.bench.simulator

bench-index: infra venv proto $(STAMPS)/peers ## Figures of the KV index beside its peers' (a quarter of an hour); ONLY=part measures one again
	@$(PY) -m bench.index $(if $(ONLY),--only $(ONLY))

# Without its dependencies, of which its RadixTree needs none: they would exclude our pydantic.
$(STAMPS)/peers: constraints.txt | $(STAMPS)/venv
	@$(call step,peers,.cache/peers: what the index is compared with (seconds; 230 MB of disk),\
		rm -rf .cache/peers && \
		$(PY) -m pip install --no-deps --target .cache/peers -c constraints.txt ai-dynamo-runtime)
	@touch $@

bench-accuracy: setup infra ## Foretold and actual cached tokens on vLLM pods of three block sizes that evict (minutes)
	@$(PY) -m bench.accuracy

validate-sim: setup ## The simulator against a real vLLM pod: calibrate, predict, compare (minutes)
	@$(PY) -m sim.validation

test: check infra setup $(STAMPS)/peers ## Every check and test: unit, integration, and end to end on real vLLM pods
	@$(PY) -m pytest -m "not e2e" -n $(TEST_WORKERS) $(PYTEST_FLAGS)
	@$(PY) -m pytest -m e2e $(PYTEST_FLAGS)

test-fast: infra venv proto $(STAMPS)/peers ## The tests that need no engine
	@$(PY) -m pytest -m "not e2e" -n $(TEST_WORKERS) $(PYTEST_FLAGS)

fuzz: $(STAMPS)/fuzz proto ## What comes over the network against random input, FUZZ_S seconds for each target; findings in build/fuzz
	@for target in $(FUZZ_TARGETS); do \
		$(PY) -m tests.fuzz $$target --guided --seconds $$(($(FUZZ_S) / 2)); \
		NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.cache/numba-checked \
			$(PY) -m tests.fuzz $$target --seconds $$(($(FUZZ_S) / 2)); \
	done

test-e2e: infra setup ## The tests on real vLLM pods
	@$(PY) -m pytest -m e2e $(PYTEST_FLAGS)

check: venv proto ## Format, lint, types, spelling
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m codespell_lib

format: venv ## Format and sort imports
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

docs: venv proto ## Write docs/configuration.md again
	@$(PY) docs/configuration.py

clean: ## Remove what was built; environments and models stay
	rm -rf build dist *.egg-info farsight/pb/*_pb2* $(STAMPS)/proto
