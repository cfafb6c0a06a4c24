#!/bin/bash
# The daemon upgrades a real kubeadm cluster, $CONTROL_PLANES (1) control plane nodes and two workers, while two Services of it are asked
# five times a second. Linux, as root; after the binaries are there, about ten minutes with one control plane node.
#   kubeadm.sh [--kill9 SECONDS]             everything, in a folder of its own that goes away if all is well
#   kubeadm.sh up WORK                       the cluster, the next version on its nodes, the workload and the repository; then by hand:
#   kubeadm.sh run WORK [--kill9 SECONDS]    the daemon until it is idle, and what has to be true afterwards
#   kubeadm.sh addons                        another cluster, of which no node moves: CoreDNS by its image and a chart, while DNS is asked
#   kubeadm.sh down WORK
# What has to be true is judged on the hosts, by watches beside the run and by the API servers' audit; the daemon is not asked.
# WINDLASS names the daemon (else it is built); WINDLASS_KUBERNETES is where Kubernetes' binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh
# shellcheck source-path=SCRIPTDIR source=order.sh
. ./order.sh

FROM=v1.35.4 TO=v1.36.3
export CONTROL_PLANES=${CONTROL_PLANES:-1}

main() {
	case $CONTROL_PLANES in 1 | 3 | 5) ;; *) die "CONTROL_PLANES=$CONTROL_PLANES: etcd needs an odd number of members, 1, 3 or 5" ;; esac
	case ${1:-} in
	up) up "$2" ;;
	run)
		enter "$2"
		shift 2
		run "$@"
		;;
	down) ./nodes.sh down "$2" ;;
	addons) everything --addons ;;
	'' | --*) everything "$@" ;;
	*) die "usage: $0 [--kill9 SECONDS] | addons | up WORK | run WORK [--kill9 SECONDS] | down WORK" ;;
	esac
}

everything() {
	local folder status=0
	./nodes.sh possible
	folder=$(mktemp -d)
	# shellcheck disable=SC2064  # the folder of now
	trap "./nodes.sh down '$folder'" EXIT
	up "$folder"
	enter "$folder"
	if [ "${1:-}" = --addons ]; then addons || status=$?; else run "$@" || status=$?; fi
	./nodes.sh down "$folder"
	trap - EXIT
	if [ "$status" = 0 ]; then rm -rf "$folder"; else say "kept: $folder"; fi
	return "$status"
}

enter() {
	# Its own user, so that the audit tells what the daemon did.
	daemon_kubeconfig=daemon.kubeconfig
	work=$(cd "$1" && pwd)
	# shellcheck source=/dev/null
	. "$work/settings"
	mapfile -t control_plane < <(seq -f node%.0f "$CONTROL_PLANES")
	last=node$((CONTROL_PLANES + 2))
	mkdir -p "$work/log"
	export KUBECONFIG=$work/kubeconfig
	PATH=$(cd "$KUBERNETES/$TO/bin" && pwd):$PATH
}

# ---- the cluster

up() {
	need jq git curl
	mkdir -p "$1"
	CONTEXT=real ./nodes.sh up "$1" $FROM $((CONTROL_PLANES + 2))
	./nodes.sh stage "$1" $TO
	enter "$1"
	workload | kubectl apply -f - >/dev/null
	kubectl --namespace shop rollout status deployment/web --timeout=120s >&2
	repository $TO ''
	watch budgets
	say "ready: $CONTROL_PLANES control plane nodes and two workers of $FROM in $work"
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

repository() { # VERSION ADDONS
	mkdir -p "$work/desired/desired-state/real"
	cat >"$work/desired/desired-state/real/cluster.yaml" <<-YAML
		apiVersion: windlass.dev/v1alpha1
		kind: Cluster
		metadata:
		  name: real
		spec:
		  mode: act
		  kubernetes:
		    version: $1
		  controlPlane:
		    provider: kubeadm
		    drain: beforeControlPlane
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
		$2
	YAML
	always_open
	commit_desired "$work" "real: to $1"
}

# ---- the run

run() {
	local windlass each began
	windlass=$(windlass_binary)
	say "the daemon is $windlass, its log is $work/daemon.log"
	rm -f "$work"/{answers,system,kubeadm,members}
	: >"$work/members"
	watch system
	watch kubeadm
	for each in "${control_plane[@]}"; do watch member "$each"; done
	probes=()
	for each in node1 "$last"; do
		probe web "$each" "$(of_service shop web)"
		probe names "$each" "$(of_service kube-system kube-dns)"
	done
	probe api "$last" "$(kubectl config view --minify --output 'jsonpath={.clusters[0].cluster.server}')"
	began=$SECONDS
	case ${1:-} in
	'') until_idle "$windlass" ;;
	--kill9) until_idle "$windlass" "$2" ;;
	*) die "no such mode: $1" ;;
	esac
	took=$((SECONDS - began))
	# What came last has its effects, too: the addons and the pods of the last node.
	sleep 10
	for each in "${probes[@]}"; do kill -- "-$each"; done
	verify
	verify_order
	verify_audit
	rest "$windlass"
	figures
	summary
}

