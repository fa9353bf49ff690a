.DEFAULT_GOAL := help
.PHONY: help demo test check generate build toolchain bench cluster cluster-down images e2e fleet cold nightly clean
SHELL := /bin/bash
# Node 24 comes as a development dependency and goes first; a machine needs only some Node with npm to begin.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.installed

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(INSTALLED) ## the main job in a minute: provider, sidecar, app, and what goes wrong (KEEP=1 leaves it running)
	@node test/demo/demo.ts

test: $(INSTALLED) toolchain build check ## every test
	@vitest run --project '!unit'

check: $(INSTALLED) ## types, lint, arrows, unit tests: minutes, without a cluster
	@tsc -p tsconfig.json
	@biome check --error-on-warnings .
	@vitest run --project unit

generate: $(INSTALLED) toolchain ## contracts/gen, compiled policies, CRDs, chart schema, reference pages
	@cd contracts && buf lint && buf generate
	@node policies/build.ts && node test/policies/hostile.ts
	@node contracts/crd/generate/generate.ts && node contracts/values/generate.ts
	@node test/reference/generate.ts

build: $(INSTALLED) ## dist/: what an image ships
	@rm -rf dist && tsc -p tsconfig.build.json

toolchain: $(INSTALLED) ## programs and test vectors, built once into a cache outside the checkout (needs Go)
	@bash test/toolchain/toolchain.sh

images: $(INSTALLED) toolchain build ## OCI images with sizes, digests and bills of materials, without Docker
	@node test/images/build.ts

cluster: $(INSTALLED) ## a real one-node cluster that stays; prints its kubeconfig (root, Linux)
	@bash test/toolchain/toolchain.sh cluster && node test/cluster-node/up.ts --detach

cluster-down: $(INSTALLED) ## ends it and removes all of it
	@node test/cluster-node/down.ts

e2e: $(INSTALLED) toolchain build ## the whole road on a real cluster, step by step with seconds
	@bash test/toolchain/toolchain.sh cluster && vitest run --project e2e

fleet: $(INSTALLED) ## 1,000 and 5,000 simulated sidecars against one operator
	@node test/load/fleet.ts

nightly: $(INSTALLED) ## a million calls a few changes away from genuine ones (CASES=1000000 SEED=...)
	@node test/laws/nightly.ts --cases $(or $(CASES),1000000) $(if $(SEED),--seed $(SEED))

cold: $(INSTALLED) ## nothing but new tokens and keys: 5,000 a second, and a rotation while junk kids flood
	@node test/load/cold.ts

bench: $(INSTALLED) toolchain ## beside peers and floors, in one run; writes BENCHMARKS.md
	@node test/bench/bench.ts --write

clean: ## everything that make made
	@rm -rf dist coverage node_modules

$(INSTALLED): package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error && touch $@
