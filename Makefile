# Loopcast. `make help` lists what can be done; docs/ says why it is done so.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV := .venv/uv/bin/uv
PY := .venv/main/bin/python
export UV_LINK_MODE ?= hardlink
export PYTHONWARNINGS ?=

SOURCE ?= simulated
APPROVE ?= auto
PORT ?= 4566
FOR ?= laptop-cluster

.PHONY: help demo simulate up status down destroy images install uninstall promote test test-shared test-charts test-cluster test-cluster-parts lint format bench clean lock setup
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# --- set-up -----------------------------------------------------------------------------------------------
.venv/prerequisites: scripts/prerequisites
	@scripts/prerequisites
	@mkdir -p .venv && touch $@

$(UV): .venv/prerequisites requirements/uv.txt
	@python3.11 -m venv .venv/uv
	@.venv/uv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# An environment of its own for each set of dependencies that conflicts with the others (docs/environments.md).
.venv/%/ready: requirements/%.txt pyproject.toml $(UV)
	@echo "set-up: Python environment $*"
	@$(UV) venv -q --allow-existing --python python3.11 .venv/$*
	@$(UV) pip sync -q --require-hashes --compile-bytecode -p .venv/$*/bin/python requirements/$*.txt
	@pwd > .venv/$*/lib/python3.11/site-packages/loopcast-checkout.pth
	@touch $@

# Maven copies the job's jars and its plugins here.
flink/target/ready: flink/pom.xml .venv/prerequisites
	@echo "set-up: Flink's jars"
	@mvn -q -B -C -f flink/pom.xml package
	@touch $@

setup: .venv/main/ready .venv/forecasters/ready .venv/flink/ready flink/target/ready ## install everything that the other targets need

# --- the main job -----------------------------------------------------------------------------------------
demo: setup ## from nothing to a forecast, and to a model that mended itself (SOURCE=simulated|recording|live, RECORDING=file, APPROVE=auto|ask)
	@$(PY) -m local.demo --source $(SOURCE) --port $(PORT) $(if $(FEED),--feed $(FEED)) $(if $(RECORDING),--recording $(RECORDING)) --approve $(APPROVE) $(if $(HOURS),--hours $(HOURS)) $(if $(REGIME),--regime $(REGIME))

simulate: .venv/main/ready .venv/forecasters/ready ## play the closed loop over weeks of recorded data, with real training (RECORDING=file)
	@$(PY) -m local.simulate $(if $(RECORDING),--recording $(RECORDING)) $(SIMULATE)

up: setup ## start the stack and leave it running at real time
	@$(PY) -m local.stack up --source $(SOURCE) --port $(PORT) $(if $(FEED),--feed $(FEED)) $(if $(RECORDING),--recording $(RECORDING))

status: .venv/main/ready ## show every part's health, lag and last output
	@$(PY) -m local.stack status

down: .venv/main/ready ## stop everything
	@$(PY) -m local.stack down

destroy: .venv/main/ready ## delete every AWS resource of the running stack and say what was removed
	@$(PY) -m local.stack destroy

# --- on a cluster -----------------------------------------------------------------------------------------
images: .venv/main/ready flink/target/ready ## build the images (REGISTRY=, TAG=, PUSH=1, BASE=debian-12-image, BUILDER=docker|podman|buildah, ARCHIVE=folder)
	@$(PY) -m install images $(if $(BUILDER),--builder "$(BUILDER)") $(if $(BUILD_OPTIONS),--build-options "$(BUILD_OPTIONS)") \
	  $(if $(BASE),--base $(BASE)) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(TAG),--tag $(TAG)) $(if $(FEED),--feed $(FEED)) \
	  $(if $(PUSH),--push) $(if $(ARCHIVE),--archive $(ARCHIVE))

install: .venv/main/ready ## install all of it on the cluster of KUBECONFIG (FOR=laptop-cluster|eks, REGISTRY=, TAG=, FEED=, VALUES=file, SET="name=value ...")
	@$(PY) -m install up --values-for $(FOR) $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(TAG),--tag $(TAG)) \
	  $(if $(FEED),--feed $(FEED)) $(if $(VALUES),-f $(VALUES)) $(foreach value,$(SET),--set "$(value)")

