#!/bin/bash
# The daemon upgrades twelve workers of a real control plane; KWOK stands in for their kubelets. No root, three minutes.
#   kwok.sh [--kill9 SECONDS | --stop]        everything, in a folder of its own that goes away if all is well
#   kwok.sh up WORK                           the cluster, its workloads and the repository; then by hand:
#   kwok.sh run WORK [--kill9 SECONDS|--stop] the daemon until it is idle, and what has to be true afterwards
#   kwok.sh down WORK
# --kill9 ends the daemon by SIGKILL every so many seconds and starts it again; --stop stops the run in the middle, looks on, resumes.
# A daemon that was killed is known to be gone by its lock file, so that the next one on this machine takes over at once.
# WINDLASS names the daemon (else it is built); WINDLASS_KUBERNETES is where Kubernetes' binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

FROM=v1.35.4 TO=v1.36.3
# A worker that somebody else cordoned before us; it stays as it is.
FOREIGN=w5

main() {
	case ${1:-} in
	up) up "$2" ;;
	run)
		enter "$2"
		shift 2
		run "$@"
		;;
	down) ./controlplane.sh down "$2" ;;
	'' | --*) everything "$@" ;;
	*) die "usage: $0 [--kill9 SECONDS | --stop] | up WORK | run WORK [...] | down WORK" ;;
	esac
}

everything() {
	local folder status=0
	folder=$(mktemp -d)
	# shellcheck disable=SC2064  # the folder of now
	trap "./controlplane.sh down '$folder'" EXIT
	up "$folder"
	enter "$folder"
	run "$@" || status=$?
	./controlplane.sh down "$folder"
	trap - EXIT
	if [ "$status" = 0 ]; then rm -rf "$folder"; else say "kept: $folder"; fi
	return "$status"
}

# ---- the cluster

up() {
	local each
	need jq git openssl
	CONTEXT=real ./controlplane.sh up "$1" $TO
	enter "$1"
	workers | kubectl apply -f - >/dev/null
	kubectl create namespace shop >/dev/null
	workloads | kubectl apply -f - >/dev/null
	kubectl cordon $FOREIGN >/dev/null
	kubectl -n shop wait --for=condition=Available deployment --all --timeout=120s >/dev/null
	kubectl -n shop rollout status statefulset/db --timeout=120s >/dev/null
	within 60 budgets_hold || die "the budgets do not hold before anything was done"
	repository
	for each in kubelets budgets deployments nodes; do watch "$each"; done
	say "ready: 12 workers of $FROM in $work"
}

enter() {
	# Its own user, so that the audit tells what the daemon did.
	daemon_kubeconfig=daemon.kubeconfig
	work=$(cd "$1" && pwd)
	export KUBECONFIG=$work/kubeconfig
	PATH=$(cd "$KUBERNETES/$TO/bin" && pwd):$PATH
}

workers() {
	local each pool
	for each in $(seq 12); do
		if [ "$each" -le 8 ]; then pool='general'; else pool='batch'; fi
		cat <<-YAML
			---
			apiVersion: v1
			kind: Node
			metadata:
			  name: w$each
			  labels: {kubernetes.io/hostname: w$each, kubernetes.io/os: linux, topology.kubernetes.io/zone: z$((each % 3)), pool: $pool}
			status:
			  capacity: {cpu: 8, memory: 32Gi, pods: 110}
			  allocatable: {cpu: 8, memory: 32Gi, pods: 110}
			  nodeInfo: {kubeletVersion: $FROM, architecture: amd64, operatingSystem: linux, bootID: "", containerRuntimeVersion: "", kernelVersion: "", kubeProxyVersion: "", machineID: "", osImage: "", systemUUID: ""}
		YAML
	done
}

# Deployments of two to six with every kind of budget, a StatefulSet, one without a budget, and a DaemonSet.
workloads() {
	workload Deployment web 6 'maxUnavailable: 2'
	workload Deployment stock 6 'maxUnavailable: 1'
	workload Deployment mail 5 'minAvailable: 60%'
	workload Deployment cart 4 'minAvailable: 3'
	workload Deployment search 3 'maxUnavailable: 1'
	workload Deployment login 2 'minAvailable: 1'
	workload Deployment unguarded 4 ''
	workload StatefulSet db 3 'maxUnavailable: 1'
	workload Deployment names 2 ''
	moves_by_rollout ledger
	cat <<-YAML
		---
		apiVersion: apps/v1
		kind: DaemonSet
		metadata: {name: agent, namespace: shop}
		spec:
		  selector: {matchLabels: {app: agent}}
		  template:
		    metadata: {labels: {app: agent}}
		    spec: {tolerations: [{operator: Exists}], containers: [{name: main, image: "example.com/agent:1"}]}
	YAML
}

