# slm: text to token bins, bins to batches. `make` alone prints the targets.

VENV := .venv
PY := $(VENV)/bin/python
MADE_FROM = $(shell cat requirements.lock scripts/set_up.py scripts/install_vocabulary.py | git hash-object --stdin)
PYTEST = $(PY) -P -m pytest -q -n logical --dist loadfile --no-loadscope-reorder
PYTHON ?= $(firstword $(foreach p,python3.11 python3 python3.12 python3.13 python3.14,$(if $(shell \
	$(p) -E -c 'import sys; print(1) if (3, 11) <= sys.version_info < (3, 15) else 0' 2>/dev/null),$(p))))

AS_JSON = $(if $(filter-out 0,$(JSON)),--json)
BUILT = $(or $(DATASET),$(shell sed -n 's/^dataset: *\([a-z0-9_-]*\).*/\1/p' params.yaml))

# Stages are started as `python -m scripts.…`, so the environment comes first on PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUTF8 := 1
# What a shell, a cluster or a notebook has set for its own Python and pip.
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS PIP_USER PIP_TARGET PIP_PREFIX MPLBACKEND
unexport PYTHONDONTWRITEBYTECODE  # set-up writes no bytecode, so the first import has to
# An account without a name, as a container may have, and without a home: libraries ask for both.
export USER := $(or $(USER),$(LOGNAME),nobody)
export HOME := $(or $(HOME),$(CURDIR)/.dvc/tmp)
.DEFAULT_GOAL := help
.NOTPARALLEL:  # `make -j4 data verify` builds, then verifies
# A variable that no target knows would be passed over without a word.
KNOWN := A ARGS B BYTES DATASET DOCUMENTS EXECUTOR FIX JSON KILLS MADE_FROM OUT PYTHON RAY_ADDRESS READER REMOTE \
	ROWS SCHEDULER SEED SHARD_TOKENS TO TRAIN VENV VERIFY
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v)))
STRANGE := $(filter-out $(KNOWN) AWS_% CI DVC_% FSSPEC_% HF_% HOME HTTP% HTTPS% MAKE% PATH PIP_% SHELL SLM_% TMPDIR UV_% -%,$(GIVEN))
$(if $(STRANGE),$(error no target knows $(STRANGE); they know $(KNOWN)))
.PHONY: help setup ready environment data datasets pull push verify diff inspect describe card export compare train sample bench bench-data test test-quick test-kills test-peers peers check clean

help:  ## print these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ready  ## make .venv from requirements.lock (every other target does so when needed)

data: ready  ## build the bins (DATASET=name to build another entry of params.yaml; EXECUTOR=dask SCHEDULER=tcp://… or EXECUTOR=ray RAY_ADDRESS=host:port on a cluster)
	@$(PY) -m scripts.make_data $(AS_JSON) $(if $(DATASET),"$(DATASET)")

datasets: ready  ## list the datasets of params.yaml: where each comes from, how large it is, its license, and whether it is built
	@$(PY) -m scripts.list_datasets $(AS_JSON) $(if $(DATASET),"$(DATASET)")

pull: ready  ## bring the bins that dvc.lock names from a DVC remote (REMOTE=name DATASET=name)
	@$(PY) -m scripts.pull $(if $(DATASET),"$(DATASET)") $(if $(REMOTE),--remote "$(REMOTE)")

push: ready  ## send the bins that dvc.lock names to a DVC remote, or to a dataset of the hub, TO=format with that export of them (REMOTE=name or hf://datasets/owner/name DATASET=name)
	@$(PY) -m scripts.push $(if $(DATASET),"$(DATASET)") $(if $(REMOTE),--remote "$(REMOTE)") $(if $(TO),--to "$(TO)")

verify: ready  ## check every byte of the bins, remove what is corrupt in the cache; FIX=1 repairs the bins (REMOTE=name DATASET=name)
	@$(PY) -m scripts.verify $(AS_JSON) $(if $(DATASET),"$(DATASET)") $(if $(filter-out 0,$(FIX)),--fix) $(if $(REMOTE),--remote "$(REMOTE)")

diff: ready  ## say what differs between the bins of two revisions (A=rev B=rev; without B, the workspace)
	@$(PY) -m scripts.diff_bins $(if $(DATASET),"$(DATASET)") $(if $(REMOTE),--remote "$(REMOTE)") \
		$(if $(A),--a "$(A)") $(if $(B),--b "$(B)")

inspect: ready  ## print documents decoded from the bins (DATASET=name; ARGS="--help" lists the ways to choose)
	@$(PY) -m scripts.inspect_bins $(if $(DATASET),--dataset "$(DATASET)") $(ARGS)

