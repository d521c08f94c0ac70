# Two commands do everything on a machine with Python 3.11, g++ and make:
#   make squeezenet   build and verify the full-size SqueezeNet design
#   make test         run every test but those of full-size
#   make full-size    build and verify every shipped design that make test leaves out
#   make fuzz         compare the engine with NumPy on a million random operations
#   make estimates    remake the error tables of docs/estimates.md, beside rule4ml

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ENGINE := setup.py $(shell find sim/src sim/include sim/bindings sim/dataflow -type f)
WORKERS ?= auto
RULE4ML := .venv-rule4ml
DATA ?= ../shared/data/synthesis

FUZZ_CASES ?= 1000000
FUZZ_ROUNDS ?= 200000
FUZZ_SEED ?= 0

.PHONY: squeezenet test full-size lint fuzz bench estimates lock clean

squeezenet: $(READY)
	$(BIN)/hwflow build designs/squeezenet_int8.yaml

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS)

# One at a time: each uses every processor.
full-size: $(READY)
	$(BIN)/python -m pytest -m full_size tests/flow/test_full_size.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A million random operations beside NumPy, then malformed programs under the sanitizers.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz_engine --cases $(FUZZ_CASES) --seed $(FUZZ_SEED)
	$(MAKE) -C sim sanitize FUZZ_ROUNDS=$(FUZZ_ROUNDS)

bench: $(READY)
	$(BIN)/python -m benchmarks

estimates: $(READY) $(RULE4ML)/.ready
	$(BIN)/python -m hwflow.estimate.validate --data $(DATA) --rule4ml-python $(RULE4ML)/bin/python

$(RULE4ML)/.ready: requirements-rule4ml.txt
	$(PYTHON) -m venv $(RULE4ML)
	$(RULE4ML)/bin/pip install --quiet --requirement requirements-rule4ml.txt
	touch $@

$(READY): requirements.lock pyproject.toml $(ENGINE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock:
	$(BIN)/pip freeze --all --exclude-editable | grep -v "^pip==" > requirements.new
	(sed -n '/^#/p' requirements.lock; cat requirements.new) > requirements.tmp
	mv requirements.tmp requirements.lock
	rm requirements.new

clean:
	rm -rf $(VENV) $(RULE4ML) build *.egg-info hwflow/simulate/_engine*.so hwflow/plan/_dataflow*.so
	$(MAKE) -C sim clean
