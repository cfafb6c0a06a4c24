#!/bin/bash
# Runs beside a run, each as a process of its own, until it is ended:
#   watch.sh kubelets WORK   does for KWOK's nodes what a Job of the daemon does for real ones: when a kubelet Job is complete,
#                                 its node reports the version that the Job was for. KWOK goes on renewing the node's lease.
#   watch.sh budgets WORK    one line for each change of a disruption budget: namespace, name, expected, desired, current
#   watch.sh nodes WORK      one line for each change of a node: name, pool, zone, unschedulable
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

kubelets() {
	local name node target complete patch
	forever get jobs --namespace windlass-system --selector windlass.dev/component=kubelet --output custom-columns='NAME:.metadata.name,NODE:.metadata.labels.windlass\.dev/node,TARGET:.metadata.labels.windlass\.dev/target-version,COMPLETE:.status.succeeded' |
		while read -r name node target complete; do
			[ "$complete" = 1 ] || continue
			grep -qsx "$name" "$work/jobs-done" && continue
			echo "$name" >>"$work/jobs-done"
			# A kubelet takes a moment to come up and say so.
			sleep 1
			patch='{"status": {"nodeInfo": {"kubeletVersion": "'$target'"}}}'
			kubectl patch node "$node" --subresource status --type merge --patch "$patch"
		done
}

case $1 in
kubelets) kubelets ;;
budgets) forever get poddisruptionbudgets --all-namespaces --output custom-columns='NAMESPACE:.metadata.namespace,NAME:.metadata.name,EXPECTED:.status.expectedPods,DESIRED:.status.desiredHealthy,CURRENT:.status.currentHealthy' >>"$work/budgets" ;;
nodes) forever get nodes --output custom-columns='NAME:.metadata.name,POOL:.metadata.labels.pool,ZONE:.metadata.labels.topology\.kubernetes\.io/zone,OUT:.spec.unschedulable' >>"$work/nodes" ;;
esac
