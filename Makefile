# What to type in a checkout; `make` lists it. The tools do the work, this file says which and in what order.

VENV ?= .venv
STAGES = lint changelog docs unit thinking integration sanity importer molecule docker

# Nobody's own Ansible settings, collections or leftovers take part.
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
.PHONY: help demo test bench format lock clean runtime tools begin $(STAGES)

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: runtime ## Show the whole path on this machine; the report is build/demo/report.html. BACKEND=docker IMAGE=NAME serves in containers
	@tools/demo $(if $(BACKEND),-e tfserving_backend=$(BACKEND)) $(if $(IMAGE),-e tfserving_image=$(IMAGE))

test: begin $(STAGES) ## Run everything below; REQUIRE_DOCKER=1 also requires a container engine, REQUIRE_ALL=1 also Python 3.9
	@awk '{ seconds += $$3 } END { printf "\nall %d stages passed in %d s\n", NR, seconds }' build/stages

# ansible-lint installs a copy of the collection, which must not go before the checkout elsewhere.
lint: export ANSIBLE_HOME = $(CURDIR)/build/lint
lint: export ANSIBLE_COLLECTIONS_PATH = $(CURDIR)/build/lint/collections
lint: tools ## Style and best practices: ansible-lint (profile production), yamllint, ruff
	@tools/stage $@ sh -ec 'ruff check . && yamllint --strict . && ansible-lint --profile production'

changelog: tools ## The changelog's fragments
	@tools/stage $@ antsibull-changelog lint

docs: tools ## The documentation of modules, filters and roles
	@tools/stage $@ antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .

unit: tools ## The unit tests
	@tools/stage $@ pytest -q -n auto tests/unit

thinking: tools ## The unit tests of the thinking on Python 3.9, with no Ansible
	@tools/stage $@ tools/thinking

integration: tools ## The tests that start servers, TensorFlow and Ansible
	@tools/stage $@ tools/integration

sanity: tools ## ansible-test sanity
	@tools/stage $@ tools/sanity

importer: tools ## Galaxy's own checks of the built collection
	@tools/stage $@ tools/importer

molecule: tools ## The roles on local hosts, without containers
	@tools/stage $@ tools/molecule

docker: tools ## What needs a container engine
	@tools/stage $@ tools/docker-scenarios

bench: tools ## Measure what this collection itself costs
	@for bench in $(filter-out %_server.py,$(wildcard tests/bench/*.py)); do tools/stage bench python "$$bench" || exit 1; done

format: tools ## Let ruff arrange imports and fix what it can
	@ruff check --fix .

lock: ## Resolve requirements/*.in anew into requirements/py3XX/*.txt
	@tools/lock

clean: ## Remove what was built; the virtual environment stays
	@rm -rf build .ansible .pytest_cache .ruff_cache .hypothesis tests/output tfserving-fleet-*.tar.gz

runtime:
	@tools/venv $(VENV) runtime

tools:
	@tools/venv $(VENV) test

begin:
	@rm -f build/stages
