# make run     train the U-Net from scratch and draw segmentation_result.png
# make test    lint, unit tests, and every notebook in its short form
# make lint    ruff alone
# make figures run the committed notebooks on drawn pets and fill in the README's numbers
# make scrub   tidy notebooks for a commit
#
# Each makes .venv first, if it is not there: make PYTHON=python3.12 takes another Python.

PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

run: .venv/.installed
	$(BIN)/python -m helpers.run_notebook notebooks/03_unet_from_scratch.ipynb

test: lint
	$(BIN)/python -m pytest

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

figures: .venv/.installed
	PETS_DATA=synthetic PETS_PROFILE=quick $(BIN)/python -m helpers.run_notebook --save $(NOTEBOOKS)
	$(BIN)/python -m helpers.readme

scrub: .venv/.installed
	$(BIN)/python -m helpers.run_notebook --scrub $(NOTEBOOKS)

# The stamp is written last: an install that broke off is taken up again, a finished one is not.
.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "$(PYTHON) is `$(PYTHON) --version 2>&1`: TensorFlow needs 3.11, 3.12 or 3.13." \
	"Install one of these and call: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

.PHONY: run test lint figures scrub
