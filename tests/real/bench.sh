#!/bin/bash
# How long an upgrade of workers takes, and how gentle it is: Windlass, kubectl drain for as many nodes at once, and a serial script,
# one after the other on the same real API server with KWOK nodes. No root. About seven minutes for 30 nodes without the serial script.
#   bench.sh [--nodes N] [--at-once K] [--ways 'windlass parallel serial'] [--keep]
# Without --nodes: 30 nodes with 4 at once in all three ways, then 100 nodes with 10 at once in the first two.
# Each node has 20 pods: of owners with budgets of one, of owners with budgets of 20 %, and of owners without one. A pod takes 1 to 7 s
# to end and 2 to 20 s to be Ready. What is done on a node takes the same time in every way: a Job of about 4 s.
# WINDLASS names the daemon (else it is built, optimised); WINDLASS_KUBERNETES is where Kubernetes' binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

FROM=v1.35.4 TO=v1.36.3
# Pods per node, and how long the scripts work on an empty node: as long as a Job needs from its creation to its node's report.
PODS=20 ON_NODE=4

main() {
	local nodes='' at_once='' ways='' keep=
	while [ $# -gt 0 ]; do
		case $1 in
		--nodes) nodes=$2 && shift ;;
		--at-once) at_once=$2 && shift ;;
		--ways) ways=$2 && shift ;;
		--keep) keep=yes ;;
		*) die "usage: $0 [--nodes N] [--at-once K] [--ways 'windlass parallel serial'] [--keep]" ;;
		esac
		shift
	done
	command -v go >/dev/null || [ -x "$KUBERNETES/$TO/bin/kube-apiserver" ] ||
		die "this benchmark needs a real API server: install Go, and tests/real/binaries.sh builds one"
	need jq git openssl
	WINDLASS=$(optimised)
	results=$(mktemp)
	if [ -n "$nodes" ]; then
		all "$nodes" "${at_once:-4}" "${ways:-windlass parallel}" "$keep"
	else
		all 30 4 "${ways:-windlass parallel serial}" "$keep"
		all 100 10 "${ways:-windlass parallel}" "$keep"
	fi
	table
	rm -f "$results"
}

# The daemon as people run it, not as tests do.
optimised() {
	local root
	if [ -n "${WINDLASS:-}" ]; then
		windlass_binary
		return
	fi
	root=$(cd ../.. && pwd)
	(cd "$root" && cargo build --quiet --release) >&2 || die "the daemon does not build"
	echo "${CARGO_TARGET_DIR:-$root/target}/release/windlass"
}

all() { # NODES AT_ONCE WAYS KEEP
	local way folder
	for way in $3; do
		folder=$(mktemp -d)
		# shellcheck disable=SC2064  # the folder of now
		trap "./controlplane.sh down '$folder'" EXIT
		up "$folder" "$1" "$2"
		measure "$way" "$1" "$2"
		./controlplane.sh down "$folder"
		trap - EXIT
		if [ -z "$4" ]; then rm -rf "$folder"; else say "kept: $folder"; fi
	done
}

# ---- the cluster

up() { # WORK NODES AT_ONCE
	local each
	CONTEXT=real STAGES=bench ./controlplane.sh up "$1" $TO
	daemon_kubeconfig=daemon.kubeconfig
	work=$(cd "$1" && pwd)
	export KUBECONFIG=$work/kubeconfig
	PATH=$(cd "$KUBERNETES/$TO/bin" && pwd):$PATH
	workers "$2" | kubectl apply -f - >/dev/null
	kubectl create namespace shop >/dev/null
	workloads "$2" | kubectl apply -f - >/dev/null
	within 300 whole "$2" || die "the pods do not come up: $work"
	repository "$2" "$3"
	watch kubelets 0
	for each in service disruptions; do watch "$each"; done
	sleep 2
	say "ready: $2 workers of $FROM with $(kubectl -n shop get pods --no-headers | wc -l) pods in $work"
}

workers() { # NODES
	local each
	for each in $(seq "$1"); do
		cat <<-YAML
			---
			apiVersion: v1
			kind: Node
			metadata:
			  name: w$each
			  labels: {kubernetes.io/hostname: w$each, kubernetes.io/os: linux, topology.kubernetes.io/zone: z$((each % 3)), pool: general}
			status:
			  capacity: {cpu: 64, memory: 256Gi, pods: 110}
			  allocatable: {cpu: 64, memory: 256Gi, pods: 110}
			  nodeInfo: {kubeletVersion: $FROM, architecture: amd64, operatingSystem: linux, bootID: "", containerRuntimeVersion: "", kernelVersion: "", kubeProxyVersion: "", machineID: "", osImage: "", systemUUID: ""}
		YAML
	done
}