workload() { # KIND NAME REPLICAS BUDGET
	cat <<-YAML
		---
		apiVersion: apps/v1
		kind: $1
		metadata: {name: $2, namespace: shop}
		spec:
		  replicas: $3
		  selector: {matchLabels: {app: $2}}
		$([ "$1" = Deployment ] || echo "  serviceName: $2")
		  template:
		    metadata: {labels: {app: $2}}
		    spec:
		      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: $2}}}]
		      containers: [{name: main, image: example.com/$2}]
	YAML
	[ -z "$4" ] || cat <<-YAML
		---
		apiVersion: policy/v1
		kind: PodDisruptionBudget
		metadata: {name: $2, namespace: shop}
		spec: {selector: {matchLabels: {app: $2}}, $4}
	YAML
}

# One replica that no eviction may take: it moves by a rollout. Not on the foreign worker, from which it would never have to move.
moves_by_rollout() { # NAME
	cat <<-YAML
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $1, namespace: shop, annotations: {windlass.dev/surge: "true"}}
		spec:
		  replicas: 1
		  selector: {matchLabels: {app: $1}}
		  template:
		    metadata: {labels: {app: $1}}
		    spec:
		      affinity:
		        nodeAffinity:
		          requiredDuringSchedulingIgnoredDuringExecution:
		            nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [$FOREIGN]}]}]
		      containers: [{name: main, image: example.com/$1}]
		---
		apiVersion: policy/v1
		kind: PodDisruptionBudget
		metadata: {name: $1, namespace: shop}
		spec: {selector: {matchLabels: {app: $1}}, maxUnavailable: 0}
	YAML
}

budgets_hold() {
	kubectl -n shop get pdb -o json |
		jq -e '[.items[] | .status.expectedPods > 0 and .status.currentHealthy >= .status.expectedPods and .status.observedGeneration == .metadata.generation] | length == 8 and all'
}

# The control plane is somebody else's: there is none among the nodes.
repository() {
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
		    - name: general
		      selector: {matchLabels: {pool: general}}
		      provider: kubeadm
		      canary: 1
		      soak: 5s
		      maxUnavailable: 3
		      maxUnavailablePerZone: 2
		    - name: batch
		      selector: {matchLabels: {pool: batch}}
		      provider: kubeadm
		      canary: 1
		      soak: 5s
		      maxUnavailable: 1
		  addons:
		    - name: agent
		      version: "2"
		      image: {namespace: shop, workload: daemonset/agent, container: main}
		    - name: names
		      version: "2"
		      after: [agent]
		      image: {namespace: shop, workload: deployment/names, container: main}
	YAML
	always_open
	commit_desired "$work" "real: workers to $TO"
}

# ---- the run

run() {
	local windlass
	windlass=$(windlass_binary)
	say "the daemon is $windlass, its log is $work/daemon.log"
	case ${1:-} in
	'') until_idle "$windlass" ;;
	--kill9) until_idle "$windlass" "$2" ;;
	--stop) stopped_in_the_middle "$windlass" ;;
	*) die "no such mode: $1" ;;
	esac
	verify
	rest "$windlass"
	summary
}

stopped_in_the_middle() { # WINDLASS
	local before after
	daemon "$1"
	within "$PATIENCE" some_upgraded || die "no worker was upgraded: $work/daemon.log"
	say "stop, with $(upgraded | wc -l) workers upgraded"
	kubectl -n kube-system create configmap windlass-stop --from-literal=reason="looking on" >/dev/null
	# Promised within two seconds.
	sleep 3
	before=$(effects)
	sleep 20
	after=$(effects)
	check "after a stop nothing is evicted, cordoned or started for 20 s" same "$before" "$after"
	check "the stop came in the middle" test "$(upgraded | wc -l)" -lt 11
	kubectl -n kube-system delete configmap windlass-stop >/dev/null
	say "resume"
	within 5 gone "$process" || kill "$process"
	wait "$process" || true
	until_idle "$1"
}

upgraded() { kubectl get nodes -o json | jq -r --arg to $TO '.items[] | select(.status.nodeInfo.kubeletVersion == $to) | .metadata.name'; }
some_upgraded() { [ "$(upgraded | wc -l)" -ge 3 ]; }

# Whether only the foreign worker is left, and nobody is in hand.
finished() {
	kubectl get nodes -o json | jq -e --arg to $TO --arg foreign $FOREIGN '
		[.items[] | select(.metadata.name != $foreign) | .status.nodeInfo.kubeletVersion == $to and (.spec.unschedulable | not)] | all' >/dev/null
}

# What disturbs a cluster: evictions, Jobs, and writes to nodes, Deployments and DaemonSets.
effects() { ours 'select(.objectRef.subresource == "eviction" or .objectRef.resource == "jobs" or .objectRef.resource == "nodes" or .objectRef.resource == "deployments" or .objectRef.resource == "daemonsets")' | wc -l; }

# ---- what has to be true

