//! What `--help` teaches by example, one block a command.

macro_rules! examples {
    ($($name:ident: $text:literal)*) => {
        $(pub(crate) const $name: &str = concat!("Examples:\n", $text);)*
    };
}

examples! {
DEMO: "  ebb demo                          300 tasks over files of this machine, in about a minute
  ebb demo ~/src --tasks 2000       over a folder of yours
  ebb demo --seed 7 --keep          other weather; it stays until Ctrl-C"

UP: "  ebb up                            until Ctrl-C; elsewhere: ebb run -- echo hello
  ebb up --data-dir ./data --listen 127.0.0.1:9000
  ebb up --database postgres://ebb@localhost/ebb"

MANAGER: "  ebb manager                       workers join it: ebb token create --join
  ebb manager --cloud market        machines are bought on the simulated cloud
  ebb manager --listen 10.0.0.1:7878 --database postgres://ebb@db/ebb"

WORKER: "  ebb worker                        joins the manager that runs here
  EBB_JOIN_TOKEN=ebbj_… ebb worker --manager http://10.0.0.1:7878 --name rack-3
  ebb worker --manager http://10.0.0.1:7878 --join-token-file token --cpu 4"

RUN: "  ebb run -- echo hello
  ebb run --cpu 2 --memory 1GiB -- make -j2
  ls *.gz | ebb run --each-line - -- sh -c 'gzip -t \"$EBB_ITEM\"'
  ebb run --label team=render -- ./frame.sh"

SUBMIT: "  ebb submit job.toml               prints the job's id; then: ebb wait last
  ebb submit job.toml --wait        exit 1 unless it succeeded
  ebb submit jobs.ndjson            many jobs, one a line
  ebb submit nightly.yaml --idempotency-key nightly-2026-01-31"

PLAN: "  ebb plan job.toml                 price, time, and the chance to meet its deadline
  ebb plan job.toml --output json"

EXPORT: "  ebb export --to-file week.json    the last week
  ebb export --from 36h --to-file export.json
  ebb simulate --from-export week.json --policy all"

STATUS: "  ebb status                        is all well?
  ebb status --watch
  ebb status last                   one job
  ebb status last.0.17              task 17 of its group 0, with its attempts
  ebb status team=render --output json"

WAIT: "  ebb wait last
  ebb wait team=render --timeout 10m
  ebb wait job_0d40b2 && ebb outputs job_0d40b2 --to results"

STOP: "  ebb stop last                     the whole job
  ebb stop last.0.17                one task
  ebb stop team=render              every job with that label"

RETRY: "  ebb retry last                    its failed tasks
  ebb retry last --all              those that were cancelled, too
  ebb retry team=render --failed && ebb wait team=render"

LOGS: "  ebb logs last                     what its tasks wrote, by index
  ebb logs last --stdout > results
  ebb logs last.0.17 --follow
  ebb logs last.0.17 --stderr --attempt 1"

OUTPUTS: "  ebb outputs last                  lists the files
  ebb outputs last --to results     downloads them; again, what is missing
  ebb outputs last.0.17 --to results"

EXPLAIN: "  ebb explain last                  why a job waits
  ebb explain last.0.17             why a task waits, or runs where it runs
  ebb explain local                 why a node is kept; by name or id"

NODES: "  ebb nodes
  ebb nodes --all                   those that are gone, too"

DRAIN: "  ebb drain local                   by name
  ebb drain node_0d40b2             by the beginning of its id"

UNDRAIN: "  ebb undrain local"

COST: "  ebb cost
  ebb cost --output json            exact, in micro-dollars"

SIMULATE: "  ebb simulate generate market --to market.json
  ebb simulate generate jobs --to jobs.json
  ebb simulate --market market.json --jobs jobs.json
  ebb simulate --market m.json --jobs j.json --policy all --html report.html
  ebb simulate --batch cases.jsonl --policy greedy,ebbtide --to results.jsonl
  gunzip -c cases.gz | ebb simulate --batch - --output json > results.jsonl"

SIMULATE_IMPORT: "  ebb simulate import openb pods.csv.gz --select cpu-only --to jobs.json
  ebb simulate import spot-traces us-west-2a_v100_1.json \\
    --polarity one-is-available --to market.json
  ebb simulate import cant-be-late samples.json.gz --polarity one-is-preempted \\
    --jobs jobs.json --to cases.jsonl
  ebb simulate import catalog types.csv prices.csv advisor.json.gz --only c5,m5"

SIMULATE_GENERATE_MARKET: "  ebb simulate generate market --to market.json
  ebb simulate generate market --seed 7 --length 30days --availability 90
  ebb simulate generate market --zones eu-west-1a,eu-west-1b \\
    --type c5.large=2:4GiB@0.096 --to eu.json"

SIMULATE_GENERATE_JOBS: "  ebb simulate generate jobs --to jobs.json
  ebb simulate generate jobs --count 1 --arrivals at-once --mean-work 2days \\
    --lengths equal --size 8:61GiB:1 --deadlines 100 --slack 1.25-1.25
  ebb simulate generate jobs --count 100000 --span 30days --arrivals diurnal"

DOCTOR: "  ebb doctor
  ebb doctor --url http://10.0.0.1:7878
  ebb doctor --output json          exit 0 when nothing fails"

TOKEN_CREATE: "  ebb token create --name laptop            for a user; put it into EBB_TOKEN there
  ebb token create --join --uses 3 > token  for three workers
  ebb token create --name ci --expires 24h"

TOKEN_LIST: "  ebb token list"

TOKEN_REVOKE: "  ebb token revoke 1867eb418a849be1  its id is in: ebb token list"

COMPLETIONS: "  ebb completions bash > ~/.local/share/bash-completion/completions/ebb
  ebb completions zsh > ~/.zfunc/_ebb
  ebb completions fish > ~/.config/fish/completions/ebb.fish"
}