# Of 600 pods 120 are of owners with a budget of one, 400 of owners with a budget of 20 %, and 80 of owners without a budget.
workloads() { # NODES
	local each share=$(($1 * PODS / 100))
	for each in $(seq $((share * 20 / 15))); do workload "one-$each" 15 $((2 + each * 5 % 11)) $((1 + each % 2)) 'maxUnavailable: 1'; done
	for each in $(seq $((share * 66 / 20))); do workload "fifth-$each" 20 $((2 + each * 7 % 19)) $((1 + each * 3 % 7)) 'maxUnavailable: 20%'; done
	for each in $(seq $((share * 14 / 10))); do workload "free-$each" 10 $((2 + each * 7 % 19)) $((1 + each * 3 % 7)) ''; done
}

workload() { # NAME REPLICAS READY END BUDGET
	cat <<-YAML
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $1, namespace: shop}
		spec:
		  replicas: $2
		  selector: {matchLabels: {app: $1}}
		  template:
		    metadata: {labels: {app: $1}, annotations: {bench/ready: $3s, bench/end: $4s}}
		    spec:
		      terminationGracePeriodSeconds: $4
		      containers: [{name: main, image: example.com/$1, resources: {requests: {cpu: 500m, memory: 1Gi}}}]
	YAML
	[ -z "$5" ] || cat <<-YAML
		---
		apiVersion: policy/v1
		kind: PodDisruptionBudget
		metadata: {name: $1, namespace: shop}
		spec: {selector: {matchLabels: {app: $1}}, $5}
	YAML
}

whole() { # NODES
	kubectl -n shop get pods -o json | jq -e '[.items[] | any(.status.conditions[]?; .type == "Ready" and .status == "True")] | length > 0 and all' &&
		kubectl -n shop get pdb -o json | jq -e '[.items[] | .status.expectedPods > 0 and .status.currentHealthy >= .status.expectedPods] | all'
}

repository() { # NODES AT_ONCE
	mkdir -p "$work/desired/desired-state/real"
	cat >"$work/desired/desired-state/real/cluster.yaml" <<-YAML
		apiVersion: windlass.dev/v1alpha1
		kind: Cluster
		metadata:
		  name: real
		spec:
		  mode: act
		  kubernetes:
		    version: $TO
		  controlPlane:
		    provider: external
		    kubeadm: {image: "example.com/upgrade:test"}
		  nodePools:
		    - {name: general, selector: {matchLabels: {pool: general}}, provider: kubeadm, canary: 0, maxUnavailable: $2}
	YAML
	always_open
	commit_desired "$work" "real: workers to $TO"
}

# ---- the ways

windlass() { # NODES AT_ONCE
	local peak=0 now code=0
	daemon "$WINDLASS"
	while ! gone "$process"; do
		now=$(awk '/VmHWM/ {print $2}' "/proc/$process/status" 2>/dev/null || true)
		[ "${now:-0}" -le "$peak" ] || peak=$now
		sleep 1
	done
	wait "$process" || code=$?
	[ "$code" = 0 ] || die "the daemon ended with $code: $work/daemon.log"
	echo "$peak" >"$work/peak"
}

parallel() { scripted "$1" "$2"; }
serial() { scripted "$1" 1; }

# What people run: a node is drained, worked on and uncordoned, as many at once as xargs starts. Nothing is verified.
scripted() { # NODES AT_ONCE
	local ended=$work/ended
	cat >"$work/node.sh" <<-SH
		kubectl drain "\$1" --ignore-daemonsets --delete-emptydir-data >>"$work/log/drain-\$1" 2>&1 || exit 255
		sleep $ON_NODE
		kubectl patch node "\$1" --subresource status --type merge --patch '{"status": {"nodeInfo": {"kubeletVersion": "$TO"}}}' >/dev/null
		kubectl uncordon "\$1" >/dev/null
	SH
	(
		seq -f w%.0f "$1" | xargs -n 1 -P "$2" bash "$work/node.sh" || die "a drain failed: $work/log"
		touch "$ended"
	) &
	local peak=0 now
	while [ ! -e "$ended" ] && ! gone $!; do
		now=$(memory_of_drains)
		[ "$now" -le "$peak" ] || peak=$now
		sleep 1
	done
	wait $!
	echo "$peak" >"$work/peak"
}

