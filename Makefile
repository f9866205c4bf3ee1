# Each target sets up .venv by itself. PYTHON is any interpreter from 3.11 up with the venv module.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run example-study test test-slow test-nilearn test-newest test-cluster soak fuzz lint docs benchmark clean

# The embedded default: simulated subjects, all strategies, the comparison below results/large_fmri/.
run: $(VENV)/run.done
	$(BIN)/snakemake --cores 6

# A simulated study of four subjects as fMRIPrep leaves it, to try things on: example-study/
example-study: $(VENV)/run.done
	$(BIN)/python scripts/simulate_fmriprep.py example-study

# The tests for every change: at most 15 minutes on two cores.
test: $(VENV)/dev.done
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

# The others, which show the same over more strategies, moments and data, and those on a cluster. What needs a SLURM is skipped
# where there is none, and by anyone but root; so is what needs mounts or control groups where they are refused.
test-slow: $(VENV)/dev.done
	$(BIN)/python -m pytest -m slow

# All of nilearn's own tests of its maskers that its own classes pass, with ours in their place.
test-nilearn: $(VENV)/dev.done
	$(BIN)/python tests/nilearn_own/run.py

# The library with the newest nilearn, in an environment of its own: what depends on nilearn, and nilearn's own tests.
ON_NILEARN := maskers maskers_of_maps private_names public_names cleaning labels threads
test-newest: $(VENV)-newest/run.done
	$(VENV)-newest/bin/python -m pytest $(ON_NILEARN:%=tests/unit/test_%.py) --numprocesses 2 --dist loadfile
	$(VENV)-newest/bin/python tests/nilearn_own/run.py

# The tests on a real SLURM alone, which they start and stop; its packages: tests/cluster/cluster.sh install
test-cluster: $(VENV)/dev.done
	ROISTREAM_REQUIRE_CLUSTER=1 $(BIN)/python -m pytest tests/cluster

# Both targets 20 times, each time a process killed at a random moment, and continued: about 20 minutes. docs/reliability.md
soak: $(VENV)/dev.done
	PYTHONPATH=scripts:tests:. $(BIN)/python tests/soak.py

# Ten minutes each of made-up headers, files, tables and configurations.
fuzz: $(VENV)/dev.done
	PYTHONPATH=scripts:tests:. $(BIN)/python -m fuzz

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(MAKE) docs

# The site of the documentation, in docs/_build. A broken link or docstring is an error.
docs: $(VENV)/dev.done
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . docs/_build

# Speed and memory against the bars, for a quiet machine and about an hour: docs/benchmark.md and its figure.
benchmark: $(VENV)/run.done
	PYTHONPATH=scripts $(BIN)/python -m benchmarks --repeats 3 --out docs --workdir .benchmark
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.maskers --repeats 3 --out docs --workdir .benchmark
	PYTHONPATH=scripts $(BIN)/python -m benchmarks.connectome --repeats 3 --out docs --workdir .benchmark

clean:
	rm -rf $(VENV) $(VENV)-newest docs/_build

$(VENV)/run.done: envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "roistream needs Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements.txt
	touch $@

$(VENV)/dev.done: envs/requirements-dev.txt $(VENV)/run.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements-dev.txt
	touch $@

$(VENV)-newest/run.done: envs/requirements-newest.txt
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --disable-pip-version-check --requirement envs/requirements-newest.txt
	touch $@
