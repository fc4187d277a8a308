# `make help` lists the targets. Each installs what it needs, the right Node.js included.

export PATH := $(CURDIR)/.tools/node_modules/.bin:$(CURDIR)/node_modules/.bin:$(CURDIR)/.tools/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run logs mail test test-containers test-faults test-security check audit sbom generate clean install bench

run: install ## start engines and services in the foreground until Ctrl-C; takes KAFKA=off GATEWAYS=2 USER_SVCS= SESSION_SVCS= LOG_SINKS=
	@exec sh stack/run.sh --from-make

# Standard output has only log lines: the installation writes to standard error.
logs: ## show the logs of all services, merged by time; takes TRACE=<trace id> SERVICE= LEVEL= SINCE=2h FOLLOW=1
	@sh stack/install.sh >&2
	@exec node stack/logs.ts --from-make

mail: ## show the newest email of make run, its link first
	@sh stack/install.sh >&2
	@exec node stack/mail.ts --from-make

test: install ## run all checks and tests; FILES=path/to/one.test.ts runs some, PAGE=1 writes docs/reference/field-cases.md
	@exec node test/run.ts $(if $(PAGE),--page) $(FILES)

test-containers: install ## test make run and compose.yaml on a separate Docker daemon; Linux, as root; takes FILES=
	@exec node test/containers/run.ts $(FILES)

test-faults: install ## inject random faults under load, check linearizability; takes SECONDS=600 SEED=<number> OPERATIONS=100000; PAGE=1 writes docs/reference/faults.md
	@exec node test/faults/run.ts --seconds=$(SECONDS) --seed=$(SEED) --operations=$(OPERATIONS) $(if $(PAGE),--page)

test-security: install ## run the long forms of the security tests; takes PARTS=schemathesis,timing SAMPLES=10000 CONDITIONS=alone,loaded
	@exec node test/security/run.ts $(if $(PARTS),--parts=$(PARTS)) $(if $(SAMPLES),--samples=$(SAMPLES)) $(if $(CONDITIONS),--conditions=$(CONDITIONS))

bench: install ## measure the product against its own limits; takes QUICK=1 (a minute) ROWS=logins,sessions
	@exec node bench/run.ts $(if $(QUICK),--quick) $(if $(ROWS),--rows=$(ROWS))

check: install ## lint, types, format and stale generated code, without the tests
	@exec node test/run.ts --checks-only

audit: install ## ask the registry of npm for advisories of the packages in every lockfile
	@sh supply-chain/audit.sh

sbom: install ## write the bill of materials of a release to sbom.cdx.json (CycloneDX)
	@node supply-chain/sbom.ts

generate: install ## lint, format and compare the contracts, write gen/ and the generated pages of docs/reference/
	@sh stack/generate.sh

clean: ## remove installed and generated files; keep the data in .data/
	@rm -rf node_modules .tools .tap coverage .data/test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install:
	@sh stack/install.sh
