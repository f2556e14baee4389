# Everything runs in .venv; DVC's stages find its python because its bin folder comes first on the PATH.
PYTHON ?= python3
UI_PORT ?= 5000
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A run starts Python some forty times. Containers that forbid it to keep what it compiled would compile all of it anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: repro ui test test-torch test-slurm test-chips golden lint check bench torture cards picture setup clean

repro: setup            ## rebuild every result, print the table and whether it is git's; JOBS=2, STAGES="evaluate@p2", FORCE=1
	@python -m hw1.run.ready
	python -m hw1.repro $(if $(JOBS),--jobs $(JOBS)) $(if $(FORCE),--force) $(STAGES)
	@python -m hw1.run.tracking.sender || true  # says itself what it could not send
	@python -m hw1.report.summary
	@python -m hw1.experiments.reproduction

# The addresses' queries: runs of trainings and of whole `dvc repro`s, newest first. Sorted by their start MLflow would
# fold trainings into these; the tag hw1.events begins with the time.
RUNS = \#/experiments/1/runs?orderByAsc=false&searchFilter=tags.%60hw1
ui: setup               ## MLflow's pages over the runs, on this machine; prints their addresses; UI_PORT=5001
	@python -m hw1.run.tracking.sender || true  # says itself what it could not send
ifdef MLFLOW_TRACKING_URI
	@echo 'the runs are at $(MLFLOW_TRACKING_URI), in the experiment hw1'
else
	@echo 'trainings: http://127.0.0.1:$(UI_PORT)/$(RUNS).events%60+LIKE+%27%25%27&orderByKey=tags.%60hw1.events%60'
	@echo 'repros:    http://127.0.0.1:$(UI_PORT)/$(RUNS).repro%60+LIKE+%27%25%27&orderByKey=attributes.start_time'
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
		mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(UI_PORT) --workers 1
endif

test: setup             ## run the tests, file by file on two cores
	pytest -n 2 --dist loadscope --no-loadscope-reorder

test-slurm: setup       ## run the tests in jobs of a real SLURM on this machine; installs it where it may
	@sh tests/install_slurm.sh
	NEEDS_SLURM=1 pytest -k slurm

test-chips: setup       ## run every stage on two emulated CPUs, compare each step; takes long, installs qemu-user where it may
	@sh tests/install_qemu.sh
	NEEDS_CHIPS=1 pytest -n 2 tests/golden

golden: setup           ## write the digests of what every stage computes anew, after a change that is meant to change it
	python tests/golden/trace.py tests/golden/digests.txt

lint: setup             ## check style
	ruff check .
	ruff format --check .

check: setup            ## compare the quick runs of two commits byte for byte, HEAD with BASE; TINY=1: on tiny data
	python tests/two_commits.py $(if $(BASE),--base $(BASE)) $(if $(TINY),--tiny)

bench: setup            ## measure speed beside others'; takes long on two cores
	.venv/bin/uv pip install -q --python .venv/bin/python -c constraints.txt -r pyproject.toml --extra bench
	python -m benchmarks

torture: setup          ## kill the quick run 50 times, compare with an undisturbed one
	python tests/torture.py

cards: setup            ## write the tables of docs/gpu.md: which card carries which training
	python tests/fake_gpu/gpu_tables.py

picture: setup          ## take README's picture and numbers from the results that are here; needs Chromium
	python -m docs.refresh

setup: .venv/installed  ## create .venv with the pinned dependencies; TORCH=2.11.0: with that torch, TORCH=system: with the machine's
	@python -m hw1.run.environment

# The torch that .venv has: pinned, a version, or system; it stays until TORCH says otherwise.
HAS := $(or $(shell cat .venv/installed 2>/dev/null),pinned)
TORCH ?= $(HAS)
OTHER = $(if $(filter $(TORCH),$(HAS)),,other-torch)
OF_TORCH = '"torch(vision)?[>",]|^(torch|torchvision|triton|setuptools|(nvidia|cuda)-[^=]*)=='
INSTALL = .venv/bin/uv pip install -q --python .venv/bin/python

.venv/installed: pyproject.toml constraints.txt $(OTHER)
	$(PYTHON) -m venv $(if $(OTHER),--clear) $(if $(filter system,$(TORCH)),--system-site-packages) .venv
	.venv/bin/pip install -q -c constraints.txt uv
ifeq ($(TORCH),pinned)
	$(INSTALL) -c constraints.txt -r pyproject.toml --extra test
else
	for file in pyproject.toml constraints.txt; do grep -vE $(OF_TORCH) $$file > .venv/$$file || exit 1; done
	$(INSTALL) -c .venv/constraints.txt -r .venv/pyproject.toml --extra test $(if $(filter system,$(TORCH)),,torch==$(TORCH) torchvision)
	.venv/bin/python -c 'import torch, torchvision; print("torch", torch.__version__, "torchvision", torchvision.__version__)'
endif
	@echo $(TORCH) > $@

.PHONY: other-torch
other-torch:

TORCHES = 2.11.0 2.15.0
test-torch:             ## run the tests that compute with the oldest and the newest torch, each in an environment of its own
	for version in $(TORCHES); do $(MAKE) -s --no-print-directory of-torch VERSION=$$version || exit 1; done

.PHONY: of-torch
of-torch:
	mkdir -p .torch/$(VERSION)
	cp -p Makefile pyproject.toml constraints.txt .torch/$(VERSION)
	$(MAKE) -s -C .torch/$(VERSION) .venv/installed TORCH=$(VERSION)
	.torch/$(VERSION)/.venv/bin/python -m pytest -p no:cacheprovider tests/images tests/engine tests/byol tests/classify tests/segment tests/evaluate

clean:                  ## remove what the pipeline made; DVC's cache stays
	rm -rf data models report dvc_plots .checkpoints
