# Targets of this checkout; `make` lists them. The tools do the work, tools/stages.toml has the stages.

VENV ?= .venv
TABLE = tools/stages.toml
STAGES := $(shell sed -n 's/^\[stages\.\(.*\)\]$$/\1/p' $(TABLE))

# Settings, collections and leftovers of the user's own Ansible take no part. Without bytecode every import of TensorFlow takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
unexport $(filter ANSIBLE_%,$(.VARIABLES))
export ANSIBLE_CONFIG = $(CURDIR)/tools/ansible.cfg
export ANSIBLE_HOME = $(CURDIR)/build/ansible
export ANSIBLE_COLLECTIONS_PATH = $(CURDIR)/build/ansible/collections
export ANSIBLE_REMOTE_TMP = $(CURDIR)/build/ansible/tmp
export ANSIBLE_ASYNC_DIR = $(CURDIR)/build/ansible/async
export LC_ALL = C.UTF-8
export PYTHONNOUSERSITE = 1
export VENV
ifdef PYTHON
export PYTHON
endif
export PATH := $(abspath $(VENV))/bin:$(PATH)

.NOTPARALLEL:
.PHONY: help demo test test-all test-rest soak lint sanity integration docker mutate bench bench-tuning format lock clean runtime tools $(STAGES)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nSingle stages:\n'
	@awk -F '"' '/^\[stages\./ { name = substr($$0, 9, length($$0) - 9) } /^what = / { printf "  make %-18s %s\n", name, $$2 }' $(TABLE)

demo: runtime ## Show the whole path on this machine; the report is build/demo/report.html. BACKEND=docker IMAGE=NAME serves in containers
	@tools/demo $(if $(BACKEND),-e tfserving_backend=$(BACKEND)) $(if $(IMAGE),-e tfserving_image=$(IMAGE))

test: tools ## Run the static checks, the unit tests and a slice of the other tests. REQUIRE_DOCKER=1 requires a container engine, REQUIRE_ALL=1 everything
	@tools/stages test

test-all: tools ## Run every stage but those of soak
	@tools/stages test rest

test-rest: tools ## Run what test leaves out of test-all
	@tools/stages rest

soak: tools ## Run before a release: other seeds (SEED=N), other Pythons, repetitions
	@tools/stages soak

lint: tools ## Run the linters and mypy
	@tools/stages lint

sanity: tools ## Run the whole of ansible-test sanity
	@tools/stages sanity

integration: tools ## Run the tests that start servers, TensorFlow and Ansible
	@tools/stages integration

docker: tools ## Run what needs a container engine
	@tools/stages docker

$(STAGES): tools
	@tools/stages $@

mutate: tools ## Change the pure functions in random places and list the changes that no unit test finds
	@tools/mutate

bench: tools ## Measure what this collection itself costs
	@for bench in $(filter-out %_server.py,$(wildcard tests/bench/*.py)); do echo "=== $$bench"; python "$$bench" || exit 1; done

bench-tuning: tools ## Tune 400 simulated hosts, then the embedded server against itself and against a grid (90 minutes)
	@python tests/bench/simulated_tunings.py
	@python tests/bench/tuning/real_tunings.py equal
	@python tests/bench/tuning/real_tunings.py grid

format: tools ## Let ruff sort imports, fix what it can, and format
	@ruff check --fix . && ruff format .

lock: ## Resolve requirements/*.in again into requirements/py3XX/*.txt
	@tools/lock

clean: ## Remove what was built; the virtual environment stays
	@rm -rf build .ansible .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache tests/output tfserving-fleet-*.tar.gz

runtime:
	@tools/venv $(VENV) runtime

tools:
	@tools/venv $(VENV) test
