# Every target makes the environment it needs in .venv; nothing has to be activated.
#
#   PYTHON=…      the interpreter to build .venv with (3.11 to 3.13; found by itself)
#   PIP_FLAGS=…   passed on to `pip install`. The usual torch for Linux brings its CUDA libraries; for
#                 the smaller CPU build, name PyTorch's index of CPU wheels: --extra-index-url URL
#   PYTEST_FLAGS=…  passed on to pytest, such as -x or -k name

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(firstword $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p; done))
BIN := .venv/bin
READY := .venv/.synthray-ready

.DEFAULT_GOAL := help
.PHONY: help demo test check manifests clean

help:  ## Show this help
	@echo "SynthRay: generative models and synthetic data at any scale, on Ray"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## From real digits to 20,000 synthetic ones, a report and a served batch: out/demo/
	$(BIN)/python examples/demo.py

# One file of the others shares its servers and its Ray, so a file stays in one process; they run in
# the order given, the long ones first.
test: export OMP_NUM_THREADS := 1
test: $(READY)  ## Run the tests: the unit tests with Ray out of reach, then all others
	@status=0; \
	SYNTHRAY_TEST_WITHOUT_RAY=1 \
		$(BIN)/python -m pytest tests/unit -n 2 $(PYTEST_FLAGS) || status=$$?; \
	$(BIN)/python -m pytest tests/distributed tests/integration \
		-n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS) || status=$$?; \
	exit $$status

check: $(READY)  ## Lint, check the format and the types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# An environment that is there is used as it is, another's behind a link too: rendering and checking
# YAML needs four small packages, and the command names those that are missing.
manifests: $(if $(wildcard $(BIN)/python),,$(READY))  ## Render the Kubernetes manifests and check them
	$(BIN)/python -m k8s.checks

clean:  ## Remove .venv, caches and build products; out/ and the downloaded data stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and alone, at its exact version, so that no later requirement picks another build.
$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(SUPPORTED)'; then \
		echo "SynthRay needs Python 3.11, 3.12 or 3.13, and found none$(if $(PYTHON), in $(PYTHON))." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 …" >&2; \
		exit 1; \
	fi
	@echo "Setting up .venv: some minutes, and a few gigabytes of disk, the first time …" >&2
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { \
		echo "Could not make .venv; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt \
		-e '.[ray,features,privacy,test,dev]'
	@touch $@
