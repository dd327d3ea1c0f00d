# make demo   from nothing to detections in pictures
# make demo-train   what training looks like, in half a minute
# make test   lint, types, tests
# make test-ray   prediction on a Ray cluster of this machine
# make docs   the documentation as a site, in site/
# make bench  speed of the network on this machine
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# --no-compile spares a third of the time of the install: Python compiles what is used when it is used

.PHONY: demo demo-train test test-ray docs bench clean

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.with-base: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q --no-compile -c constraints.txt -e .
	touch $@

$(VENV)/.with-train: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/.with-dev: $(VENV)/.with-train
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[train,dev,onnx,openvino,video,geo,ui]' playwright
	touch $@

$(VENV)/.with-docs: pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[docs]'
	touch $@

# The scenes are the package's own, drawn by its generator: half of them have 16 bits
demo: $(VENV)/.with-base
	rm -rf $(DEMO)
	$(BIN)/samspl predict src/samspl/assets/scenes --out $(DEMO) -q
	@cut -d, -f1-8 $(DEMO)/predictions.csv
	@echo "--- Look at $(DEMO)/overlay: the scenes with their targets marked; $(DEMO)/mask and predictions.json say the same."
	@echo "--- Your own images: $(BIN)/samspl predict FOLDER_OR_FILE --out found"

# What training looks like, in half a minute: a tiny network on drawn scenes. One thread: more gain nothing on a network
# this small, and lose much where other work shares the cores
demo-train: $(VENV)/.with-train
	rm -rf $(DEMO)-train
	$(BIN)/samspl data synth --out $(DEMO)-train/scenes --count 260 --size 64 --seed 1 --scr 8,20 -q
	$(BIN)/samspl train --config configs/demo.yaml --dataset $(DEMO)-train/scenes --save-dir $(DEMO)-train/run --threads 1
	$(BIN)/samspl test --dataset $(DEMO)-train/scenes --weights $(DEMO)-train/run --overlays $(DEMO)-train/overlays -q
	@echo "--- Look at $(DEMO)-train/overlays (hits, misses, false alarms)."

test: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --ignore tests/integration/test_web_page.py
	OMP_NUM_THREADS=1 $(BIN)/pytest -p no:xdist tests/integration/test_web_page.py

# Alone, since Ray gives its processes a fixed time to start
test-ray: $(VENV)/.with-dev
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[bulk]'
	OMP_NUM_THREADS=1 $(BIN)/pytest -p no:xdist tests/integration/test_predict_ray.py

docs: $(VENV)/.with-docs
	$(BIN)/zensical build --clean --strict

bench: $(VENV)/.with-train
	$(BIN)/python benchmarks/network_speed.py

clean:
	rm -rf $(VENV) runs build dist site