verify() {
	local nodes
	nodes=$(kubectl get nodes -o json)
	check "every worker but the foreign one runs $TO" same "$FOREIGN" \
		"$(jq -r --arg to $TO '.items[] | select(.status.nodeInfo.kubeletVersion != $to) | .metadata.name' <<<"$nodes")"
	check "only the foreign cordon is left" same "$FOREIGN" "$(jq -r '.items[] | select(.spec.unschedulable) | .metadata.name' <<<"$nodes")"
	check "no claim is left" same "" "$(jq -r '.items[] | select(.metadata.annotations["windlass.dev/claim"]) | .metadata.name' <<<"$nodes")"
	check "the foreign worker was never written by the daemon" same "" \
		"$(ours "select(.objectRef.resource == \"nodes\" and .objectRef.name == \"$FOREIGN\") | .verb")"
	check "every worker is Ready" same "" \
		"$(jq -r '.items[] | select([.status.conditions[] | select(.type == "Ready" and .status == "True")] | length == 0) | .metadata.name' <<<"$nodes")"
	check "every budget is whole again" within 60 budgets_hold
	verify_evictions 11
	verify_watches
	verify_rollouts
	verify_addon
	check "the record has one line of history" same "" "$(git_alone -C "$work/repository.git" log --merges --format=%s windlass/status)"
}

verify_watches() {
	check "no budget was breached at any moment ($(wc -l <"$work/budgets") looks)" same "" \
		"$(awk '$3 > 0 && $5 < $4 {print $2 ": " $5 " healthy of " $4 " needed"}' "$work/budgets" | sort | uniq -c)"
	check "general never had more than 3 workers out, batch never more than 1" same "batch 1 general 3" "$(awk '
		{ now = ($4 == "true"); out[$2] += now - was[$1]; was[$1] = now; if (out[$2] > most[$2]) most[$2] = out[$2] }
		END { printf "batch %d general %d", (most["batch"] > 1 ? most["batch"] : 1), (most["general"] > 3 ? most["general"] : 3) }' "$work/nodes")"
}

verify_rollouts() {
	local patches
	patches=$(ours 'select(.objectRef.resource == "deployments" and .objectRef.name != "names" and .verb == "patch" and .responseStatus.code == 200) | .objectRef.name')
	check "only the Deployment that asks for it moved by rollouts" same "ledger" "$(tr -d '"' <<<"$patches" | sort -u)"
	check "each of its rollouts was begun once and ended once ($(wc -l <<<"$patches") patches)" same 0 "$(($(wc -l <<<"$patches") % 2))"
	check "it always had a Ready pod ($(grep -c '^ledger ' "$work/deployments") looks)" same "" "$(awk '$1 == "ledger" && $2 !~ /^[1-9]/' "$work/deployments")"
	check "it was never evicted" same "" "$(jq -r 'select(.pod | startswith("shop/ledger-")) | .pod' "$work/evictions")"
	check "its template says which step moved it" test "$(awk '$1 == "ledger" {moved = $3} END {print moved}' "$work/deployments")" != "<none>"
	check "no note of a rollout is left" same "" "$(kubectl get deployments --all-namespaces --selector windlass.dev/moving --output name)"
}

# The network plugin's kind of addon moves first, then the one that follows it, each once and as a whole, and then the workers.
verify_addon() {
	local moved followed taken
	check "the addon has its image" same "example.com/agent:2" "$(kubectl -n shop get daemonset agent -o jsonpath='{.spec.template.spec.containers[0].image}')"
	check "all of its pods run it" same "example.com/agent:2" "$(kubectl -n shop get pods --selector app=agent -o json | jq -r '[.items[].spec.containers[0].image] | unique | join(" ")')"
	check "its image was changed once" same 1 "$(ours 'select(.objectRef.resource == "daemonsets" and .verb == "patch" and .responseStatus.code == 200) | .verb' | wc -l)"
	moved=$(ours 'select(.objectRef.resource == "daemonsets" and .verb == "patch") | .requestReceivedTimestamp' | head -1)
	taken=$(ours 'select(.objectRef.resource == "nodes" and .verb == "patch") | .requestReceivedTimestamp' | sort | head -1)
	followed=$(ours 'select(.objectRef.resource == "deployments" and .objectRef.name == "names" and .verb == "patch" and .responseStatus.code == 200) | .requestReceivedTimestamp')
	check "the addon that follows it has its image" same "example.com/names:2" "$(kubectl -n shop get pods --selector app=names -o json | jq -r '[.items[].spec.containers[0].image] | unique | join(" ")')"
	check "it was changed once, after the first one" test "$(wc -l <<<"$followed")" = 1 -a "$moved" \< "$followed"
	check "both moved before the first worker was taken out" test "$followed" \< "$taken"
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
	check "at rest it writes nothing to the cluster" same "$writes" "$(ours . | wc -l)"
	check "at rest it writes nothing to git" same "$tip" "$(git_alone -C "$work/repository.git" rev-parse --verify --quiet windlass/status || true)"
}

main "$@"
