# Every target sets up what it needs first (envs/setup.sh; a moment when all is there).
.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint bench bench-accuracy docs clean

in_env := envs/setup.sh

help:    ## List the targets.
	@sed -n 's/^\([a-z-]*\): *## /  make \1\t/p' Makefile | expand -t 16

setup:   ## Set up all that is missing: Python packages, bedtools, kallisto, Nextflow.
	@$(in_env)

# A demo that was broken off or run before goes on from there; Nextflow warns about -resume where nothing ever ran.
demo:    ## Run the pipeline on a small simulated cohort; reports in results/ and, of promoters, in results_promoters/.
	envs/nextflow/nextflow run . -profile demo $(if $(wildcard .nextflow/history),-resume)
	envs/nextflow/nextflow run . -profile demo_promoters -resume --outdir results_promoters

# The tests of the engine start Nextflow, which uses both cores by itself, and share one run: no -n there.
unit_tests := $(in_env) python -m pytest tests --ignore tests/bench --ignore tests/engine -n 2 --timeout 300 --durations 5

test:    ## Run every test.
	$(unit_tests)
	$(in_env) python -m pytest tests/engine --timeout 1200 --durations 15

unit:    ## Run the tests that run no pipeline.
	$(unit_tests)

# One file at a time: the bundled engine's lint crashes on a warning ("getErrors() is null"), and so at least says where.
lint:    ## Check the style of Python and Nextflow code.
	$(in_env) ruff check
	@for file in main.nf modules/*.nf; do envs/nextflow/nextflow lint $$file || { echo "lint: a warning or an error in $$file"; exit 1; }; done

bench:   ## Measure speed and memory.
	$(in_env) python -m pytest -s tests/bench/bench_*.py

bench-accuracy: ## Measure accuracy on real data (hours); numbers go to tests/bench/results/.
	$(in_env) python -m pytest -s tests/bench/accuracy_*.py

docs:    ## Write docs/parameters.md from nextflow_schema.json.
	$(in_env) python docs/write_parameters.py

clean:   ## Remove work/, results/ and Nextflow's records of past runs.
	rm -rf work results .nextflow .nextflow.log*
