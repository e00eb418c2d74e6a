# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
# Exact versions exist for the interpreters that the tests ran with; the others take setup.py's ranges.
PYTHON_TAG := $(shell $(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])')
CONSTRAINTS ?= $(wildcard constraints-$(PYTHON_TAG).txt)
PIP_INSTALL = -m pip --disable-pip-version-check install --quiet $(addprefix --constraint ,$(CONSTRAINTS))

DEMO_OUT ?= build/demo
SOAK_OUT ?= build/soak.json
SOAK_ARGS ?=
PYTEST_ARGS ?=

# Each environment brings its own ROS 2, so nothing of a sourced one may leak in. The ROS wheels
# restart Python once with their libraries and mark that in the environment; a mark inherited from
# another environment would leave this one without them.
unexport PYTHONPATH AMENT_PREFIX_PATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Runs here neither hear nor disturb other ROS 2 systems on the network.
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export ROS_DOMAIN_ID ?= $(shell shuf -i 1-100 -n 1)

# Data for measuring and for tests against recorded vectors; tests that need them skip without.
ANOMALY_SEG_SHARED ?= $(abspath $(wildcard ../shared))
ANOMALY_SEG_PARITY ?= $(abspath $(wildcard $(addsuffix /parity,$(ANOMALY_SEG_SHARED))))
ifneq ($(ANOMALY_SEG_SHARED),)
export ANOMALY_SEG_SHARED
endif
ifneq ($(ANOMALY_SEG_PARITY),)
export ANOMALY_SEG_PARITY
endif

PACKAGED := setup.py setup.cfg MANIFEST.in README.md package.xml $(CONSTRAINTS) \
    $(shell find anomaly_seg_ros launch config resource scripts -type f -not -name '*.pyc')

# $(call in_venv,FOLDER): the lines that follow in the recipe run with FOLDER activated.
in_venv = source $(1)/bin/activate; export AMENT_PREFIX_PATH="$$VIRTUAL_ENV";

.PHONY: help demo test lint bench soak parity gpu-report clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv-demo/.installed  ## install the vehicle side (no torch) and replay a road through the node
	@$(call in_venv,.venv-demo) anomaly-seg demo --out $(DEMO_OUT)

bench: .venv-demo/.installed  ## measure the bare engine, then the node with its transport
	@$(call in_venv,.venv-demo) anomaly-seg bench engine; anomaly-seg bench node

soak: .venv-demo/.installed  ## prove the node over 10,000 frames and through faults: half an hour
	@$(call in_venv,.venv-demo) anomaly-seg soak --out $(SOAK_OUT) $(SOAK_ARGS)

lint: .venv-test/.installed  ## ruff and mypy
	@$(call in_venv,.venv-test) ruff check .; ruff format --check .; mypy

test: lint  ## install what the tests need, lint, run the tests that are not slow
	@$(call in_venv,.venv-test) python -m pytest -m "not slow" $(PYTEST_ARGS)

gpu-report: .venv-test/.installed  ## on a machine with CUDA: parity and latency of the torch backend, as tables
	@$(call in_venv,.venv-test) python -m training gpu-report

parity: .venv-test/.installed  ## every test, the slow ones too, against the vectors in ANOMALY_SEG_PARITY
	@$(call in_venv,.venv-test) python -m pytest $(PYTEST_ARGS)

clean:  ## remove what was built, keep the environments
	rm -rf build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

distclean: clean  ## remove the environments too
	rm -rf .venv-demo .venv-test

.venv-demo/.installed: EXTRAS := ros,onnx
.venv-test/.installed: EXTRAS := ros,onnx,training,ray,test

# An environment is made once and brought up to date when the package changes. The package is
# installed as a user would have it, not editable: pip's editable form leaves out the launch files.
.venv-%/.installed: $(PACKAGED)
	@echo "Installing .[$(EXTRAS)] into .venv-$* ..."
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@rm -rf build/setuptools
	@.venv-$*/bin/python $(PIP_INSTALL) ".[$(EXTRAS)]"
	@touch $@
