# The targets for users; `make help` lists them.

SHELL := /bin/bash
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
MODEL ?= fuel
DATA := $(patsubst %.dvc,%,$(wildcard *.dvc data/*.dvc))
# One more than there are cores, as tests wait for others now and then.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
# Python's own cache of compiled modules is what makes a step start fast.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run port test lint format notebook ui compile docs image lock

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

run: port $(STAMP) $(DATA) ## Run the pipeline, serve the model and the page (ONCE=1: then stop; PORT=8080)
	@$(VENV)/bin/roadworthy up $(MODEL) $(if $(PORT),--port $(PORT)) $(if $(filter 1,$(ONCE)),--once) \
		|| { code=$$?; [ $$code -eq 130 ] || exit $$code; }

# Said before anything is installed.
port:
	@! (: < /dev/tcp/127.0.0.1/$(or $(PORT),8080)) 2>/dev/null || { echo "Error: port $(or $(PORT),8080) is taken:" \
		"stop the program that listens there, or choose another: make run PORT=8081" >&2; exit 1; }

ui: $(STAMP) ## Show MLflow's page on the runs and versions here (PORT=5000)
	@$(VENV)/bin/roadworthy ui $(if $(PORT),--port $(PORT)) || { code=$$?; [ $$code -eq 130 ] || exit $$code; }

test: $(STAMP) $(DATA) ## Run every test (REQUIRE_ALL=1: a skip is a failure)
	@$(PYTHON) -m coverage erase
	@COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(PYTHON) -m coverage run -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)
	@$(PYTHON) -m coverage combine --quiet
	@$(PYTHON) -m coverage report $(if $(ARGS),--fail-under=0)

lint: $(STAMP) ## Check style, types, imports, compiled pipelines
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/roadworthy compile --check
	@$(PYTHON) docs/reference.py --check

format: $(STAMP) ## Bring the code into its format
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

notebook: $(STAMP) $(DATA) ## Open the notebooks
	@$(VENV)/bin/jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

compile: $(STAMP) ## Compile the pipeline of every model
	@$(VENV)/bin/roadworthy compile

docs: $(STAMP) ## Write the reference from the code, and build the documentation into .site/
	@$(PYTHON) docs/reference.py
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

image: ## Build the two images of the commit (REGISTRY=host/path: before their names)
	@REGISTRY=$(REGISTRY) deploy/image

lock: $(STAMP) ## Write the lock files anew from pyproject.toml
	@$(VENV)/bin/uv pip compile --quiet pyproject.toml --extra boosting --extra dev --extra docs --extra market --extra notebook \
		$(LOCKING) \
		--output-file requirements/dev.txt
	@$(VENV)/bin/uv pip compile --quiet pyproject.toml $(LOCKING) \
		--constraints requirements/dev.txt --output-file requirements/pipeline.txt
	@$(VENV)/bin/uv pip compile --quiet requirements/serving.in $(LOCKING) --python-version 3.11 \
		--excludes requirements/serving.excludes --constraints requirements/pipeline.txt \
		--output-file requirements/serving.txt
	@echo uv | $(VENV)/bin/uv pip compile --quiet - $(LOCKING) \
		--constraints requirements/dev.txt --output-file requirements/uv.txt
	@for packages in benchmarks/{servers,peers}/*.in; do $(VENV)/bin/uv pip compile --quiet $$packages \
		$(LOCKING) --python-version 3.11 --output-file $${packages%.in}.txt || exit; done

LOCKING := --generate-hashes --no-emit-index-url --universal --no-header

# An environment holds its own path: a clone that was moved needs a new one.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): requirements/dev.txt requirements/uv.txt requirements/install.sh pyproject.toml
	@echo "Installing into $(VENV) ..."
	@requirements/install.sh $(VENV)

$(DATA): %: %.dvc $(STAMP)
	@$(VENV)/bin/dvc pull --quiet $<
	@touch $@
