# make run     train the U-Net from scratch and draw segmentation_result.png
# make test    lint, unit tests, and every notebook in its short form
# make lanes   the same on Python 3.11, 3.12 and 3.13, each in an environment of its own
# make colab   every notebook as Colab runs it, with Colab's packages
# make lint    ruff alone
# make figures run the committed notebooks on drawn pets and fill in the README's numbers
# make scrub   tidy notebooks for a commit
#
# Each makes .venv first, if it is not there: make PYTHON=python3.12 takes another Python.
# lanes and colab have theirs in .lanes/ instead; make lanes LANES=3.12 runs one of them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := requirements.txt
LANES := 3.11 3.12 3.13
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

run: $(VENV)/.installed
	$(BIN)/python -m helpers.run_notebook notebooks/03_unet_from_scratch.ipynb

test: lint
	$(BIN)/python -m pytest -n logical --dist loadfile

lanes:
	@passed= failed=; for version in $(LANES); do \
		if ! python$$version --version > /dev/null 2>&1; then \
			echo "Python $$version is left out: there is no python$$version here. Install it from" \
			"python.org, with pyenv or with your system's packages."; \
		elif $(MAKE) test VENV=.lanes/$$version PYTHON=python$$version; then \
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
	$(MAKE) .lanes/colab/.installed VENV=.lanes/colab PYTHON=$$python \
		REQUIREMENTS=tests/colab-requirements.txt
	.lanes/colab/bin/python -m tests.colab_lane

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

figures: $(VENV)/.installed
	PETS_DATA=synthetic PETS_PROFILE=quick $(BIN)/python -m helpers.run_notebook --save --memory 3 \
		$(NOTEBOOKS)
	$(BIN)/python -m helpers.readme

scrub: $(VENV)/.installed
	$(BIN)/python -m helpers.run_notebook --scrub $(NOTEBOOKS)

# The stamp is written last: an install that broke off is taken up again, a finished one is not.
$(VENV)/.installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "$(PYTHON) is `$(PYTHON) --version 2>&1`: TensorFlow needs 3.11, 3.12 or 3.13." \
	"Install one of these and call: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r $(REQUIREMENTS)
	touch $@

.PHONY: run test lanes colab lint figures scrub