describe: ready  ## figures and pictures of the bins, and an audit of their text (ROWS=kind DATASET=name)
	@$(PY) -m scripts.show $(AS_JSON) $(if $(DATASET),"$(DATASET)") $(if $(ROWS),--rows "$(ROWS)")

card: ready  ## a dataset card and a Croissant file of the bins, in reports/<dataset> (DATASET=name)
	@$(PY) -m scripts.make_card $(if $(DATASET),"$(DATASET)")

export: ready  ## give the bins another trainer's names, headers and indices (TO=nanogpt, llmc, megatron, datatrove, olmo, litdata, arrow or webtext; OUT=folder VERIFY=1 READER=modded SHARD_TOKENS=n BYTES=1 DATASET=name)
	@$(PY) -m scripts.export $(if $(DATASET),"$(DATASET)") --to "$(TO)" $(if $(OUT),--out "$(OUT)") $(if $(filter-out 0,$(VERIFY)),--verify) \
		$(if $(READER),--reader "$(READER)") $(if $(SHARD_TOKENS),--shard-tokens "$(SHARD_TOKENS)") $(if $(filter-out 0,$(BYTES)),--token-bytes)

compare: ready  ## build the variants that params.yaml lists and say what differs (TRAIN=1 DATASET=name)
	@$(PY) -m scripts.compare $(AS_JSON) $(if $(DATASET),"$(DATASET)") $(if $(filter-out 0,$(TRAIN)),--train)

# PASSIVE: where something else is running, threads that wait for each other must not keep a core busy.
train: ready  ## train a small GPT on the bins, in two minutes on two cores; the same command goes on with it (DATASET=name; ARGS="--help" lists sizes, steps, mixtures)
	@test -e "data/$(BUILT)/bins/manifest.json" || $(PY) -m scripts.make_data $(if $(DATASET),"$(DATASET)")
	@OMP_WAIT_POLICY=PASSIVE $(PY) -m examples.train --bins "data/$(BUILT)/bins" --out "runs/$(BUILT)" $(ARGS)

sample: ready  ## let that model write a story (DATASET=name; ARGS='--prompt "Once there was"')
	@$(PY) -m examples.sample --bins "data/$(BUILT)/bins" --out "runs/$(BUILT)" $(ARGS)

bench: ready  ## time batches and training steps on this device (ARGS="--synthetic 471872517" runs the script alone)
	@$(if $(ARGS),$(PY) -m scripts.benchmark $(ARGS),$(PY) -m scripts.make_data $(if $(DATASET),"$(DATASET)") && $(PY) -P -m dvc repro -q -s -f benchmark/dvc.yaml)
	@$(PY) -m benchmark.batches.pictures > /dev/null

bench-data: ready  ## time text to bins beside the notebook's recipe (DOCUMENTS=1000000)
	@$(PY) -m benchmark.data $(if $(DOCUMENTS),"$(DOCUMENTS)")

test: ready  ## run the tests, a file at a time on each core (ARGS="-k word" chooses some)
	@$(PYTEST) $(ARGS)

test-quick: ready  ## run the tests that start no DVC, no server and no build, in half a minute (ARGS="-k word")
	@$(PYTEST) -m "not slow" $(ARGS)

test-kills: ready  ## kill the stages at random moments and compare (KILLS=200 SEED=0)
	@$(PY) -m tests.kills.random_kills --kills $(or $(KILLS),200) --seed $(or $(SEED),0)

test-peers: ready peers  ## have other trainers' own readers read our exports (installs them beside the environment)
	@$(PY) -P -m pytest -q tests/export/test_peers.py $(ARGS)

peers: ready
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --upgrade --target .venv.peers \
		$$($(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["peers"])')

check: ready  ## run the linter and the type checker, then the tests
	@$(PY) -P -m ruff check . && $(PY) -P -m ruff format --check . && $(PY) -P -m mypy
	@$(PYTEST)

clean:  ## remove what can be made again, and what killed runs left; names what it keeps
	@if test -e $(VENV)/installed; then $(PY) -m scripts.clean; else echo "no $(VENV): data/ stays as it is"; fi
	rm -rf benchmark/stories .pytest_cache .ruff_cache .mypy_cache .hypothesis

# The environment's file `installed` holds a hash of what it was made from, so that a file that was
# only touched installs nothing, and a .venv that is linked from another clone serves.
ready:
	@test "$$(cat $(VENV)/installed 2>/dev/null)" = "$(MADE_FROM)" || $(MAKE) -s --no-print-directory environment

environment:
	@test -n "$(PYTHON)" || { echo 'error: no Python 3.11 to 3.14 found; `uv python install 3.13`, `brew install python@3.13` or `apt install python3-venv` brings one; another place: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) scripts/set_up.py $(VENV) "$(MADE_FROM)" >&2
