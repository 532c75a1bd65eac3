# Everything that a fresh clone needs is done by the targets themselves: python3 and make suffice.
#   make demo      the main job on real images, with a report to look at
#   make test      what has to pass before a change is merged
#   make help      the other targets

BIN := .venv/bin
export ASI_VERIFY_SHARED ?= $(if $(wildcard ../shared/data),$(abspath ../shared))
# A set but empty variable would be taken for a place.
ifeq ($(strip $(ASI_VERIFY_SHARED)),)
unexport ASI_VERIFY_SHARED
endif
# Where it is set, every process that a test starts would compile torch and the rest again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test lint trusted-tests tests trusted benchmark mutation test-lirpa clean

help:
	@echo "make demo        run the main job and open out/demo/report.html"
	@echo "make test        linters, type checker, import rules, all tests"
	@echo "make lint        the first three of these"
	@echo "make trusted     the size of everything that has to be believed"
	@echo "make benchmark   the claims of docs/results.md again (about two hours)"
	@echo "make mutation    what the tests of the trusted pass notice (twenty minutes; goes on)"
	@echo "make test-lirpa LIRPA_SRC=PATH   the adapter with a clone of auto_LiRPA's repository"
	@echo "make clean       remove the environment and what was built"

setup:
	@.ci/setup

demo: setup
	$(BIN)/python examples/demo.py

test: lint trusted-tests tests

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Files of tests side by side: what a file sets up once stays with it. Their order is that of
# tests/conftest.py; xdist's own would begin files of few and long tests last.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# The trusted code first, and alone: every branch of the checker has to be taken. The longest files
# take no branch that others do not, and would only be slowed down by being watched.
LONGEST := $(addprefix tests/soundness/test_,planted.py seeded_defects.py trusted_pass.py)
TRUSTED := tests/core tests/lowering tests/checker \
    $(filter-out $(LONGEST),$(wildcard tests/soundness/test_*.py))

trusted-tests: setup
	$(PYTEST) $(TRUSTED) --cov=asi_verify.checker --cov-branch --cov-fail-under=100

tests: setup
	$(PYTEST) $(addprefix --ignore=,$(TRUSTED))

trusted: setup
	@$(BIN)/python benchmarks/trusted_size.py

benchmark: setup
	$(BIN)/python benchmarks/zero_repeatable_errors.py
	$(BIN)/python benchmarks/medmnist_table.py --seed 0 1 2 \
	    --set breastmnist pneumoniamnist retinamnist
	$(BIN)/python benchmarks/never_miss.py
	$(BIN)/python benchmarks/radius_curve.py
	$(BIN)/python benchmarks/stress.py
	$(BIN)/python benchmarks/bubbles.py
	$(BIN)/python benchmarks/adrenal.py
	$(BIN)/python benchmarks/certify_again.py
	$(BIN)/python benchmarks/attack_certified.py
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/proposal_cost.py
	$(BIN)/python benchmarks/smt_wins.py
	$(BIN)/python benchmarks/cactus.py
	$(BIN)/python benchmarks/ordinary_network.py
	$(BIN)/python benchmarks/ambiguity.py
	$(BIN)/python benchmarks/vnncomp.py --most 60 --cores 2
	$(BIN)/python benchmarks/easy_queries.py
	$(BIN)/python benchmarks/cores.py
	$(BIN)/python benchmarks/brute_force.py

mutation: setup
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/python benchmarks/mutation_score.py

test-lirpa: setup
	$(BIN)/python benchmarks/test_lirpa.py $(LIRPA_SRC)

clean:
	rm -rf .venv .tools build dist
