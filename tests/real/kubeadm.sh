#!/bin/bash
# The daemon upgrades a real kubeadm cluster, one control plane node and two workers, while a Service of it is asked five times a second.
# Linux, as root; about ten minutes after the binaries are there.
#   kubeadm.sh [--kill9 SECONDS]             everything, in a folder of its own that goes away if all is well
#   kubeadm.sh up WORK                       the cluster, the next version on its nodes, the workload and the repository; then by hand:
#   kubeadm.sh run WORK [--kill9 SECONDS]    the daemon until it is idle, and what has to be true afterwards
#   kubeadm.sh down WORK
# WINDLASS names the daemon (else it is built); WINDLASS_KUBERNETES is where Kubernetes' binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

FROM=v1.35.4 TO=v1.36.3

main() {
	case ${1:-} in
	up) up "$2" ;;
	run)
		enter "$2"
		shift 2
		run "$@"
		;;
	down) ./nodes.sh down "$2" ;;
	'' | --*) everything "$@" ;;
	*) die "usage: $0 [--kill9 SECONDS] | up WORK | run WORK [--kill9 SECONDS] | down WORK" ;;
	esac
}

everything() {
	local folder status=0
	folder=$(mktemp -d)
	# shellcheck disable=SC2064  # the folder of now
	trap "./nodes.sh down '$folder'" EXIT
	up "$folder"
	enter "$folder"
	run "$@" || status=$?
	./nodes.sh down "$folder"
	trap - EXIT
	if [ "$status" = 0 ]; then rm -rf "$folder"; else say "kept: $folder"; fi
	return "$status"
}

enter() {
	work=$(cd "$1" && pwd)
	mkdir -p "$work/log"
	export KUBECONFIG=$work/kubeconfig
	PATH=$(cd "$KUBERNETES/$TO/bin" && pwd):$PATH
}

# ---- the cluster

up() {
	need jq git curl
	mkdir -p "$1"
	CONTEXT=real ./nodes.sh up "$1" $FROM 3
	./nodes.sh stage "$1" $TO
	enter "$1"
	workload | kubectl apply -f - >/dev/null
	kubectl --namespace shop rollout status deployment/web --timeout=120s >&2
	repository
	watch budgets
	say "ready: three nodes of $FROM in $work"
}

# A web server that goes the way a good one does: it says that it is going, is asked no more, and then goes.
workload() {
	cat <<-YAML
		apiVersion: v1
		kind: Namespace
		metadata: {name: shop}
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: web, namespace: shop}
		spec:
		  replicas: 3
		  selector: {matchLabels: {app: web}}
		  template:
		    metadata: {labels: {app: web}}
		    spec:
		      terminationGracePeriodSeconds: 8
		      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}]
		      containers:
		        - name: web
		          image: docker.io/library/busybox:test
		          command: [httpd, -f, -p, "8080", -h, /www]
		          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
		          lifecycle: {preStop: {exec: {command: [sleep, "6"]}}}
		---
		apiVersion: policy/v1
		kind: PodDisruptionBudget
		metadata: {name: web, namespace: shop}
		spec: {selector: {matchLabels: {app: web}}, minAvailable: 2}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: web, namespace: shop}
		spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
	YAML
}

repository() {
	mkdir -p "$work/desired/desired-state/real" "$work/desired/policies"
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
		    provider: kubeadm
		    kubeadm:
		      from: /opt/kubernetes/{version}
		      image: docker.io/library/busybox:test
		      ignorePreflightErrors: [SystemVerification]
		  etcd:
		    unproven: a cluster made for this test, and thrown away after it
		  nodePools:
		    - name: workers
		      selector: {matchLabels: {kubernetes.io/os: linux}}
		      maxUnavailable: 1
		      canary: 1
		      soak: 5s
	YAML
	cat >"$work/desired/policies/always.yaml" <<-YAML
		apiVersion: windlass.dev/v1alpha1
		kind: MaintenanceWindow
		metadata: {name: always}
		spec:
		  clusters: {}
		  timeZone: UTC
		  opens: always
	YAML
	commit_desired "$work" "real: to $TO"
}

# ---- the run

