# Everything that the project does from a fresh clone; see README.md. A Debian machine with Go, git and make is enough:
# as root, what else is needed is installed (eval/deps.sh lists it).

GO     ?= go
PKGS   ?= ./...
BIN    := bin/syspart
PREFIX ?= /usr/local
# Not from the cache: results depend on installed programs, on the kernel, and on packages that tests only list.
TESTED := -count 1 -timeout 40m

.PHONY: all build install test vet demo bench fuzz generate generate-check deps recall recall-table crash anybin speed others faults precision \
	surplus loading stay rewrite eval edges traced pgo clean

all: build

# A static program: no cgo, no paths of this machine in it.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $(BIN) ./cmd/syspart

# The program, its manual, and completion for shells, under DESTDIR and PREFIX.
install: build
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/syspart
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(BIN) completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/syspart
	$(BIN) completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_syspart
	$(BIN) completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/syspart.fish

# All tests. Ends with the list of skipped ones; as root on Debian a skip is a failure.
test: deps vet
	SYSPART_NO_SKIP=1 $(GO) run ./eval/gotest $(TESTED) $(PKGS)

vet:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet $(PKGS)

# nginx and redis-server profiled, then served from behind their filters, on loopback in temporary directories.
demo: deps build
	bash eval/demo.sh

# Time and precision side by side. Each once: the figures of interest are counts.
bench: deps build
	$(GO) test -run '^$$' -bench . -benchtime 1x ./bench/... ./internal/...

# Every fuzzer, for FUZZTIME each.
FUZZTIME ?= 10m
fuzz: deps
	bash eval/fuzz.sh $(FUZZTIME)

# No call that programs make is missing from what the analysis finds; no executable of the system makes it fail.
recall: deps build
	bash eval/recall.sh

crash: deps build
	bash eval/crash.sh

# What each level of the call graph leaves open for real servers, profiled under the oracle's loads.
precision: deps build
	@bash eval/deps.sh oracle
	bash eval/precision.sh

# Why each call is open that the servers were not seen to make: docs/surplus.md.
surplus: deps build
	@bash eval/deps.sh oracle
	@mkdir -p out
	@{ sed '/^### /,$$d' docs/surplus.md && SURPLUS=1 bash eval/precision.sh; } >out/surplus.md && mv out/surplus.md docs/surplus.md

# How the code that servers load at run time is found, and that it works behind the filters: the tables of docs/loading.md.
loading: deps build
	@bash eval/deps.sh oracle
	@mkdir -p out
	@{ sed '/^## The tables/q' docs/loading.md && echo && bash eval/loading.sh; } >out/loading.md && mv out/loading.md docs/loading.md

# docs/anybinary.md: any ELF file, no call missed, speed and growth, other servers, faults. Each takes long.
anybin: deps build
	@mkdir -p out
	@bash eval/anybin.sh >out/anybin.md; s=$$?; bash eval/section.sh docs/anybinary.md Files <out/anybin.md && exit $$s

recall-table: deps build
	@mkdir -p out
	@bash eval/recall.sh -min 400 >out/recall.txt; s=$$?; { echo '```'; sed -n '/^checked:/,$$p' out/recall.txt; echo '```'; } | bash eval/section.sh docs/anybinary.md Recall && exit $$s

speed: deps build
	@mkdir -p out
	@bash eval/speed.sh >out/speed.md; s=$$?; bash eval/section.sh docs/anybinary.md 'Speed and growth' <out/speed.md && exit $$s

others: deps build
	@mkdir -p out
	@bash eval/others.sh >out/others.md; s=$$?; bash eval/section.sh docs/anybinary.md 'Other servers' <out/others.md && exit $$s

faults: deps build
	@mkdir -p out
	@bash eval/faults.sh >out/faults.md; s=$$?; bash eval/section.sh docs/anybinary.md Faults <out/faults.md && exit $$s

# The paper's tables with our figures: docs/evaluation.md. What an earlier run has left in out/eval is kept; SKIP="levels forms"
# leaves out what needs the network.
eval: deps build
	@bash eval/deps.sh oracle
	@mkdir -p out
	@{ sed '/^## /,$$d' docs/evaluation.md && bash eval/eval.sh; } >out/evaluation.md && mv out/evaluation.md docs/evaluation.md
	@cp out/eval/plots/*.svg docs/

# What carries which filter and whether anything of syspart stays: the table of docs/enforcement.md.
stay: deps build
	@bash eval/deps.sh oracle
	@mkdir -p out
	@{ sed '/^## What carries what/q' docs/enforcement.md && sed -n '/^## What carries what/,/^| driver/{/^## What/d;/^| driver/d;p}' docs/enforcement.md && bash eval/stay.sh; } >out/enforcement.md && mv out/enforcement.md docs/enforcement.md

# Programs of the system with a new segment behave as before.
rewrite: deps
	bash eval/rewrite.sh

# Every call through a pointer that was seen in real servers is in the call graph, at every level.
edges: deps build
	@bash eval/deps.sh oracle
	bash eval/edges.sh

# So it is for programs of the system.
traced: deps build
	@bash eval/deps.sh oracle
	bash eval/traced.sh

generate:
	$(GO) generate $(PKGS)

# By what the compiler lays the program out: cold analyses of servers.
pgo: deps
	@d=$$(mktemp -d) && trap 'rm -rf "$$d"' EXIT && $(GO) build -trimpath -buildvcs=false -o $$d/hot ./eval/hot && \
	PATH=$$PATH:/usr/sbin $$d/hot cmd/syspart/default.pgo nginx redis-server lighttpd apache2 memcached named

# Generated files are what their generators write.
generate-check:
	@before=$$(git ls-files -z | xargs -0 sha256sum 2>/dev/null); $(GO) generate $(PKGS); \
	after=$$(git ls-files -z | xargs -0 sha256sum 2>/dev/null); \
	[ "$$before" = "$$after" ] || { echo "not up to date; run make generate and commit:"; printf '%s\n%s\n' "$$before" "$$after" | sort | uniq -u | awk '{print $$2}' | sort -u; exit 1; }

deps:
	@bash eval/deps.sh

clean:
	rm -rf bin out
