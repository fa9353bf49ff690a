.DEFAULT_GOAL := help
.PHONY: help demo test check generate build toolchain bench clean
SHELL := /bin/bash
# Node 24 comes as a development dependency and goes first; a machine needs only some Node with npm to begin.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.installed

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(INSTALLED) ## the main job in a minute: provider, sidecar, app, and what goes wrong (KEEP=1 leaves it running)
	@node test/demo/demo.ts

test: $(INSTALLED) toolchain build check ## every test
	@vitest run --project '!unit'

check: $(INSTALLED) ## types, lint, arrows, unit tests: under a minute
	@tsc -p tsconfig.json
	@biome check --error-on-warnings .
	@vitest run --project unit

generate: $(INSTALLED) toolchain ## contracts/gen and the compiled policies
	@cd contracts && buf lint && buf generate
	@node policies/build.ts && node test/policies/hostile.ts

build: $(INSTALLED) ## dist/: what an image ships
	@rm -rf dist && tsc -p tsconfig.build.json

toolchain: ## opa and test vectors, built once into a cache outside the checkout (needs Go)
	@bash test/toolchain/toolchain.sh

bench: $(INSTALLED) toolchain ## beside peers and floors, in one run; writes BENCHMARKS.md
	@node test/bench/bench.ts --write

clean: ## everything that make made
	@rm -rf dist coverage node_modules

$(INSTALLED): package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error && touch $@