uninstall: .venv/main/ready ## remove from the cluster what make install has put there
	@$(PY) -m install down

promote: .venv/main/ready ## change an environment's image tag or approved model version, for a pull request (ENV=prod TAG=0.1.1 or VERSION=7)
	@$(PY) scripts/promote.py '$(ENV)' $(if $(TAG),--tag '$(TAG)') $(if $(VERSION),--version '$(VERSION)')

# --- quality ----------------------------------------------------------------------------------------------
test: setup .venv/sagemaker/ready ## run the tests
	@$(PY) -m pytest -m "not shared and not cluster and not charts"

test-shared: setup ## run the tests that read the recordings in ../shared
	@if [ -d ../shared/data ]; then $(PY) -m pytest -m shared; else echo "test-shared: ../shared/data is absent: nothing was run"; fi

# A second opinion on every chart, where Go is there to build it.
HELM := $(shell command -v helm)
build/bin/kube-score:
	@if command -v go >/dev/null; then GOBIN=$(CURDIR)/build/bin go install github.com/zegl/kube-score/cmd/kube-score@v1.20.0; fi

test-charts: .venv/main/ready $(if $(HELM),build/bin/kube-score) ## run the tests of the charts and of what Argo CD and ACK are given (needs helm; go for others' schemas; with KUBECONFIG an API server looks at all of it too)
	@if [ -n "$(HELM)" ]; then PATH=$(CURDIR)/build/bin:$$PATH $(PY) -m pytest -m "charts$(if $(KUBECONFIG),, and not cluster)"; \
	  else echo "test-charts: helm is not installed: nothing was run"; fi

# LOAD is run for each image's archive, as LOAD FILE: how a cluster that pulls from no registry gets images. Else its nodes
# pull from REGISTRY.
test-cluster: ARCHIVE = $(if $(LOAD),build/images)
test-cluster: setup $(if $(KUBECONFIG),images) ## build the images, install all of it on the cluster of KUBECONFIG, and put it to the test (BASE=, BUILDER=, LOAD=command, or REGISTRY= PUSH=1)
	@$(if $(and $(KUBECONFIG),$(LOAD)),for archive in $(ARCHIVE)/*.tar; do $(LOAD) $$archive || exit 1; done)
	@if [ -n "$(KUBECONFIG)" ]; then REGISTRY=$(REGISTRY) TAG=$(TAG) $(PY) -m pytest -v -m cluster tests/cluster; \
	  else echo "test-cluster: KUBECONFIG is not set: nothing was run"; fi

test-cluster-parts: setup ## each part against the API server of KUBECONFIG (after make test-cluster, whose images it uses)
	@if [ -n "$$KUBECONFIG" ]; then $(PY) -m pytest -m cluster --ignore tests/cluster; else echo "test-cluster-parts: KUBECONFIG is not set: nothing was run"; fi

lint: .venv/main/ready ## check style, types and the direction of imports
	@.venv/main/bin/ruff check .
	@.venv/main/bin/ruff format --check .
	@.venv/main/bin/mypy
	@.venv/main/bin/lint-imports

format: .venv/main/ready ## format the code
	@.venv/main/bin/ruff format .
	@.venv/main/bin/ruff check --fix .

bench: setup ## measure, and leave .loopcast/bench/report.json
	@$(PY) -m bench --port $(PORT)

lock: $(UV) ## resolve requirements/*.in again and pin them with hashes
	@for name in uv main forecasters flink sagemaker; do \
	  $(UV) pip compile -q --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	@for name in build flink flink-distribution ingestion pipelines operator local-aws forecaster; do \
	  from=main; [ $$name = forecaster ] && from=forecasters; \
	  $(UV) pip compile -q --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" -c requirements/$$from.txt $$(case $$name in flink*) echo --no-deps; esac) \
	    $$(sed 's/^/--no-emit-package /' requirements/images/$$name.without 2>/dev/null) \
	    requirements/images/$$name.in -o requirements/images/$$name.txt || exit 1; done

clean: ## remove what make has made
	@if [ -x $(PY) ]; then $(PY) -m local.stack down || true; fi
	@rm -rf .venv .loopcast build flink/target .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
