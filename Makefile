# `make demo` and `make test` set up everything that they need: a Python of 3.11 or later and the package index are enough.
# Settings of the index, proxies and certificates are those of uv and pip; nothing here overrides them.

SHELL := /bin/bash
BIN := .venv/bin
EXTRAS := s3,nsfw,dev
LOCKED := trainer nsfw s3 gcs test dev bench
WORKERS ?= 4
CLUSTER ?= .cluster
export UV_PYTHON_DOWNLOADS := never

# uv of the PATH if it runs, else the one that setup puts into the environment.
UV = $$(uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)
# pip knows settings that uv does not read (pip.conf, certificates of the system), so it is the second try.
INSTALL = install() { $(UV) pip install --quiet --python $${into:-$(BIN)}/python "$$@" || { \
    echo "uv could not; trying pip" >&2; $${into:-$(BIN)}/python -m ensurepip >/dev/null 2>&1; \
    $${into:-$(BIN)}/python -m pip install --quiet "$$@"; }; }; install

.PHONY: help setup demo demo-train test test-slow test-cluster test-cluster-kills lint format bench bench-cluster bench-trainer bench-gpu cluster cluster-stop lock wheel clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: .venv/installed ## the environment in .venv, with pinned versions

.venv/installed: pyproject.toml constraints.txt
	@python=""; for name in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "m3w needs Python 3.11 or later as python3; name one with make PYTHON=/path/to/python" >&2; exit 1; fi; \
	set -e; \
	if uv --version >/dev/null 2>&1; then \
	    $(BIN)/python -c '' 2>/dev/null || uv venv --quiet --clear --python "$$python" .venv; \
	else \
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear .venv; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	fi; \
	echo "installing m3w with [$(EXTRAS)] into .venv"; \
	$(INSTALL) --constraint constraints.txt --editable '.[$(EXTRAS)]'; \
	touch $@

demo: setup ## the whole way on bundled pages: crawl, shards, documents shown
	@$(BIN)/m3w demo

# Whoever only crawls needs no torch; the tests and the type checker do.
.venv/dev-installed: .venv/installed
	@$(INSTALL) --constraint constraints.txt --editable '.[$(EXTRAS),trainer]'
	@touch $@

demo-train: .venv/dev-installed ## from the bundled pages and drawn pictures to a small model that captions them, in minutes
	@$(BIN)/m3w demo --train

test: .venv/dev-installed ## all tests but the slow ones
	@$(BIN)/python -m pytest --quiet --numprocesses auto --maxprocesses $(WORKERS)

test-slow: .venv/dev-installed ## tests that take minutes, such as building and installing the wheel
	@$(BIN)/python -m pytest -m slow

# Flink's jars as the Python index has them; Beam's job server with its 160 jars from Maven's. A new version there asks for both again.
$(CLUSTER)/flink/installed: .venv/installed
	@$(INSTALL) --no-deps --target $(CLUSTER)/flink apache-flink-libraries==1.19.3
	@touch $@

$(CLUSTER)/job-server/installed: jobs/cluster/job-server.xml
	@for name in java mvn; do command -v $$name >/dev/null || { \
	    echo "the cluster needs Java 17 and Maven, and $$name is not on the PATH" >&2; exit 3; }; done
	@echo "getting Beam's job server by Maven into $(CLUSTER)"
	@rm -rf $(@D)
	@mvn --quiet --batch-mode -Dstyle.color=never --file $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(abspath $(@D))
	@touch $@

CLUSTER_INSTALLED := $(CLUSTER)/job-server/installed $(CLUSTER)/flink/installed

cluster: .venv/installed $(CLUSTER_INSTALLED) ## a development cluster on the loopback: Flink, job server, workers, S3 server
	@$(BIN)/python -m jobs.cluster start $(CLUSTER)

cluster-stop: ## ends just that
	@$(BIN)/python -m jobs.cluster stop $(CLUSTER)

test-cluster: .venv/dev-installed $(CLUSTER_INSTALLED) ## tests on such a cluster, which they start themselves; Java 17 and Maven
	@M3W_CLUSTER=$(abspath $(CLUSTER)) $(BIN)/python -m pytest -m "cluster and not slow" tests/cluster

test-cluster-kills: .venv/dev-installed $(CLUSTER_INSTALLED) ## ten times kill -9 of each kind of process of such a cluster, and a store that fails
	@M3W_CLUSTER=$(abspath $(CLUSTER)) $(BIN)/python -m pytest -m "cluster and slow" --log-cli-level=WARNING tests/cluster

lint: .venv/dev-installed ## format, lint and types, without changing anything
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: setup ## formats, and mends what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.venv/bench-installed: .venv/dev-installed
	@$(INSTALL) --constraint constraints.txt --editable '.[$(EXTRAS),trainer,bench]'
	@touch $@

bench: .venv/bench-installed ## speed and quality beside the peers, as tables
	@set -e; for file in $(filter-out tests/bench/bench_trainer_% tests/bench/bench_gpu.py tests/bench/bench_cluster.py,$(wildcard tests/bench/bench_*.py)); do \
	    name=$$(basename $$file .py); printf '\n== %s\n' $$name; $(BIN)/python -m tests.bench.$$name; \
	done

bench-cluster: .venv/dev-installed $(CLUSTER_INSTALLED) ## a cluster of two and of one worker beside the in-process runner and m3w plan; half an hour
	@$(BIN)/python -W ignore -m tests.bench.bench_cluster --cluster $(CLUSTER)

# mosaicml-streaming wants older numpy, xxhash and transformers, open-flamingo an older torch. Both run with newer ones, so all contestants have the same.
.venv-bench/installed: .venv/installed tests/bench/constraints.txt
	@set -e; into=.venv-bench/bin; $(BIN)/python -m venv --clear --without-pip .venv-bench; \
	echo "installing m3w with [trainer,bench-trainer] into .venv-bench"; \
	$(INSTALL) --constraint constraints.txt --constraint tests/bench/constraints.txt --editable '.[trainer,bench-trainer]'; \
	install --constraint tests/bench/constraints.txt --no-deps mosaicml-streaming open-flamingo; \
	touch $@

bench-trainer: .venv-bench/installed ## speed of stream and training step beside the peers, in an environment of its own
	@set -e; for file in tests/bench/bench_trainer_*.py; do \
	    name=$$(basename $$file .py); printf '\n== %s\n' $$name; .venv-bench/bin/python -W ignore -m tests.bench.$$name; \
	done

bench-gpu: .venv/dev-installed ## tokens a second, MFU and the stream's rate at the shapes of flamingo-3b, on a GPU
	@$(BIN)/python -m tests.bench.bench_gpu

# torch stays out: its CPU and CUDA builds have versions of their own, and the range in pyproject.toml holds.
lock: ## makes constraints.txt anew from the ranges in pyproject.toml
	@{ echo "# Exact versions for Python 3.11 to 3.13, made by make lock; torch is left to the machine."; \
	   $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 $(addprefix --extra=,$(LOCKED)) --excludes <(echo torch) \
	       --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml; } > constraints.new
	@mv constraints.new constraints.txt

wheel: setup ## the wheel, in dist/
	@$(UV) build --quiet --wheel --out-dir dist . && ls dist/*.whl

clean: ## everything that the commands above made
	! test -e $(CLUSTER)/state.json || $(BIN)/python -m jobs.cluster stop $(CLUSTER)
	rm -rf $(CLUSTER) .venv .venv-bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis m3w-demo m3w-demo-train
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
