#!/bin/bash
# Runs beside a run, each as a process of its own, until it is ended:
#   watch.sh kubelets WORK [SECONDS]  does for KWOK's nodes what a Job of the daemon does for real ones: when a kubelet Job is
#                            complete, its node reports the version that the Job was for, so many seconds later (1). KWOK goes on
#                            renewing the node's lease.
#   watch.sh budgets WORK    one line for each change of a disruption budget: namespace, name, expected, desired, current
#   watch.sh deployments WORK one line for each change of a Deployment of shop: name, Ready pods, what its template says of the last rollout
#   watch.sh nodes WORK      one line for each change of a node: name, pool, zone, unschedulable
#   watch.sh service WORK    one line for each change of a node, with its time: name, unschedulable
#   watch.sh disruptions WORK one line for each change of a budget, with its time: namespace, name, expected, desired, current, allowed
# and, of nodes that `nodes.sh` made, each line with its time in seconds:
#   watch.sh system WORK     one line for each change of a pod of kube-system: its name, its image, Ready or not or gone
#   watch.sh kubeadm WORK    one line for each change of the set of control plane nodes on whose hosts kubeadm runs: their names
#   watch.sh member WORK NODE  one line for each change of an etcd member, asked on its own host: the node, and `quorum` if it reads
#                            with the others' consent, `alone` if it answers only for itself, `away` if it does not answer
set -uo pipefail
work=$2
export KUBECONFIG=$work/kubeconfig

# A watch ends now and then; it begins again with what is there.
forever() {
	while :; do
		kubectl "$@" --watch --no-headers
		sleep 0.2
	done
}

kubelets() { # SECONDS
	local name node target complete
	forever get jobs --namespace windlass-system --selector windlass.dev/component=kubelet --output custom-columns='NAME:.metadata.name,NODE:.metadata.labels.windlass\.dev/node,TARGET:.metadata.labels.windlass\.dev/target-version,COMPLETE:.status.succeeded' |
		while read -r name node target complete; do
			[ "$complete" = 1 ] || continue
			grep -qsx "$name" "$work/jobs-done" && continue
			echo "$name" >>"$work/jobs-done"
			report "$1" "$node" "$target" &
		done
}

# A kubelet takes a moment to come up and say so.
report() { # SECONDS NODE VERSION
	sleep "$1"
	kubectl patch node "$2" --subresource status --type merge --patch '{"status": {"nodeInfo": {"kubeletVersion": "'"$3"'"}}}'
}

# As JSON, because only there an event says that a pod is gone.
system() {
	forever get pods --namespace kube-system --output json --output-watch-events |
		jq --unbuffered --raw-output '[now, .object.metadata.name, .object.spec.containers[0].image, (
			if .type == "DELETED" then "gone"
			elif any(.object.status.conditions[]?; .type == "Ready" and .status == "True") then "Ready"
			else "not" end)] | join(" ")' >>"$work/system"
}

# The process table of this machine shows the processes of all nodes; its namespace tells where a process belongs.
kubeadm() {
	local each name last=none now
	declare -A node_of
	# shellcheck source=/dev/null
	. "$work/settings"
	for each in $(seq "$CONTROL_PLANES"); do
		now=$(readlink "/proc/$(cat "$work/nodes/node$each/process")/ns/pid")
		node_of[$now]=node$each
	done
	while :; do
		now=$(for each in /proc/[0-9]*; do
			if read -r name <"$each/comm" && [ "$name" = kubeadm ]; then
				name=$(readlink "$each/ns/pid") && echo "${node_of[$name]:-}"
			fi
		done 2>/dev/null | grep . | sort -u | paste -s -d ' ')
		[ "$now" = "$last" ] || echo "$EPOCHREALTIME $now" >>"$work/kubeadm"
		last=$now
		sleep 0.2
	done
}

# At the address that the kubelet's probes ask, which kubeadm opens on the host's loopback only.
member() { # NODE
	local process last=none now
	process=$(cat "$work/nodes/$1/process")
	while :; do
		if asks readyz; then now=quorum; elif asks livez; then now=alone; else now=away; fi
		[ "$now" = "$last" ] || echo "$EPOCHREALTIME $1 $now" >>"$work/members"
		last=$now
		sleep 0.3
	done
}
asks() { nsenter -t "$process" -n curl --silent --fail --output /dev/null --max-time 2 "http://127.0.0.1:2381/$1"; }

# Each line with the time at which it was read.
timed() {
	local line
	while IFS= read -r line; do echo "$EPOCHREALTIME $line"; done
}

case $1 in
service) forever get nodes --output custom-columns='NAME:.metadata.name,OUT:.spec.unschedulable' | timed >>"$work/service" ;;
disruptions) forever get poddisruptionbudgets --all-namespaces --output custom-columns='NAMESPACE:.metadata.namespace,NAME:.metadata.name,EXPECTED:.status.expectedPods,DESIRED:.status.desiredHealthy,CURRENT:.status.currentHealthy,ALLOWED:.status.disruptionsAllowed' | timed >>"$work/disruptions" ;;
kubelets) kubelets "${3:-1}" ;;
system) system ;;
kubeadm) kubeadm ;;
member) member "$3" ;;
budgets) forever get poddisruptionbudgets --all-namespaces --output custom-columns='NAMESPACE:.metadata.namespace,NAME:.metadata.name,EXPECTED:.status.expectedPods,DESIRED:.status.desiredHealthy,CURRENT:.status.currentHealthy' >>"$work/budgets" ;;
deployments) forever get deployments --namespace shop --output custom-columns='NAME:.metadata.name,READY:.status.readyReplicas,MOVED:.spec.template.metadata.annotations.windlass\.dev/moved' >>"$work/deployments" ;;
nodes) forever get nodes --output custom-columns='NAME:.metadata.name,POOL:.metadata.labels.pool,ZONE:.metadata.labels.topology\.kubernetes\.io/zone,OUT:.spec.unschedulable' >>"$work/nodes" ;;
esac
