# Everything runs in a virtual environment of its own, which is made when it is needed.

VENV ?= .venv
PYTHON ?= python3
TREE ?=
SECONDS ?= 60
TARGET ?=
OPERATIONS ?= 100000
ROUNDS ?= 500
SEEDS ?= 10000
SEED ?= 1
BIN = $(VENV)/bin
READY = $(VENV)/.ready

DEB_BUILD = build/deb
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' imageserver/__init__.py)

.PHONY: help demo test check unit man coverage docs deb clean-room bench-gob bench-srpc bench-objects bench-images bench-replication bench-tools bench-web fuzz mutants soak kills cuts simulate screenshots clean

help:
	@echo "make demo    a server with a real tree in it (TREE=/usr, ONCE=1, PORT=...)"
	@echo "make test    everything that CI runs"
	@echo "make check   formatting, lint, types, layers"
	@echo "make unit    the tests that need no daemon"
	@echo "make man     manual pages of all programs, and completion of the tools, in build/man"
	@echo "make bench-gob  the codec beside Go's own"
	@echo "make bench-srpc  pings, sessions, and the memory of connections"
	@echo "make bench-objects  objects in and out, beside nginx if there is one (NGINX_PROGRAM=file, PARTS=get)"
	@echo "make bench-tools  how long people wait for imagetool (PARTS=add, FILES=10000)"
	@echo "make bench-images  large images in and out, and what very many of them take"
	@echo "make bench-web  pages with 20,000 images, and people who look at them"
	@echo "make bench-replication  a second site (PARTS=new; SHARE=0.1 for a tenth of 10 GB)"
	@echo "make fuzz    any bytes at decoders and scanners (SECONDS=60, TARGET=decoder; empty: all)"
	@echo "make mutants  changes the codec in 2,000 ways, and tells which no test notices"
	@echo "make soak    uploads, images and collections in random order (OPERATIONS=100000, SEED=1)"
	@echo "make kills   a daemon that is killed again and again (ROUNDS=500, SEED=1)"
	@echo "make cuts    a replica that is killed and cut off while it copies (ROUNDS=500, SEED=1)"
	@echo "make simulate  a replica and its master on a bad network (SEEDS=10000, SEED=1)"
	@echo "make coverage  what no test runs"
	@echo "make docs    the pages of the documentation that are made from the program"
	@echo "make deb     a Debian package, in build/deb"
	@echo "make screenshots  the pictures in docs/images, with a browser"
	@echo "make clean-room  what CI runs, in a fresh Debian (needs root, debootstrap; COMMAND=...)"
	@echo "make clean   remove what these targets made"

$(READY): pyproject.toml setup.py
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@# The plain editable mode would hide the plugin from twistd.
	@$(BIN)/python -m pip install --editable ".[dev]" --config-settings editable_mode=compat \
		> $(VENV)/install.log 2>&1 || { cat $(VENV)/install.log; exit 1; }
	@$(BIN)/python -m pip install --editable ".[go]" --config-settings editable_mode=compat \
		>> $(VENV)/install.log 2>&1 || echo "No Go toolchain: tests that need it are skipped"
	@touch $@

demo: $(READY)
	@$(BIN)/python -m imageserver.tool.demo $(if $(TREE),-tree=$(TREE)) $(if $(ONCE),-once) $(if $(PORT),-portNum=$(PORT))

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --config pyproject.toml

test: check
	ONCE=1 $(MAKE) --no-print-directory demo
	$(BIN)/python -m pytest -q --numprocesses=auto --dist=loadfile

unit: $(READY)
	$(BIN)/python -m pytest -q --numprocesses=auto --dist=loadfile -m "not system"

man: $(READY)
	@$(BIN)/python -m imageserver.tool.documents build/man/man1 build/man/completion
	@$(BIN)/python -m imageserver.manual build/man

bench-gob: $(READY)
	@PYTHONPATH=test $(BIN)/python -m bench.gob

bench-srpc: $(READY)
	@PYTHONPATH=test $(BIN)/python -m bench.srpc

bench-objects: $(READY)
	@PYTHONPATH=test $(BIN)/python -m bench.objects $(PARTS)

bench-web: $(READY)
	@PYTHONPATH=test $(BIN)/python -m bench.web

bench-replication: $(READY)
	@PYTHONPATH=test $(BIN)/python -m bench.replication $(or $(SHARE),1) $(PARTS)

bench-images: $(READY)
	@PYTHONPATH=test $(BIN)/python -m bench.images

bench-tools: $(READY)
	@PYTHONPATH=test FILES=$(or $(FILES),100000) $(BIN)/python -m bench.tools $(PARTS)

fuzz: $(READY)
	@$(BIN)/python -c "import atheris" 2> /dev/null || \
		$(BIN)/python -m pip install --quiet --editable ".[fuzz]" --config-settings editable_mode=compat
	PYTHONPATH=.:test $(BIN)/python -m fuzz .fuzz $(SECONDS) $(TARGET)

mutants: $(READY)
	@$(BIN)/python -c "import mutmut" 2> /dev/null || \
		$(BIN)/python -m pip install --quiet --editable ".[mutants]" --config-settings editable_mode=compat
	$(BIN)/mutmut run --max-children 1
	$(BIN)/mutmut results

soak: $(READY)
	PYTHONPATH=.:test $(BIN)/python -m soak $(OPERATIONS) $(SEED) /dev/shm

cuts: $(READY)
	PYTHONPATH=.:test $(BIN)/python -m cuts $(ROUNDS) $(SEED)

simulate: $(READY)
	PYTHONPATH=.:test $(BIN)/python -m replication $(SEEDS) $(SEED)

kills: $(READY)
	PYTHONPATH=.:test $(BIN)/python -m kills $(ROUNDS) $(SEED)

coverage: $(READY)
	$(BIN)/python -m pytest -q --numprocesses=auto --dist=loadfile --cov --cov-report=term:skip-covered

docs: $(READY)
	@PYTHONPATH=test $(BIN)/python -m generated_pages

deb: man
	@rm -rf $(DEB_BUILD)
	@mkdir -p $(DEB_BUILD)/imageserver-$(VERSION)
	@git ls-files -z | xargs -0 tar -cf - | tar -xf - -C $(DEB_BUILD)/imageserver-$(VERSION)
	@cp -r build/man $(DEB_BUILD)/imageserver-$(VERSION)/build-man
	cd $(DEB_BUILD)/imageserver-$(VERSION) && dpkg-buildpackage --build=binary --unsigned-changes --no-check-builddeps
	@if command -v lintian > /dev/null; then \
		lintian --allow-root --fail-on error,warning $(DEB_BUILD)/*.deb; \
	else echo "No lintian: the package is not checked"; fi
	@ls $(DEB_BUILD)/*.deb

screenshots: $(READY)
	PYTHONPATH=.:test $(BIN)/python -m screenshots

clean-room:
	@COMMAND="$(COMMAND)" .ci/clean-room

clean:
	rm -rf $(VENV) .fuzz mutants demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
