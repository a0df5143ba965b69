#!/usr/bin/env bash
# A pool loses its master and gets everything back that can run: `make demo`, or bash docs/demo.sh with xenrec in PATH.
#
# Everything is real but the pool: commands as you would type them, HTTPS to a simulated pool on loopback addresses, a
# fence agent that switches simulated power. It checks what it claims, and ends with 1 if anything is untrue.
set -uo pipefail

say() { printf '\n# %s\n' "$@"; }
fail() {
    printf '\nTHE DEMO FAILED: %s\n' "$*" >&2
    exit 1
}

command -v xenrec >/dev/null || fail "xenrec is not in PATH; type: make demo"
python=$(dirname "$(command -v xenrec)")/python
[ -x "$python" ] || python=python3

work=$(mktemp -d "${TMPDIR:-/tmp}/xenrec-demo.XXXXXX") || fail "no temporary directory"
clean_up() {
    trap - EXIT INT TERM HUP
    [ -e "$work/.lab/lab.json" ] && (cd "$work" && xenrec lab down >/dev/null 2>&1)
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$work" || exit 1
# Nothing of the demo is kept, and nothing of yours is used.
unset XENREC_LAB_DIR
export XENREC_STATE_DIR=$work/state

# run EXPECTED-EXIT COMMAND...: show it as typed, then what it says; both go on to the file `said`.
run() {
    local expected=$1 code
    shift
    printf '\n$ %s\n' "$*"
    "$@"
    code=$?
    [ "$code" = "$expected" ] || fail "'$*' ended with exit code $code, not $expected"
}

manifest=.lab/manifest.yaml

say "A pool of 4 hosts and 24 VMs, with shared and local storage, on loopback addresses of this machine." \
    "--fast: its toolstacks restart in seconds, not in minutes."
for net in 10 20 40 50 60; do
    start=(xenrec lab up --fast --hosts 4 --vms 24)
    [ "$net" = 10 ] || start+=(--address "127.0.$net.11")
    printf '\n$ %s\n' "${start[*]}"
    "${start[@]}" && break
    [ "$net" != 60 ] || fail "no lab can be started here"
    say "Not there (are the addresses in use?): others, then."
done

say "Is the pool as its manifest declares it?"
run 0 xenrec plan $manifest

say "3 a.m.: the pool master loses power."
run 0 xenrec lab power off xen01

say "What is wrong? The others still answer, but hang on a master that is gone." \
    "Exit code 3 from here on: one VM can't be brought back, and it is named."
run 3 xenrec status $manifest

say "What would be done, and why? Nothing is changed by a plan (--out keeps it, for the check at the end of this demo)."
run 3 xenrec plan $manifest --out night.plan
"$python" - night.plan <<'PYTHON' || fail "the plan is not the one for a dead master"
import json, sys
plan = json.load(open(sys.argv[1]))["plan"]
verbs = [a["verb"] for s in plan["stages"] for a in s["actions"]]
sys.exit(not ({"fence", "promote", "recover-members", "declare-dead", "start"} <= set(verbs)))
PYTHON

say "Do it. First the proof that the old master is off, then a new master, then the VMs."
run 3 xenrec apply $manifest --yes

say "Exit code 3 again: all that can run runs; what can't is named above, with its reason." \
    "Which VM really runs where, whatever any database says?"
run 0 xenrec lab running

say "Did anything happen that must never happen?"
run 0 xenrec lab harm

say "What is left to do? No action: only the VM whose disk is inside the dead host."
run 3 xenrec plan $manifest --out left.plan

xenrec lab running --json >running.json || fail "the lab does not say what runs"
"$python" - $manifest running.json left.plan <<'PYTHON' || fail "see above"
import collections, json, sys
import yaml

manifest = yaml.safe_load(open(sys.argv[1]))
domains = json.load(open(sys.argv[2]))
plan = json.load(open(sys.argv[3]))["plan"]
places = collections.defaultdict(list)
for host, found in domains.items():
    for domain in found:
        places[domain["name"]].append(host)
wanted = {vm["name"] for vm in manifest["spec"]["virtualMachines"] if vm["state"] == "running"}
unmet = {item["target"]["name"]: item["why"] for item in plan["unmet"]}
problems = [f"{name} runs {len(hosts)} times: {hosts}" for name, hosts in places.items() if len(hosts) != 1]
problems += [f"{name} does not run, and no reason is given" for name in wanted - set(places) - set(unmet)]
problems += [f"{name} is said to be impossible, but it runs" for name in set(unmet) & set(places)]
problems += [f"{name} runs, and nobody wants it to" for name in set(places) - wanted]
problems += [f"action left: {a['verb']} {a['target']['name']}" for s in plan["stages"] for a in s["actions"]]
problems += [f"withheld: {w['action']['verb']} {w['action']['target']['name']}" for w in plan["withheld"]]
if plan["diagnosis"]["master"] in (None, "xen01"):
    problems.append("there is no new master")
if "xen01" not in domains or domains["xen01"]:
    problems.append("something runs on the dead host")
if not unmet or not all("xen01" in why for why in unmet.values()):
    problems.append(f"not the expected impossible wishes: {unmet}")
for problem in problems:
    print("UNTRUE:", problem)
if problems:
    sys.exit(1)
print(f"\n# Checked: of {len(wanted)} VMs that should run {len(wanted & set(places))} run, each exactly once; no action is left.")
for name, why in sorted(unmet.items()):
    print(f"# {name} can't run: {why}.")
PYTHON

run 0 xenrec lab down
say "That was all. It ran in $SECONDS s and left nothing behind."