# Nobody holds anything here: it has to be as desired.
finished() { false; }

of_service() { kubectl --namespace "$1" get service "$2" --output 'jsonpath={.spec.clusterIP}'; }

# probe WHAT NODE ADDRESS: from a node, through its kube-proxy, a new connection each time; one line a request in WORK/answers.
probe() {
	# kube-proxy follows the endpoints a moment later; what fails before anything was done says nothing about what is done.
	within 60 ./nodes.sh in "$work" "$2" bash -c "$asks"' "$@"' probe "ask_$1" "$3" ||
		die "$1 does not answer on $2 before the upgrade"
	# shellcheck disable=SC2016  # expanded inside the node
	setsid ./nodes.sh in "$work" "$2" bash -c "$asks"' while :; do
		began=$EPOCHREALTIME
		if "ask_$1" "$3"; then answer=ok; else answer="failed:$?"; fi
		echo "$began $1 $2 $answer $EPOCHREALTIME"
		sleep 0.2
	done' probe "$@" >>"$work/answers" 2>/dev/null </dev/null &
	probes+=($!)
	started $!
}
# shellcheck disable=SC2016  # expanded inside the node
asks='
ask_web() { curl --silent --fail --output /dev/null --max-time 5 "http://$1/"; }
ask_api() { curl --silent --fail --insecure --output /dev/null --max-time 5 "$1/readyz"; }
# One question in one packet for the address of kube-dns itself, asked only once: a resolver would ask again after five seconds.
ask_names() {
	exec 3<>"/dev/udp/$1/53"
	printf "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08kube-dns\x0bkube-system\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01" >&3
	case $(timeout 5 head -c 8 <&3 | od -An -tx1 | tr -d " \n") in
	1234???000010001) ;;
	*) return 1 ;;
	esac
}
'

# ---- addons alone

# The same CoreDNS under a newer name, and a chart in the repository.
addons() {
	local windlass each
	windlass=$(windlass_binary)
	[ -x "$KUBERNETES/tools/bin/helm3" ] || ./binaries.sh helm
	mkdir -p "$work/bin"
	ln -sf "$(cd "$KUBERNETES/tools/bin" && pwd)/helm3" "$work/bin/helm"
	PATH=$PATH:$work/bin
	for each in $(seq $((CONTROL_PLANES + 2))); do
		./nodes.sh in "$work" "node$each" ctr --namespace k8s.io images tag "$(coredns_image)" registry.k8s.io/coredns/coredns:v1.99.0 >/dev/null
	done
	rm -f "$work/answers"
	probes=()
	for each in node1 "$last"; do probe names "$each" "$(of_service kube-system kube-dns)"; done
	chart 1.0.0 one
	repository $FROM "$(with_addons "$(coredns_image | cut -d: -f2)" 1.0.0)"
	until_idle "$windlass"
	check "the chart is installed" same one "$(said)"
	chart 1.1.0 two
	repository $FROM "$(with_addons v1.99.0 1.1.0)"
	until_idle "$windlass"
	check "the chart is upgraded" same two "$(said)"
	check "CoreDNS runs the new image" same registry.k8s.io/coredns/coredns:v1.99.0 \
		"$(kubectl --namespace kube-system get pods --selector k8s-app=kube-dns -o json | jq -r '[.items[].spec.containers[0].image] | unique | join(" ")')"
	check "it was one run" same 1 "$(git_alone -C "$work/repository.git" log --format=%s windlass/status | grep -c 'run .* converged' | awk '{print $1 - 1}')"
	sleep 5
	for each in "${probes[@]}"; do kill -- "-$each"; done
	check "the Service kube-dns answered all along ($(asked names) requests)" same "" "$(unanswered names)"
	check "it was asked at all" test "$(asked names)" -gt 100
	check "no node was touched" same "" "$(kubectl get nodes -o json | jq -r '.items[] | select(.spec.unschedulable) | .metadata.name')"
	summary
}

coredns_image() { grep '/coredns:' "$KUBERNETES/$FROM/images.txt"; }
said() { kubectl --namespace shop get configmap said -o jsonpath='{.data.word}'; }

with_addons() { # COREDNS CHART
	cat <<-YAML
		  addons:
		    - {name: coredns, version: "$1", image: {namespace: kube-system, workload: deployment/coredns, container: coredns}}
		    - {name: said, version: "$2", helm: {namespace: shop, chart: addons/said/chart}}
	YAML
}

chart() { # VERSION WORD
	local folder=$work/desired/desired-state/real/addons/said/chart
	mkdir -p "$folder/templates"
	printf 'apiVersion: v2\nname: said\nversion: %s\n' "$1" >"$folder/Chart.yaml"
	cat >"$folder/templates/all.yaml" <<-YAML
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: said}
		data: {word: $2}
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: said}
		spec:
		  replicas: 2
		  selector: {matchLabels: {app: said}}
		  template:
		    metadata: {labels: {app: said}, annotations: {word: $2}}
		    spec:
		      terminationGracePeriodSeconds: 2
		      containers: [{name: main, image: "docker.io/library/busybox:test", command: [httpd, -f, -p, "8080", -h, /www]}]
	YAML
}

