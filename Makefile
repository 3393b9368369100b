# Both `make reproduce` and `make test` set up everything they need in .venv; nothing outside this folder is touched.
PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help reproduce test notebooks bench count lint clean

help:
	@echo "make reproduce   regenerate every table and figure; 4 to 20 minutes per study on 2 cores"
	@echo "                 (ARGS='01 --profile paper --device cuda' goes to 'companion reproduce')"
	@echo "make test        lint, then all tests and notebooks; about 12 minutes on 2 cores (WORKERS=2)"
	@echo "make notebooks   renew the committed notebook outputs, figures and scoreboard from clean runs"
	@echo "make bench       measure the speed claims"
	@echo "make count       code lines by room, and what each notebook pulls in (ARGS=--modules lists the modules)"
	@echo "make lint        mend style and formatting where it can be done without thought"
	@echo "make clean       remove .venv and output/; data/cache with downloads and trained models stays"
	@echo "The first of them sets up .venv: one pip install, 2 to 5 minutes, 2 GB of disk."

reproduce: $(READY)
	@echo "Regenerating the studies into output/: 4 to 20 minutes each on 2 cores."
	$(BIN)/companion reproduce $(ARGS)

test: $(READY)
	@echo "Lint, unit tests, and every notebook at its smoke profile: about 12 minutes on 2 cores."
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term

notebooks: $(READY)
	$(BIN)/companion publish $(ARGS)

bench: $(READY)
	@for file in benchmarks/bench_*.py; do echo "$$file"; $(BIN)/python "$$file" || exit 1; done

count: $(READY)
	@$(BIN)/python benchmarks/count.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv output .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info

# One pip install, run again only when pyproject.toml has changed.
$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11 or newer: on Debian \
	'sudo apt install python3 python3-venv', on macOS 'brew install python'."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: \
	Python 3.11 or newer is needed. If you have one, name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv: one pip install, 2 to 5 minutes, 2 GB of disk."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python could not make a virtual environment. On Debian, \
	'sudo apt install python3-venv' adds what is missing."; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@
