#!/bin/bash
# The daemon installs, changes and tidies an addon of manifests on a real API server; KWOK stands in for the kubelets. No root, two minutes.
#   addons.sh [--kill9 SECONDS]   everything, in a folder of its own that goes away if all is well
#   addons.sh up WORK             the cluster and the repository; then by hand:
#   addons.sh run WORK [--kill9 SECONDS]
#   addons.sh down WORK
# --kill9 ends the daemon by SIGKILL every so many seconds and starts it again.
# WINDLASS names the daemon (else it is built); WINDLASS_KUBERNETES is where Kubernetes' binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

VERSION=v1.36.3

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
	*) die "usage: $0 [--kill9 SECONDS] | up WORK | run WORK [--kill9 SECONDS] | down WORK" ;;
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
	need jq git openssl
	CONTEXT=real ./controlplane.sh up "$1" $VERSION
	enter "$1"
	workers | kubectl apply -f - >/dev/null
	mkdir -p "$work/desired/desired-state/real/addons/gadget"
	cluster 1 ''
	objects 1 fast >"$work/desired/desired-state/real/addons/gadget/all.yaml"
	old >"$work/desired/desired-state/real/addons/gadget/old.yaml"
	always_open
	commit_desired "$work" "real: install the addon gadget"
	say "ready: 3 workers of $VERSION in $work"
}

enter() {
	# Its own user, so that the audit tells what the daemon did.
	daemon_kubeconfig=daemon.kubeconfig
	work=$(cd "$1" && pwd)
	export KUBECONFIG=$work/kubeconfig
	PATH=$(cd "$KUBERNETES/$VERSION/bin" && pwd):$PATH
	state=$work/desired/desired-state/real
}

workers() {
	local each
	for each in 1 2 3; do
		cat <<-YAML
			---
			apiVersion: v1
			kind: Node
			metadata:
			  name: w$each
			  labels: {kubernetes.io/hostname: w$each, kubernetes.io/os: linux, pool: general}
			status:
			  capacity: {cpu: 8, memory: 32Gi, pods: 110}
			  allocatable: {cpu: 8, memory: 32Gi, pods: 110}
			  nodeInfo: {kubeletVersion: $VERSION, architecture: amd64, operatingSystem: linux, bootID: "", containerRuntimeVersion: "", kernelVersion: "", kubeProxyVersion: "", machineID: "", osImage: "", systemUUID: ""}
		YAML
	done
}

# The control plane is somebody else's, and everything has its version: only the addon moves.
cluster() { # VERSION TAKE_OVER
	mkdir -p "$work/desired/desired-state/real"
	cat >"$work/desired/desired-state/real/cluster.yaml" <<-YAML
		apiVersion: windlass.dev/v1alpha1
		kind: Cluster
		metadata: {name: real}
		spec:
		  mode: act
		  kubernetes: {version: $VERSION}
		  controlPlane: {provider: external}
		  nodePools:
		    - {name: general, selector: {matchLabels: {pool: general}}, provider: external}
		  addons:
		    - {name: gadget, version: "$1", manifests: addons/gadget$2}
	YAML
}

# A kind of its own, an object of it, and what runs it: in an order in which nothing could be applied.
objects() { # VERSION MODE
	cat <<-YAML
		apiVersion: example.com/v1
		kind: Gadget
		metadata: {name: first, namespace: gadget}
		spec: {size: $1}
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: gadget, namespace: gadget}
		spec:
		  replicas: 3
		  selector: {matchLabels: {app: gadget}}
		  template:
		    metadata: {labels: {app: gadget}}
		    spec:
		      containers: [{name: main, image: "example.com/gadget:$1"}]
		      volumes: [{name: settings, configMap: {name: settings, defaultMode: 0644}}]
		---
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: settings, namespace: gadget}
		data:
		  mode: $2
		  gadget.conf: |
		    listen 8080
		    workers 4
		    size $1
		    log info
		---
		apiVersion: v1
		kind: Secret
		metadata: {name: token, namespace: gadget}
		stringData: {token: "not for anybody's eyes $1"}
		---
		apiVersion: apiextensions.k8s.io/v1
		kind: CustomResourceDefinition
		metadata: {name: gadgets.example.com}
		spec:
		  group: example.com
		  scope: Namespaced
		  names: {kind: Gadget, listKind: GadgetList, plural: gadgets, singular: gadget}
		  versions:
		    - name: v1
		      served: true
		      storage: true
		      schema:
		        openAPIV3Schema:
		          type: object
		          properties:
		            spec: {type: object, properties: {size: {type: integer, minimum: 1}}}
		---
		apiVersion: v1
		kind: Namespace
		metadata: {name: gadget}
	YAML
}