run() {
	local windlass
	windlass=$(windlass_binary)
	say "the daemon is $windlass, its log is $work/daemon.log"
	rm -f "$work/probes"
	probe_service
	case ${1:-} in
	'') until_idle "$windlass" ;;
	--kill9) until_idle "$windlass" "$2" ;;
	*) die "no such mode: $1" ;;
	esac
	# What came last has its effects, too: the addons and the pods of the last node.
	sleep 10
	kill -- "-$probe"
	verify
	rest "$windlass"
	summary
}

# Nobody holds anything here: it has to be as desired.
finished() { false; }

# From node1, through its kube-proxy, a new connection each time: one line a request. Leaves its process in $probe.
probe_service() {
	local address
	address=$(kubectl --namespace shop get service web --output 'jsonpath={.spec.clusterIP}')
	# kube-proxy follows the endpoints a moment later; what fails before anything was done says nothing about what is done.
	within 60 ./nodes.sh in "$work" node1 curl --silent --fail --output /dev/null --max-time 5 "http://$address/" ||
		die "the Service does not answer before the upgrade"
	# shellcheck disable=SC2016  # expanded inside the node
	setsid ./nodes.sh in "$work" node1 bash -c 'while :; do
		code=$(curl --silent --output /dev/null --max-time 5 --write-out "%{http_code}" "http://$1/") || true
		echo "$(date +%T) $code"
		sleep 0.2
	done' probe "$address" >"$work/probes" 2>/dev/null </dev/null &
	probe=$!
	started $probe
}

# ---- what has to be true

verify() {
	local nodes pods
	nodes=$(kubectl get nodes -o json)
	check "every kubelet runs $TO" same "node1 $TO node2 $TO node3 $TO" "$(jq -r '[.items[] | .metadata.name, .status.nodeInfo.kubeletVersion] | join(" ")' <<<"$nodes")"
	check "the API server runs $TO" same $TO "$(kubectl get --raw /version | jq -r .gitVersion)"
	check "kubeadm's own record says $TO" same "kubernetesVersion: $TO" "$(kubectl --namespace kube-system get configmap kubeadm-config -o json | jq -r .data.ClusterConfiguration | grep ^kubernetesVersion)"
	check "every node is Ready" kubectl wait --for=condition=Ready node --all --timeout=60s
	check "no node is cordoned" same "" "$(jq -r '.items[] | select(.spec.unschedulable) | .metadata.name' <<<"$nodes")"
	check "no claim is left" same "" "$(jq -r '.items[] | select(.metadata.annotations["windlass.dev/claim"]) | .metadata.name' <<<"$nodes")"
	pods=$(kubectl --namespace kube-system get pods -o json)
	check "kube-proxy and the servers run $TO" same $TO "$(jq -r '.items[].spec.containers[].image | select(test("/kube-")) | split(":")[1]' <<<"$pods" | sort -u)"
	check "the system's pods are Ready" kubectl --namespace kube-system wait --for=condition=Ready pod --all --timeout=60s
	check "the budget was never breached ($(wc -l <"$work/budgets") looks)" same "" "$(awk '$3 > 0 && $5 < $4' "$work/budgets")"
	check "the Service answered all along ($(wc -l <"$work/probes") requests)" same "" "$(grep -v ' 200$' "$work/probes" | sort | uniq -c)"
	check "it was asked at all" test "$(wc -l <"$work/probes")" -gt 300
	jobs_of_the_run
}

# Told, not judged: a Job may fail where its node did well.
jobs_of_the_run() {
	kubectl --namespace windlass-system get jobs --label-columns windlass.dev/node,windlass.dev/component >&2 || true
}

# At rest the daemon writes nothing to git; what it writes to the cluster is looked at on the other control plane, by its audit.
rest() { # WINDLASS
	local tip code=0
	tip=$(git_alone -C "$work/repository.git" rev-parse --verify --quiet windlass/status || true)
	daemon "$1"
	within 60 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "started again it is idle at once" idle "$code"
	check "at rest it writes nothing to git" same "$tip" "$(git_alone -C "$work/repository.git" rev-parse --verify --quiet windlass/status || true)"
}

main "$@"
