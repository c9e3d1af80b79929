# The two commands: `make demo` and `make test`. All set-up is done on the way, from the lock.

# `make` alone lists the targets that have a line after ##.
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 3000
MLFLOW_PORT ?= 5000
SERVE_PORT ?= 8080
# Of those that TAXI_FLEET names, the one that has a champion, if this names none.
FLEET ?=
# A fleet's first champion appears in its second month.
DEMO_MONTHS ?= 2023-03-01...2023-04-01

BIN := .venv/bin
INSTALLED := .venv/installed
# The lock has a version and hashes for every package; as a constraint it holds for those that are
# asked for.
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
	--constraint requirements.lock
unexport VIRTUAL_ENV
.PHONY: help demo clean-demo test drills mutants cluster-test container-test browser-test \
	test-pythons notebook dev serve install lint lock screenshots release

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Dagster warns that another command may replace this one, and that it calls a new function of its own.
demo: export PYTHONWARNINGS = ignore
demo: install ## sets everything up, makes two synthetic months, and asks their champion
	@$(BIN)/dagster asset materialize -m taxi_assets.definitions \
		--select 'group:synthetic' --partition-range $(DEMO_MONTHS)
	@echo
	@$(BIN)/taxi-assets champion --fleet synthetic
	@$(BIN)/taxi-assets predict --fleet synthetic --from JFK --to 'Times Sq' --at 'Fri 17:00'
	@echo
	@echo "How long other trips take:     make serve"
	@echo "The pages of Dagster, MLflow:  make dev"
	@echo "All months on one page:        $(BIN)/taxi-assets report"
	@echo "To start over:                 make clean-demo"

clean-demo: install ## removes what the demo made: files, Dagster's history, MLflow's runs
	@$(BIN)/taxi-assets wipe --fleet synthetic --yes

# Two processes on two cores: waiting threads of the libraries would take the other's core.
test: export OMP_NUM_THREADS = 1
test: install ## runs every test but the drills
	@echo "Every test but the drills: two to five minutes on two cores."
	$(BIN)/pytest --numprocesses 2 --dist worksteal

drills: install ## starts servers, kills processes, takes long
	$(BIN)/pytest -m drill --numprocesses 2 --dist worksteal

# ONLY=taxi_assets/durations/promotion.py; TESTS="..." for others than those that import the module.
mutants: export OMP_NUM_THREADS = 1
mutants: export PYTHONDONTWRITEBYTECODE = 1
mutants: module = $(subst /,.,$(basename $(ONLY)))
mutants: importing = $(basename $(module))(\.| import .*)$(notdir $(basename $(ONLY)))\b
mutants: TESTS ?= $(shell grep -lE '$(importing)' taxi_assets_tests/test_*.py)
mutants: install .venv/with-mutants ## puts small faults into a module, and says which no test notices
	mkdir -p .mutants
	sed 's#MODULE#$(ONLY)#; s#TESTS#$(TESTS)#' cosmic-ray.toml > .mutants/cosmic-ray.toml
	$(BIN)/cosmic-ray baseline .mutants/cosmic-ray.toml
	$(BIN)/cosmic-ray init --force .mutants/cosmic-ray.toml .mutants/session.sqlite
	$(BIN)/cr-filter-operators .mutants/session.sqlite .mutants/cosmic-ray.toml
	$(BIN)/cosmic-ray exec .mutants/cosmic-ray.toml .mutants/session.sqlite
	$(BIN)/cr-report --surviving-only --show-diff .mutants/session.sqlite

cluster-test: install .venv/with-cluster .venv/with-cluster-test ## Postgres, an object store, MLflow's server and Ray, on loopback
	$(BIN)/pytest -m cluster taxi_assets_tests/test_object_storage.py taxi_assets_tests/test_upgrades.py
	$(BIN)/pytest -m cluster taxi_assets_tests/test_cluster.py --capture=no --verbose

container-test: install .venv/with-container-test ## builds the image, and tests the team's services in containers
	@for program in podman runc debootstrap catatonit; do \
		command -v $$program > /dev/null || { echo "$$program is missing; as root: apt-get install" \
			"podman buildah runc debootstrap catatonit netavark aardvark-dns iptables"; exit 1; }; done
	$(BIN)/pytest -m container --capture=no --verbose --exitfirst

browser-test: install .venv/with-browser-test ## clicks through the pages in Chromium
	$(BIN)/pytest -m browser --verbose

test-pythons: install ## runs the tests on each Python that the project supports
	.ci/pythons $(BIN)/uv

screenshots: install .venv/with-browser-test ## makes the screenshots of the documents
	$(BIN)/python -m taxi_assets_tests.screenshots

release: install .venv/with-release ## builds sdist and wheel, checks them, makes a month from them
	.ci/release $(BIN)

