# make demo   from nothing to detections in pictures
# make test   lint, types, tests
# make docs   the documentation as a site, in site/
# make bench  speed of the network on this machine
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# --no-compile spares a third of the time of the install: Python compiles what is used when it is used

.PHONY: demo test docs bench clean

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.with-train: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/.with-dev: $(VENV)/.with-train
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[train,dev,onnx,openvino,video,geo,ui,bulk]' playwright
	touch $@

$(VENV)/.with-docs: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[docs]'
	touch $@

# One thread: more gain nothing on a network this small, and lose much where other work shares the cores
demo: $(VENV)/.with-train
	rm -rf $(DEMO)
	@echo "--- No weights are bundled yet: the demo draws scenes, trains a tiny network on them for a moment, and uses it."
	$(BIN)/samspl data synth --out $(DEMO)/scenes --count 260 --size 64 --seed 1 --scr 8,20 -q
	$(BIN)/samspl train --config configs/demo.yaml --dataset $(DEMO)/scenes --save-dir $(DEMO)/train --threads 1
	$(BIN)/samspl test --dataset $(DEMO)/scenes --weights $(DEMO)/train --overlays $(DEMO)/overlays -q
	$(BIN)/samspl predict $(DEMO)/scenes/images --weights $(DEMO)/train --out $(DEMO)/predictions -q
	@echo "--- Look at $(DEMO)/overlays (hits, misses, false alarms) and $(DEMO)/predictions."
	@echo "--- Your own images: $(BIN)/samspl predict FOLDER --weights WEIGHTS; real weights need training on real images (README)."

test: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

docs: $(VENV)/.with-docs
	$(BIN)/zensical build --clean --strict

bench: $(VENV)/.with-train
	$(BIN)/python benchmarks/network_speed.py

clean:
	rm -rf $(VENV) runs build dist site