old() {
	cat <<-YAML
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: old, namespace: gadget}
	YAML
}

# ---- the run

run() {
	windlass=$(windlass_binary)
	kill9=()
	[ "${1:-}" != --kill9 ] || kill9=("$2")
	say "the daemon is $windlass, its log is $work/daemon.log"
	installed
	changed
	refused
	taken_over
	drifted
	at_rest
	went_back
	summary
}

# What the daemon has written of the addon: verb, resource, name and code, dry runs left out.
written() { ours 'select((.requestURI | contains("dryRun") | not) and (.requestObject.dryRun == null) and ((.objectRef.namespace // "") == "gadget" or .objectRef.resource == "customresourcedefinitions" or (.objectRef.resource == "namespaces" and .objectRef.name == "gadget"))) | [.verb, .objectRef.resource, .objectRef.name, .responseStatus.code] | join(" ")' | tr -d '"'; }
accepted() { written | grep -E ' 20[01]$' || true; }
data() { kubectl -n gadget get configmap settings -o jsonpath="{.data.$1}"; }
image() { kubectl -n gadget get deployment gadget -o jsonpath='{.spec.template.spec.containers[0].image}'; }

installed() {
	until_idle "$windlass" "${kill9[@]}"
	check "the object of the addon's own kind is there" same 1 "$(kubectl -n gadget get gadgets.example.com first -o jsonpath='{.spec.size}')"
	check "all pods run the image" same "example.com/gadget:1" "$(kubectl -n gadget get pods -o json | jq -r '[.items[].spec.containers[0].image] | unique | join(" ")')"
	check "a mode with a leading zero is octal, as kubectl reads it" same 420 "$(kubectl -n gadget get deployment gadget -o jsonpath='{.spec.template.spec.volumes[0].configMap.defaultMode}')"
	check "the namespace and the kind came first" same "customresourcedefinitions namespaces" "$(accepted | head -2 | cut -d' ' -f2 | sort | tr '\n' ' ' | sed 's/ $//')"
	[ -n "${kill9[*]}" ] || check "each of the seven objects was written once" same "7 7" "$(accepted | wc -l) $(accepted | sort -u | wc -l)"
	check "the objects bear the addon's label" same "real.gadget" "$(kubectl -n gadget get configmap old -o jsonpath='{.metadata.labels.windlass\.dev/addon}')"
}

# Another version, and an object less.
changed() {
	local before
	before=$(accepted | wc -l)
	cluster 2 ''
	objects 2 fast >"$state/addons/gadget/all.yaml"
	rm "$state/addons/gadget/old.yaml"
	commit_desired "$work" "real: gadget 2"
	plan_of >"$work/plan"
	check "the plan shows a line that changes" grep -q '^ *- size 1$' "$work/plan"
	check "the plan shows no secret" test -z "$(grep "anybody's eyes" "$work/plan")"
	check "the plan names what is deleted, if the record is there" grep -q 'configmap/gadget/old is deleted' "$work/plan"
	check "a plan writes nothing" same "$before" "$(accepted | wc -l)"
	until_idle "$windlass" "${kill9[@]}"
	check "the deployment has the new image" same "example.com/gadget:2" "$(image)"
	check "the object of its own kind is changed" same 2 "$(kubectl -n gadget get gadgets.example.com first -o jsonpath='{.spec.size}')"
	check "what the folder has no more is gone" same "" "$(kubectl -n gadget get configmap old --ignore-not-found -o name)"
	check "it went last" same "delete configmaps old 200" "$(accepted | tail -1)"
	check "nothing else was deleted" same 1 "$(accepted | grep -c '^delete')"
}

