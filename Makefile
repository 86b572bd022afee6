# make run       train the U-Net from scratch and draw segmentation_result.png
# make test      lint, unit tests, and every notebook in its short form
# make test-all  the same on Python 3.11, 3.12 and 3.13, each in an environment of its own
# make colab     every notebook as Colab runs it, with Colab's packages
# make many-photos  tests experiments.many_photos, in the environment that it needs
# make lint      ruff alone
# make figures   run the committed notebooks on synthetic pets and fill in the README's numbers
# make scrub     tidy notebooks for a commit
#
# Each makes .venv first, if it is not there: make PYTHON=python3.12 takes another Python.
# test-all, colab and many-photos have theirs in .venvs/; make test-all PYTHONS=3.12 runs one of
# them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := requirements.txt
PYTHONS := 3.11 3.12 3.13
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

run: $(VENV)/.installed
	$(BIN)/python -m tools.run_notebook notebooks/02_unet_from_scratch.ipynb

test: lint
	$(BIN)/python -m pytest -n logical

test-all:
	@passed= failed=; for version in $(PYTHONS); do \
		if ! python$$version --version > /dev/null 2>&1; then \
			echo "Python $$version is left out: there is no python$$version here. Install it from" \
			"python.org, with pyenv or with your system's packages."; \
		elif $(MAKE) test VENV=.venvs/$$version PYTHON=python$$version; then \
			passed="$$passed $$version"; \
		else \
			failed="$$failed $$version"; \
		fi; \
	done; \
	echo "Passed:$${passed:- none}. Failed:$${failed:- none}."; \
	test -n "$$passed" && test -z "$$failed"

colab:
	@python=python3.13; $$python --version > /dev/null 2>&1 || \
	{ python=$(PYTHON); echo "There is no python3.13 here, which is Colab's: $(PYTHON) is taken."; }; \
	$(MAKE) .venvs/colab/.installed VENV=.venvs/colab PYTHON=$$python \
		REQUIREMENTS=tools/colab-requirements.txt
	.venvs/colab/bin/python -m tools.colab

many-photos: $(VENV)/.installed
	$(MAKE) .venvs/many_photos/.installed VENV=.venvs/many_photos \
		REQUIREMENTS=experiments/many-photos-requirements.txt
	$(BIN)/python -m pytest tests/test_many_photos.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

figures: $(VENV)/.installed
	rm -rf runs/*_quick  # what is trained already would be said, not shown
	PETS_DATA=synthetic PETS_PROFILE=quick $(BIN)/python -m tools.run_notebook --save --memory 3 \
		$(NOTEBOOKS)
	$(BIN)/python -m tools.readme

scrub: $(VENV)/.installed
	$(BIN)/python -m tools.run_notebook --scrub $(NOTEBOOKS)

# The stamp is written last: an install that was interrupted starts again, a finished one does not.
$(VENV)/.installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "$(PYTHON) is `$(PYTHON) --version 2>&1`: TensorFlow needs 3.11, 3.12 or 3.13." \
	"Install one of these and call: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r $(REQUIREMENTS)
	touch $@

.PHONY: run test test-all colab many-photos lint figures scrub
