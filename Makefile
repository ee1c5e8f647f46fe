# One word a job. `make run` is all that a user needs; `make test` all that a change needs.

MODEL ?= vgg16
DATA ?= .medindex/$(MODEL)
PORT ?= 8080

KILLS ?= 100
ROUNDS ?= 3

.PHONY: help run setup test check chaos movement images images-test e2e chart lint bench-engine bench-ingest bench-retrieval bench-scatter bench-cache bench-operator clean

help: ## Show the jobs (the default)
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14
	@echo 'Variables: MODEL=$(MODEL) DATA=$(DATA) PORT=$(PORT), and MEDINDEX_CACHE (default ~/.cache/medindex).'

run: ## Import the sample images and serve http://127.0.0.1:8080 until Ctrl-C
	@tools/run.sh '$(MODEL)' '$(DATA)' '$(PORT)'

setup: ## Fetch ONNX Runtime, the models and the samples into the cache folder
	@tools/setup.sh toolchain onnxruntime models samples

test: setup ## Run every test, the slow ones and those over real servers too (MEDINDEX_SKIP_SERVERS=kafka,… leaves servers out)
	@tools/setup.sh native moresamples servers
	cargo test --release --workspace

check: setup ## Run the fast tests only: those beside the code, without files, servers and kills
	@tools/setup.sh native
	cargo test --release --workspace --lib --bins

chaos: setup ## Kill programs and servers KILLS times under upload load; SEED repeats a run
	@tools/setup.sh native servers
	MEDINDEX_KILLS=$(KILLS) MEDINDEX_SEED=$(SEED) cargo test --release --workspace --test kills -- --nocapture

movement: setup ## Move everything ROUNDS times under query load; plot what queries took
	@tools/setup.sh native servers
	MEDINDEX_MOVEMENT_ROUNDS=$(ROUNDS) MEDINDEX_PLOT=$(CURDIR)/benchmarks/results cargo test --release --workspace --test movement -- --nocapture

images: ## Build the container images of the workloads and print their sizes (docker, else buildah)
	@images/build.sh

images-test: images ## Run every image with a read-only root and without rights, and a flow over real servers in them (buildah, root)
	@images/test.sh

e2e: ## Test operator and index on a real Kubernetes made here (root); KEEP=1 leaves it for the next run, TEST=… picks tests
	@KEEP='$(KEEP)' e2e/run.sh $(TEST)

chart: ## Check the Helm chart, the manifests, the alerts and the operator's rights
	@tools/setup.sh kubernetes
	@tools/chart.sh

lint: ## Check format, clippy, licences, crates and sources
	@tools/setup.sh toolchain native deny
	@tools/lint.sh

bench-engine: setup ## Measure the engine beside its peers (hours the first time)
	@benchmarks/engine/run.sh

bench-ingest: setup ## Measure ingest throughput and the time from upload to searchable
	@benchmarks/ingest/run.sh

bench-retrieval: setup ## Measure retrieval quality on MedNIST (../shared/data)
	@benchmarks/retrieval/run.sh

bench-scatter: setup ## Measure queries through 1, 3 and 9 shards beside the index in one process
	@tools/setup.sh native
	@benchmarks/cluster/scatter.sh

bench-cache: setup ## Measure what Redis saves, alone, with Sentinels and as a cluster
	@tools/setup.sh native servers
	@benchmarks/cluster/cache.sh

bench-operator: setup ## Measure the operator over a thousand resources on a real API server (root)
	@tools/setup.sh native kubernetes containers
	@benchmarks/cluster/operator.sh

clean: ## Remove what was built; data folders and the cache stay
	cargo clean