notebook: install .venv/with-notebook ## opens the walk-through in JupyterLab
	$(BIN)/jupyter lab notebooks/walkthrough.ipynb

# Whether a port is free; $(1) is the port, $(2) who needs it, $(3) the variable that chooses it.
free = $(BIN)/python -c 'import socket; socket.create_server(("127.0.0.1", $(1)))' 2> /dev/null || \
	{ echo "Port $(1) is taken, $(2) needs another: make dev $(3)=$$(($(1) + 1))"; exit 1; }

dev: export PYTHONWARNINGS = ignore
dev: install ## serves the pages of Dagster and MLflow
	@echo "Starting, about 20 s."
	@$(call free,$(PORT),Dagster,PORT)
	@case "$$MLFLOW_TRACKING_URI" in \
	http*) mlflow="$$MLFLOW_TRACKING_URI" ;; \
	*) $(call free,$(MLFLOW_PORT),MLflow,MLFLOW_PORT); \
	   mlflow=http://localhost:$(MLFLOW_PORT); \
	   MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --port $(MLFLOW_PORT) \
		--workers 2 --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" \
		--default-artifact-root ./mlruns > /dev/null 2>&1 & \
	   server=$$! ;; \
	esac; \
	sed -i -E -e 's#(DAGSTER_UI_URL:-http://localhost:)[0-9]+#\1$(PORT)#' \
		-e 's#(MLFLOW_UI_URL:-http://localhost:)[0-9]+#\1$(MLFLOW_PORT)#' .env; \
	set -a; . ./.env; set +a; \
	echo "Months come from $${TAXI_TRIP_SOURCE:-TLC (see TAXI_TRIP_SOURCE)}."; \
	$(BIN)/python -m taxi_assets.runs.dead_runs; \
	$(BIN)/python -c 'import socket, time; \
	exec("while socket.socket().connect_ex((\"127.0.0.1\", $(PORT))): time.sleep(0.5)"); \
	print("Dagster: http://localhost:$(PORT)/asset-groups    MLflow:", "'$$mlflow'", "   Ctrl-C stops both.")' & \
	ready=$$!; trap 'kill $$server $$ready 2> /dev/null' EXIT; trap 'echo "Stopping …"' INT; \
	DAGSTER_UI_URL="$${DAGSTER_UI_URL:-http://localhost:$(PORT)}" \
	MLFLOW_UI_URL="$${MLFLOW_UI_URL:-$$mlflow}" \
	$(BIN)/dagster dev --log-level warning --port $(PORT)

serve: install ## serves the map that answers "how long?": make serve FLEET=green
	@$(BIN)/taxi-assets serve $(if $(FLEET),--fleet $(FLEET)) --port $(SERVE_PORT)

lint: install ## ruff, mypy, import-linter; then how large the project is
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@.ci/budgets

install: $(INSTALLED) .env ## sets everything up, in .venv

# uv comes from the registry into the project's own environment, so that none is needed before.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else \
		f"Python 3.11 to 3.13 is needed, this is {v.major}.{v.minor}: make install PYTHON=python3.11")'
	@echo "Installing the project into .venv, a minute or two …"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet 'uv<1'
	@$(INSTALL) --editable '.[lint,test]'
	@touch $@

# What only some need is not installed for all.
.venv/with-%: $(INSTALLED)
	$(INSTALL) --editable '.[$*]'
	touch $@

# Dagster reads .env in the folder it starts in; what was exported wins. The two addresses are those
# of `make dev`, which notes others here, so that Dagster and MLflow link to each other. Dagster's
# history is made here, once, as several processes that start at the same time would each make it;
# and each fleet is a pool of one run, as its months look back.
.env: Makefile $(INSTALLED)
	@printf '%s\n' 'DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}"' \
		'DAGSTER_UI_URL="$${DAGSTER_UI_URL:-http://localhost:$(PORT)}"' \
		'MLFLOW_UI_URL="$${MLFLOW_UI_URL:-http://localhost:$(MLFLOW_PORT)}"' > $@
	@DAGSTER_HOME="$(CURDIR)/.dagster_home" $(BIN)/dagster instance info > /dev/null
	@for fleet in yellow green synthetic fhvhv; do DAGSTER_HOME="$(CURDIR)/.dagster_home" \
		$(BIN)/dagster instance concurrency set $$fleet 1 > /dev/null; done

# The second lock is a part of the first: what the image runs, without tests and notebooks.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet

lock: ## resolves the newest packages within the ranges of pyproject.toml
	$(LOCK) --all-extras --output-file requirements.lock
	$(LOCK) --extra cluster --constraint requirements.lock --output-file deploy/requirements.lock
	echo uv | $(subst pyproject.toml,-,$(LOCK)) --no-annotate --output-file deploy/installer.lock