# ---- what has to be true

verify() {
	local nodes pods each from until
	nodes=$(kubectl get nodes -o json)
	check "every kubelet runs $TO" same "$(for each in $(seq $((CONTROL_PLANES + 2))); do echo "node$each $TO"; done)" \
		"$(jq -r '.items[] | "\(.metadata.name) \(.status.nodeInfo.kubeletVersion)"' <<<"$nodes")"
	check "every API server runs $TO" same "$(printf "%s $TO\n" "${control_plane[@]}")" "$(for each in "${control_plane[@]}"; do echo "$each $(version_at "$each")"; done)"
	check "kubeadm's own record says $TO" same "kubernetesVersion: $TO" "$(kubectl --namespace kube-system get configmap kubeadm-config -o json | jq -r .data.ClusterConfiguration | grep ^kubernetesVersion)"
	check "every node is Ready" kubectl wait --for=condition=Ready node --all --timeout=60s
	check "no node is cordoned" same "" "$(jq -r '.items[] | select(.spec.unschedulable) | .metadata.name' <<<"$nodes")"
	check "no claim is left" same "" "$(jq -r '.items[] | select(.metadata.annotations["windlass.dev/claim"]) | .metadata.name' <<<"$nodes")"
	pods=$(kubectl --namespace kube-system get pods -o json)
	check "kube-proxy and the servers run $TO" same $TO "$(jq -r '.items[].spec.containers[].image | select(test("/kube-")) | split(":")[1]' <<<"$pods" | sort -u)"
	check "the system's pods are Ready" kubectl --namespace kube-system wait --for=condition=Ready pod --all --timeout=60s
	check "etcd has $CONTROL_PLANES healthy members" same "$CONTROL_PLANES" "$(etcdctl endpoint health --cluster --write-out json | jq '[.[] | select(.health)] | length')"
	check "the budget was never breached ($(wc -l <"$work/budgets") looks)" same "" "$(awk '$3 > 0 && $5 < $4' "$work/budgets")"
	check "the Service web answered all along ($(asked web) requests)" same "" "$(unanswered web)"
	read -r from until < <(addons_replaced)
	check "the Service kube-dns answered all along ($(asked names) requests, not judged: $((until - from)) s in which kubeadm replaced it)" same "" "$(unanswered names "$from" "$until")"
	check "they were asked at all" test "$(asked web)" -gt 300 -a "$(asked names)" -gt 300
	jobs_of_the_run
}

# The server of this node and no other, past everything that stands before it.
version_at() { ./nodes.sh in "$work" "$1" curl --silent --insecure --max-time 5 https://127.0.0.1:6443/version | jq -r .gitVersion; }
etcdctl() {
	./nodes.sh in "$work" node1 /binaries/tools/bin/etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
		--cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key "$@"
}
asked() { grep -c " $1 " "$work/answers"; }
unanswered() { # WHAT [FROM UNTIL]: but those asked in between
	awk -v what="$1" -v from="${2:-0}" -v until="${3:-0}" '
		$2 == what && $4 != "ok" && ($1 < from || $1 > until) {print strftime("%T", $1), $3, $4, $5 - $1 " s"}' "$work/answers"
}

# kubeadm replaces CoreDNS and kube-proxy at the same time, so that a node may ask pods that are gone until its new kube-proxy has
# written its rules. That is not the daemon's work: from the first of the new pods to ten seconds after the last new kube-proxy.
addons_replaced() {
	awk -v to="$TO" '
		$2 ~ /^coredns-/ && !old { old = $3 }
		($2 ~ /^coredns-/ && $3 != old || $2 ~ /^kube-proxy-/ && $3 ~ to "$") && !from { from = $1 }
		$2 ~ /^kube-proxy-/ && $3 ~ to "$" && $4 == "Ready" && !seen[$2]++ { until = $1 }
		END { printf "%d %d\n", from - 2, until + 10 }' "$work/system"
}

# Told, not judged: a Job may fail where its node did well.
jobs_of_the_run() {
	kubectl --namespace windlass-system get jobs --label-columns windlass.dev/node,windlass.dev/component >&2 || true
}

# At rest the daemon writes nothing, neither to the cluster nor to git.
rest() { # WINDLASS
	local writes tip code=0
	writes=$(ours . | wc -l)
	tip=$(git_alone -C "$work/repository.git" rev-parse --verify --quiet windlass/status || true)
	daemon "$1"
	within 60 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "started again it is idle at once" idle "$code"
	audit
	check "at rest it writes nothing to the cluster" same "$writes" "$(ours . | wc -l)"
	check "at rest it writes nothing to git" same "$tip" "$(git_alone -C "$work/repository.git" rev-parse --verify --quiet windlass/status || true)"
}

main "$@"