plan_of() { "$windlass" plan --repo "$work/repository.git" --kubeconfig "$KUBECONFIG" real 2>&1 || true; }

# Another manager has a field that a commit changes.
refused() {
	local before code=0
	kubectl apply --server-side --field-manager=other --force-conflicts -f - >/dev/null <<-YAML
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: settings, namespace: gadget}
		data: {mode: theirs}
	YAML
	before=$(accepted | wc -l)
	objects 2 slow >"$state/addons/gadget/all.yaml"
	commit_desired "$work" "real: gadget is slow"
	daemon "$windlass"
	within 60 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "a field of another manager needs a person" same 4 "$code"
	check "the daemon names the object, the field and the manager" grep -q 'configmap/gadget/settings .*conflict with "other".*: .data.mode' "$work/daemon.log"
	check "nothing was written" same "$before" "$(accepted | wc -l)"
}

taken_over() {
	cluster 2 ', takeOver: [other]'
	commit_desired "$work" "real: take the fields of other over"
	until_idle "$windlass" "${kill9[@]}"
	check "the field is taken over" same slow "$(data mode)"
}

# What somebody changes by hand is told, and stays.
drifted() {
	kubectl -n gadget patch configmap settings --type merge --patch '{"data": {"mode": "mine"}}' >/dev/null
	until_idle "$windlass" "${kill9[@]}"
	check "what somebody changed by hand stays" same mine "$(data mode)"
	plan_of >"$work/plan"
	check "the plan tells who changed it" grep -q 'configmap/gadget/settings is not as applied: changed by kubectl-patch at' "$work/plan"
	check "the status tells it too" grep -q 'object: configmap/gadget/settings' <(record real/status.yaml)
}

record() { git_alone -C "$work/repository.git" show "windlass/status:$1"; }

# A version that does not start goes back to what the commit before asked for, without what people changed by hand.
went_back() {
	local code=0 point
	cluster 3 ', takeOver: [other, kubectl-patch], timeout: 1m, onFailure: rollback'
	objects 3 fast >"$state/addons/gadget/all.yaml"
	# No node has such a label, so the new pods stay Pending.
	sed -i 's/containers: \[/nodeSelector: {none: such}\n      containers: [/' "$state/addons/gadget/all.yaml"
	extra >"$state/addons/gadget/extra.yaml"
	commit_desired "$work" "real: gadget 3, which does not start"
	daemon "$windlass"
	within 240 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "an addon that does not roll out halts" same 4 "$code"
	check "it went back to the version before" grep -q 'it went back to 2' "$work/daemon.log"
	check "the deployment has the image of before" same "example.com/gadget:2" "$(image)"
	check "the object of its own kind is as before" same 2 "$(kubectl -n gadget get gadgets.example.com first -o jsonpath='{.spec.size}')"
	check "the field is as the commit before asks" same slow "$(data mode)"
	check "what only the new version had is gone" same "" "$(kubectl -n gadget get configmap extra --ignore-not-found -o name)"
	point=$(git_alone -C "$work/repository.git" ls-tree -r --name-only windlass/status | grep 'rollback-points/.*/addons/gadget/objects.yaml' | tail -1)
	check "the rollback point has what somebody changed by hand" grep -q 'mode: mine' <(record "$point")
	check "it has no Secret, and names it" grep -q '^# secret/gadget/token: left out' <(record "$point")
	check "no secret is in the record" test -z "$(git_alone -C "$work/repository.git" grep -l "anybody's eyes" windlass/status | head -1)"
}

extra() {
	cat <<-YAML
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: extra, namespace: gadget}
	YAML
}

finished() { false; }

# At rest the daemon writes nothing, neither to the cluster nor to git.
at_rest() {
	local writes tip code=0
	writes=$(accepted | wc -l)
	tip=$(git_alone -C "$work/repository.git" rev-parse windlass/status)
	daemon "$windlass"
	within 60 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "started again it is idle at once" same 0 "$code"
	check "at rest it writes nothing of the addon" same "$writes" "$(accepted | wc -l)"
	check "at rest it writes nothing to git" same "$tip" "$(git_alone -C "$work/repository.git" rev-parse windlass/status)"
}

main "$@"
