# One list of commands, for laptops and CI alike. `make help` shows it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRA ?= cpu
DATA ?= ../shared/data/ct
UV ?= uv

CLEARSLICE_HOST ?= 127.0.0.1
CLEARSLICE_PORT ?= 8000
export CLEARSLICE_HOST CLEARSLICE_PORT

# another program with the verbs of deploy/image-tool may stand in for a container engine
CONTAINER ?= docker
IMAGE_TOOL ?= deploy/image-tool
IMAGE ?= clearslice:$(EXTRA)
export CONTAINER

# pypi or osv: who is asked about known vulnerabilities
AUDIT_SERVICE ?= pypi

# what ships, and which of it answers when no model is named
DEFAULT_MODEL = ct-l2
CT_MODELS = ct-l2 ct-l1 ct-huber ct-charbonnier ct-l1-ssim ct-ms-ssim-l1 ct-gradient ct-perceptual ct-adversarial \
	ct-heteroscedastic ct-quantile
RELATIVE_MODELS = relative-l2 relative-l1-ssim relative-huber
MODELS = $(CT_MODELS) ct-noise2inverse $(RELATIVE_MODELS)
# what auto may choose from: not what can invent, nor what was better on the tune patients and worse on others
AUTO_MODELS = $(filter-out ct-adversarial ct-noise2inverse,$(MODELS))
# under what it is reported: quarter, full, half and tenth dose, a sharp kernel, sharp thin slices; white noise from weak
# to strong, counting noise, lost pixels
CT_REPORTED = $(DOSES:%=low-dose-matched:dose_fraction=%) low-dose-sharp low-dose-thin
DOSES = 0.25 1 0.5 0.1
RELATIVE_REPORTED = $(SIGMAS:%=gaussian:sigma=%) poisson $(SHARES:%=impulse:share=%)
SIGMAS = 0.1 0.03 0.2
SHARES = 0.05 0.2

# other servers that make bench measures beside ours, each with its requirements in bench/peers/
PEERS = litserve rayserve

# processes of the test suite; a file's tests stay together
WORKERS = 2

SERVING = .venv/.installed-$(EXTRA)
DEVELOPMENT = .venv/.installed-dev
PIP = .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: help serve test test-web test-orthanc lint format bench behaviour growth peers networks models pictures screenshots docs image test-image audit lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

serve: export CLEARSLICE_SPOOL ?= spool
serve: $(SERVING)  ## serve the shipped models on http://$CLEARSLICE_HOST:$CLEARSLICE_PORT (EXTRA=gpu for a GPU)
	exec .venv/bin/clearslice serve

test: $(DEVELOPMENT)  ## the whole suite, in two processes of up to 2 GB each (WORKERS=N); PYTEST='-k dicom' narrows it
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST)

test-web: $(DEVELOPMENT)  ## the page at / in a real browser (Debian: chromium)
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m web tests/web $(PYTEST)

test-orthanc: $(DEVELOPMENT)  ## the PACS node beside a real Orthanc, in a network namespace of its own (as root; Debian: orthanc orthanc-dicomweb orthanc-python dcmtk dicom3tools)
	unshare -n .venv/bin/python -m pytest -m orthanc tests/orthanc $(PYTEST)

lint: $(DEVELOPMENT)  ## style, types, and which package may import which
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: $(DEVELOPMENT)  ## let ruff fix what it can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: $(DEVELOPMENT) build/serving/.installed  ## measure the service beside its model, and training beside its data, as ratios in one run; writes docs/benchmarks/
	.venv/bin/python -m bench.serve --write --serving build/serving/bin/python
	.venv/bin/python -m bench.train --write $(if $(wildcard $(DATA)/train),--data $(DATA))
	.venv/bin/python -m bench.wire --write $(foreach peer,$(PEERS),$(if $(wildcard build/peers/$(peer)/.installed),--$(peer) build/peers/$(peer)/bin/python))
	.venv/bin/python -m bench.networks --write
	.venv/bin/python -m bench.pacs --write
	.venv/bin/python -m bench.page --write

behaviour: $(DEVELOPMENT)  ## overload for a minute, and two hundred reloads under load; writes docs/benchmarks/behaviour.md (ten minutes)
	.venv/bin/python -m bench.behaviour --write

growth: $(DEVELOPMENT)  ## how cost grows with images, clients, series and models; writes docs/benchmarks/growth.md (ten minutes, 12 GB of memory)
	.venv/bin/python -m bench.growth --write --largest

peers: $(PEERS:%=build/peers/%/.installed)  ## other servers, each in an environment of its own, which make bench then measures beside ours

networks: $(DEVELOPMENT)  ## train designs of networks for the same steps, and measure them; writes docs/networks.md (an hour on one core; resumes)
	.venv/bin/python -m bench.networks --data $(DATA) --steps 3000 --write