# Of its own drains only: their kubeconfig is in this folder.
memory_of_drains() {
	local each sum=0 own
	for each in $(pgrep -x kubectl || true); do
		grep -qz "KUBECONFIG=$KUBECONFIG" "/proc/$each/environ" 2>/dev/null || continue
		grep -qz '^drain$' "/proc/$each/cmdline" 2>/dev/null || continue
		own=$(awk '/VmRSS/ {print $2}' "/proc/$each/status" 2>/dev/null || true)
		sum=$((sum + ${own:-0}))
	done
	echo "$sum"
}

# ---- what is measured

requests() { kubectl get --raw /metrics | awk -F'[{}]' '/^apiserver_request_total/ {split($3, value, " "); match($2, /verb="[A-Z]+"/); sum[substr($2, RSTART + 6, RLENGTH - 7)] += value[1]} END {for (verb in sum) print verb, sum[verb]}' | sort; }

measure() { # WAY NODES AT_ONCE
	local began ended bound=-
	requests >"$work/requests-before"
	"$1" "$2" "$3"
	[ "$1" != windlass ] || bound=$(bound)
	requests >"$work/requests-after"
	kubectl get nodes -o json | jq -e --arg to $TO '[.items[] | .status.nodeInfo.kubeletVersion == $to and (.spec.unschedulable | not)] | all' >/dev/null ||
		die "not every node is upgraded and in service: $work"
	# From the first cordon to the last node that came back: the daemon asks a hosted control plane for two minutes first, and ends
	# after the last node.
	began=$(awk '$3 == "true" { print $1; exit }' "$work/service")
	ended=$(awk '{ if (out[$2] && $3 != "true") last = $1; out[$2] = $3 == "true" } END { print last }' "$work/service")
	jq -cn --arg way "$1" --argjson nodes "$2" --argjson atOnce "$3" --arg bound "$bound" \
		--argjson makespan "$(awk -v a="$began" -v b="$ended" 'BEGIN {printf "%.1f", b - a}')" \
		--argjson pods "$(kubectl -n shop get pods --no-headers | wc -l)" \
		--argjson accepted "$(evictions 201)" --argjson refused "$(evictions 429)" \
		--argjson peak "$(cat "$work/peak")" \
		--argjson breaches "$(awk '$6 < $5 {print $3}' "$work/disruptions" | wc -l)" \
		--argjson zero "$(awk -v a="$began" -v b="$ended" '
			{ if ($1 > a && $1 < b && ($3 in since) && allowed[$3] == 0) zero += $1 - (since[$3] > a ? since[$3] : a); since[$3] = $1; allowed[$3] = $7 }
			END { for (each in since) if (allowed[each] == 0 && since[each] < b) zero += b - (since[each] > a ? since[each] : a); printf "%.0f", zero }' "$work/disruptions")" \
		--argjson requests "$(join -a 2 -e 0 -o '0,1.2,2.2' "$work/requests-before" "$work/requests-after" | jq -Rn '[inputs | split(" ") | {(.[0]): ((.[2] | tonumber) - (.[1] | tonumber))}] | add')" \
		'$ARGS.named' | tee -a "$results"
}

# As the report of the run has it, with what a node took once it was empty: "… an empty node 15s to be back in service: 3m 50s: at most …".
bound() {
	local status=windlass/status report length
	report=$(git -C "$work/repository.git" ls-tree -r --name-only $status | grep 'report\.md$' | tail -1)
	git -C "$work/repository.git" show "$status:$report" | grep '^\* Workers, at the least' >"$work/bound"
	length=$(sed 's/.* to be back in service: \([0-9hms ]*\):.*/\1/; s/h/*3600+/; s/m/*60+/; s/s//; s/+ *$//' "$work/bound")
	echo $((length))
}

evictions() { jq -r --argjson code "$1" 'select(.objectRef.subresource == "eviction" and .responseStatus.code == $code) | 1' "$work/audit.log" | wc -l; }

table() {
	jq -rs '
		def per(n): if n > 0 then (. / n * 100 | round) / 100 else 0 end;
		"", "| nodes | at once | way | makespan | lower bound | evictions per pod | refused per pod | breaches | seconds that budgets stood at zero | peak memory | requests per pod |",
		"|---|---|---|---|---|---|---|---|---|---|---|",
		(.[] | . as $it | "| \(.nodes) | \(.atOnce) | \(.way) | \(.makespan) s | \(.bound) | \(.accepted | per($it.pods)) | \(.refused | per($it.pods)) | \(.breaches) | \(.zero) | \(.peak / 1024 | round) MiB | \(.requests | to_entries | map("\(.key) \(.value | per($it.pods))") | join(", ")) |")
	' "$results"
}

main "$@"