models: $(DEVELOPMENT)  ## retrain and publish what ships, from DATA=DIR with train/, tune/ and validation/ (four hours on two cores, the first time 15 minutes more; resumes)
	$(TRAIN) ct-l2 --settings training/shelf/ct-base.toml --data $(DATA) --run runs/ct-base
	for model in $(CT_MODELS); do $(TRAIN) $$model --settings training/shelf/ct.toml --start runs/ct-base \
		--data $(DATA) --run runs/$$model || exit; done
	$(TRAIN) ct-noise2inverse --settings training/shelf/ct-noise2inverse.toml --data $(DATA)
	$(TRAIN) relative-l2 --settings training/shelf/relative.toml
	$(TRAIN) relative-l1-ssim --settings training/shelf/relative-next.toml --start runs/relative-l2
	$(TRAIN) relative-huber --settings training/shelf/relative-impulses.toml
	.venv/bin/clearslice evaluate $(CT_MODELS:%=runs/%) runs/ct-noise2inverse --data $(DATA) $(CT_REPORTED:%=--degradation %)
	.venv/bin/clearslice evaluate $(RELATIVE_MODELS:%=runs/%) $(RELATIVE_REPORTED:%=--degradation %)
	for model in $(MODELS); do case $$model in ct-*) data="--data $(DATA)" ;; *) data= ;; esac; \
		.venv/bin/clearslice calibrate runs/$$model $$data || exit; done
	for model in $(MODELS); do .venv/bin/clearslice export runs/$$model --store model_store/published \
		--credits training/credits.toml --label stable || exit; done
	.venv/bin/clearslice models default $(DEFAULT_MODEL)@stable --store model_store/published
	.venv/bin/clearslice evidence $(AUTO_MODELS) --data $(DATA) --store model_store/published
TRAIN = .venv/bin/clearslice train

pictures: $(DEVELOPMENT)  ## draw the README's pictures and the sample of the page, from a phantom and the shipped model
	.venv/bin/python docs/pictures.py
	.venv/bin/python docs/page_sample.py

screenshots: $(DEVELOPMENT)  ## take the pictures of docs/page.md in Chromium
	PYTHONPATH=. .venv/bin/python docs/screenshots.py

docs: $(DEVELOPMENT)  ## write the pages that follow from the code and the store: settings, third parties, the shelf
	.venv/bin/python docs/settings.py
	.venv/bin/python docs/third_party.py
	.venv/bin/python docs/shelf.py

image:  ## build the container image (EXTRA=gpu, CONTAINER=podman)
	$(IMAGE_TOOL) build $(IMAGE) --build-arg EXTRA=$(EXTRA) --build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" \
		--build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)"

test-image: image $(DEVELOPMENT)  ## build the image and prove it: user, size, keys, a reconstruction, SIGTERM (not in CI: it takes minutes)
	CLEARSLICE_IMAGE_TOOL=$(IMAGE_TOOL) CLEARSLICE_IMAGE=$(IMAGE) .venv/bin/python -m pytest tests/image $(PYTEST)

audit: build/audit/.installed  ## known vulnerabilities of what is locked, and a bill of materials in build/sbom.cdx.json
	build/audit/bin/python requirements/here.py requirements/cpu.txt >build/cpu.txt
	build/audit/bin/cyclonedx-py requirements build/cpu.txt --pyproject pyproject.toml --output-reproducible --of JSON \
		-o build/sbom.cdx.json
	@build/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -s $(AUDIT_SERVICE) \
		$(foreach lock,cpu gpu dev audit,-r requirements/$(lock).txt) || { echo "audit failed: a vulnerability is listed above," \
		"or $(AUDIT_SERVICE) could not be asked: where every package is 'not found on PyPI', the index in use has no" \
		"vulnerability API. The other service is AUDIT_SERVICE=osv. Nothing was audited then." >&2; exit 1; }

lock:  ## resolve pyproject.toml anew into requirements/ (needs uv)
	for extra in cpu gpu; do $(LOCK) --extra $$extra -o requirements/$$extra.txt; done
	$(LOCK) --extra cpu --extra training -o requirements/training.txt
	$(LOCK) --extra cpu --extra training --extra dev -c requirements/training.txt -o requirements/dev.txt
	$(COMPILE) requirements/audit.in -o requirements/audit.txt
	for peer in $(PEERS); do $(COMPILE) bench/peers/$$peer.in -c requirements/cpu.txt -o bench/peers/$$peer.txt || exit; done
LOCK = $(COMPILE) pyproject.toml
COMPILE = $(UV) pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet

clean:  ## remove the environment and caches; keeps runs/
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is missing. On Debian: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name another with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv is missing. On Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# the auditors' own dependencies stay out of everyone else's environment
build/audit/.installed: requirements/audit.txt
	$(PYTHON) -m venv --clear build/audit
	build/audit/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/audit.txt
	@touch $@

# what make serve installs and nothing else: TensorFlow imports jax and matplotlib where they are, which takes seconds
build/serving/.installed: requirements/cpu.txt
	$(PYTHON) -m venv --clear build/serving
	build/serving/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/cpu.txt
	@touch $@

build/peers/%/.installed: bench/peers/%.txt
	$(PYTHON) -m venv build/peers/$*
	build/peers/$*/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

# each lock is complete, and installing the larger one serves the smaller one's users too
.venv/.installed-%: requirements/%.txt pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements/$*.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(if $(filter dev,$*),.venv/.installed-cpu)
