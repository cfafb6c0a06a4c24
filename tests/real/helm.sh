#!/bin/bash
# The daemon installs, upgrades and repairs a release of Helm on a real API server, by the real program; KWOK stands in for the
# kubelets. No root, some eight minutes for each major of helm.
#   helm.sh [MAJOR] [--kill9 SECONDS]   everything, in folders of their own that go away if all is well; both majors if none is named
#   helm.sh up MAJOR WORK               the cluster and the repository; then by hand:
#   helm.sh run MAJOR WORK [--kill9 SECONDS]
#   helm.sh down WORK
# --kill9 ends the daemon by SIGKILL every so many seconds and starts it again; its helm goes on or not, as it happens.
# WINDLASS names the daemon (else it is built); WINDLASS_KUBERNETES is where Kubernetes' and helm's binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

VERSION=v1.36.3
# Longer than any part of this takes, with the two minutes for which a daemon waits for an API endpoint that agrees with itself.
PATIENCE=${PATIENCE:-420}

main() {
	case ${1:-} in
	up) up "$2" "$3" ;;
	run)
		enter "$2" "$3"
		shift 3
		run "$@"
		;;
	down) ./controlplane.sh down "$2" ;;
	3 | 4) everything "$@" ;;
	'' | --*)
		everything 3 "$@"
		everything 4 "$@"
		;;
	*) die "usage: $0 [3 | 4] [--kill9 SECONDS] | up MAJOR WORK | run MAJOR WORK [--kill9 SECONDS] | down WORK" ;;
	esac
}

everything() { # MAJOR [--kill9 SECONDS]
	local folder status=0 major=$1
	shift
	folder=$(mktemp -d)
	# shellcheck disable=SC2064  # the folder of now
	trap "./controlplane.sh down '$folder'" EXIT
	up "$major" "$folder"
	enter "$major" "$folder"
	run "$@" || status=$?
	./controlplane.sh down "$folder"
	trap - EXIT
	if [ "$status" = 0 ]; then rm -rf "$folder"; else say "kept: $folder"; fi
	return "$status"
}

# ---- the cluster

up() { # MAJOR WORK
	need jq git openssl python3
	[ -x "$KUBERNETES/tools/bin/helm$1" ] || ./binaries.sh helm
	CONTEXT=real ./controlplane.sh up "$2" $VERSION
	enter "$1" "$2"
	workers | kubectl apply -f - >/dev/null
	kubectl create namespace shop >/dev/null
	printf 'helm: {program: %s}\n' "$program" >"$work/settings.yaml"
	cluster 1.0.0 'chart: addons/web/chart, values: addons/web/values.yaml'
	chart 1.0.0 old
	values 1 ''
	always_open
	commit_desired "$work" "real: install the addon web"
	say "ready: 3 workers of $VERSION and $("$program" version --template '{{.Version}}') in $work"
}

enter() { # MAJOR WORK
	# Its own user, so that the audit tells what the daemon did.
	daemon_kubeconfig=daemon.kubeconfig
	work=$(cd "$2" && pwd)
	export KUBECONFIG=$work/kubeconfig
	PATH=$(cd "$KUBERNETES/$VERSION/bin" && pwd):$PATH
	major=$1
	program=$KUBERNETES/tools/bin/helm$major
	state=$work/desired/desired-state/real
	WINDLASS_FLAGS="--config $work/settings.yaml"
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
cluster() { # VERSION HELM [MORE]
	mkdir -p "$state"
	cat >"$state/cluster.yaml" <<-YAML
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
		    - {name: web, version: "$1", helm: {$2, namespace: shop}, timeout: 1m${3:-}}
	YAML
}

# A chart with what makes charts hard: a value drawn anew at each rendering, a kind of its own, a hook that may hang.
chart() { # VERSION [EXTRA]: into the cluster's folder
	local folder=$state/addons/web/chart
	rm -rf "$folder"
	mkdir -p "$folder/templates" "$folder/crds"
	printf 'apiVersion: v2\nname: web\nversion: %s\nappVersion: "%s"\n' "$1" "$1" >"$folder/Chart.yaml"
	printf 'size: 0\nmode: plain\nhook: ""\n' >"$folder/values.yaml"
	cat >"$folder/crds/gadgets.yaml" <<-YAML
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
		      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
	YAML
	cat >"$folder/templates/all.yaml" <<-'YAML'
		apiVersion: example.com/v1
		kind: Gadget
		metadata: {name: first}
		spec: {size: {{ .Values.size }}}
		---
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: {{ .Release.Name }}}
		spec:
		  replicas: 3
		  selector: {matchLabels: {app: web}}
		  template:
		    metadata: {labels: {app: web}}
		    spec:
		      containers: [{name: main, image: "example.com/web:{{ .Chart.AppVersion }}"}]
		      volumes: [{name: settings, configMap: {name: web, defaultMode: 0644}}]
		---
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: {{ .Release.Name }}}
		data:
		  mode: {{ .Values.mode | quote }}
		  kubernetes: {{ .Capabilities.KubeVersion.Version | quote }}
		  policy: {{ .Capabilities.APIVersions.Has "policy/v1/PodDisruptionBudget" | quote }}
		---
		apiVersion: v1
		kind: Secret
		metadata: {name: {{ .Release.Name }}}
		stringData: {password: {{ randAlphaNum 12 | quote }}, fixed: "not for anybody's eyes {{ .Values.size }}"}
	YAML
	cat >"$folder/templates/hook.yaml" <<-'YAML'
		{{- if .Values.hook }}
		apiVersion: batch/v1
		kind: Job
		metadata:
		  name: {{ .Release.Name }}-before
		  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: before-hook-creation}
		spec:
		  template:
		    spec:
		      restartPolicy: Never
		      nodeSelector: {hook: {{ .Values.hook }}}
		      containers: [{name: main, image: example.com/hook}]
		{{- end }}
	YAML
	[ -z "${2:-}" ] || printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n' "$2" >"$folder/templates/$2.yaml"
}

values() { # SIZE HOOK [MODE]
	printf 'size: %s\nhook: "%s"\nmode: %s\n' "$1" "$2" "${3:-fast}" >"$state/addons/web/values.yaml"
}

# ---- the run

run() {
	windlass=$(windlass_binary)
	kill9=()
	[ "${1:-}" != --kill9 ] || kill9=("$2")
	say "the daemon is $windlass, its log is $work/daemon.log"
	installed
	upgraded
	pulled
	through
	refused
	failed_hook
	interrupted
	of_somebody_else
	at_rest
	summary
}

plan_of() { "$windlass" plan --config "$work/settings.yaml" --repo "$work/repository.git" --kubeconfig "$KUBECONFIG" real 2>&1 || true; }
history() { "$program" history web -n shop -o json; }
newest() { history | jq -r '.[-1] | [.status, .chart] | join(" ")'; }
data() { kubectl -n shop get configmap web -o jsonpath="{.data.$1}"; }
image() { kubectl -n shop get deployment web -o jsonpath='{.spec.template.spec.containers[0].image}'; }
# The daemon's writes, dry runs left out; helm acts as the same user.
accepted() { ours 'select((.requestURI | contains("dryRun") | not) and .objectRef.namespace == "shop" and .responseStatus.code < 300) | [.verb, .objectRef.resource, .objectRef.name] | join(" ")' | tr -d '"'; }

needs_a_person() { # TITLE WORDS
	local code=0 before
	before=$(history | jq length)
	daemon "$windlass"
	within 240 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "$1 needs a person" same 4 "$code"
	check "the daemon says why" grep -q "$2" "$work/daemon.log"
	made=$(($(history | jq length) - before))
}

installed() {
	plan_of >"$work/plan"
	check "the plan names the release and what it makes" grep -q '+ release/shop/web is added' "$work/plan"
	check "the plan names the kinds that the chart brings" grep -q '+ customresourcedefinition/gadgets.example.com is added' "$work/plan"
	until_idle "$windlass" "${kill9[@]}"
	check "the release is deployed" same "deployed web-1.0.0" "$(newest)"
	check "the values are those of the file" same fast "$(data mode)"
	check "the object of the chart's own kind is there" same 1 "$(kubectl -n shop get gadgets.example.com first -o jsonpath='{.spec.size}')"
	check "all pods run the image" same "example.com/web:1.0.0" "$(kubectl -n shop get pods -o json | jq -r '[.items[].spec.containers[0].image] | unique | join(" ")')"
	plan_of >"$work/plan"
	check "at rest nothing is said of it" same "" "$(grep addon "$work/plan" || true)"
	check "the revision's record says whose it is" same real.web "$(kubectl -n shop get secret sh.helm.release.v1.web.v1 -o jsonpath='{.metadata.labels.windlass\.dev/addon}')"
}

upgraded() {
	local before
	cluster 1.1.0 'chart: addons/web/chart, values: addons/web/values.yaml'
	chart 1.1.0
	values 2 ''
	commit_desired "$work" "real: web 1.1.0"
	before=$(accepted | wc -l)
	plan_of >"$work/plan"
	check "the plan shows the version of the chart" grep -q '^ *- 1.0.0$' "$work/plan"
	check "the plan shows a field that changes" grep -q 'gadget.example.com/shop/first, spec.size' "$work/plan"
	check "the plan says what is drawn anew" grep -q 'drawn anew' "$work/plan"
	check "the plan shows no secret" test -z "$(grep "anybody's eyes" "$work/plan")"
	check "the plan names what helm deletes" grep -q 'configmap/shop/old is deleted' "$work/plan"
	check "a plan writes nothing" same "$before" "$(accepted | wc -l)"
	until_idle "$windlass" "${kill9[@]}"
	check "the release is upgraded" same "deployed web-1.1.0" "$(newest)"
	check "the deployment has the new image" same "example.com/web:1.1.0" "$(image)"
	check "what the chart has no more is gone" same "" "$(kubectl -n shop get configmap old --ignore-not-found -o name)"
	check "the chart was rendered for this Kubernetes" same "$VERSION true" "$(data kubernetes) $(data policy)"
}

packaged() { # VERSION [EXTRA]
	chart "$@"
	"$program" package "$state/addons/web/chart" --destination "$work/charts" >/dev/null
}

# The same chart from a chart repository. What was pulled has to be what was planned.
pulled() {
	local port
	mkdir -p "$work/charts"
	packaged 1.2.0
	packaged 1.2.1 between
	packaged 1.2.2
	"$program" repo index "$work/charts" >/dev/null
	port=$(free_ports 1)
	setsid python3 -m http.server --bind 127.0.0.1 --directory "$work/charts" "$port" >"$work/log/charts" 2>&1 </dev/null &
	started $!
	within 10 curl --silent --fail --output /dev/null "http://127.0.0.1:$port/index.yaml"
	rm -r "$state/addons/web/chart"
	repository="repository: \"http://127.0.0.1:$port\", chart: web, values: addons/web/values.yaml"
	cluster 1.2.0 "$repository"
	commit_desired "$work" "real: web 1.2.0 from its repository"
	until_idle "$windlass" "${kill9[@]}"
	check "the release is upgraded from a repository" same "deployed web-1.2.0" "$(newest)"
	check "the frozen plan has the archive's digest" same "sha256:$(sha256sum "$work/charts/web-1.2.0.tgz" | cut -d' ' -f1)" \
		"$(git_alone -C "$work/repository.git" grep -h 'archive: sha256' windlass/status -- '*/plan.yaml' | sed 's/.*archive: //')"
}

# Two versions in one run, each a revision of its own.
through() {
	cluster 1.2.2 "$repository" ', via: ["1.2.1"]'
	commit_desired "$work" "real: web 1.2.2 by way of 1.2.1"
	plan_of >"$work/plan"
	check "the plan shows what the version between adds" grep -q 'configmap/shop/between is added' "$work/plan"
	check "the plan shows what the version after it deletes" grep -q 'configmap/shop/between is deleted' "$work/plan"
	until_idle "$windlass" "${kill9[@]}"
	check "the release went through the version between" same "superseded web-1.2.1 deployed web-1.2.2" \
		"$(history | jq -r '[.[-2:][] | [.status, .chart] | join(" ")] | join(" ")')"
	check "what only the version between had is gone" same "" "$(kubectl -n shop get configmap between --ignore-not-found -o name)"
	check "the frozen plan has the digest of each archive" same 2 \
		"$(git_alone -C "$work/repository.git" grep -h 'archive: sha256' windlass/status -- '*/plan.yaml' | sort -u |
			grep -c -e "$(sha256sum "$work/charts/web-1.2.1.tgz" | cut -d' ' -f1)" -e "$(sha256sum "$work/charts/web-1.2.2.tgz" | cut -d' ' -f1)")"
}

# What the API server does not take is told before helm is started.
refused() {
	cluster 1.3.0 'chart: addons/web/chart, values: addons/web/values.yaml'
	chart 1.3.0
	printf 'apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 70000}]}\n' >"$state/addons/web/chart/templates/service.yaml"
	commit_desired "$work" "real: a port that does not exist"
	needs_a_person "what the API server refuses" 'does not take service/shop/web: .*70000.*addonRefused'
	check "helm was not started" same 0 "$made"
}

# A hook that never ends.
failed_hook() {
	chart 1.3.0
	values 3 nowhere
	commit_desired "$work" "real: web 1.3.0 with a hook that hangs"
	needs_a_person "a hook that fails" 'helm failed: .*hooks failed.*addonNotRolledOut'
	check "the failed revision is in helm's history" same "failed web-1.3.0" "$(newest)"
	check "the deployment is as before" same "example.com/web:1.2.2" "$(image)"
	values 3 ''
	commit_desired "$work" "real: web 1.3.0 without the hook"
	until_idle "$windlass" "${kill9[@]}"
	check "a commit that mends it ends the halt" same "deployed web-1.3.0" "$(newest)"
}

# Helm and the daemon die while a hook runs.
interrupted() {
	local left=0
	values 4 here
	commit_desired "$work" "real: web with a hook that waits"
	daemon "$windlass"
	within 60 pending
	check "helm is at work" same "pending-upgrade web-1.3.0" "$(newest)"
	kill -9 "$process"
	pkill -9 -f "^$program upgrade web" || left=$?
	check "helm was killed too" same 0 "$left"
	wait "$process" 2>/dev/null || true
	check "the release is left pending" same "pending-upgrade web-1.3.0" "$(newest)"
	kubectl label node w1 hook=here >/dev/null
	until_idle "$windlass"
	check "the release is taken back and upgraded" same "deployed web-1.3.0" "$(newest)"
	check "the log of helm says so" same 1 "$(history | jq '[.[] | select(.description | startswith("Rollback to"))] | length')"
	check "the values are the new ones" same 4 "$(kubectl -n shop get gadgets.example.com first -o jsonpath='{.spec.size}')"
}

pending() { [ "$(history | jq -r '.[-1].status')" = pending-upgrade ]; }

# A person's helm is at work, or was interrupted: it is not touched.
of_somebody_else() {
	local person
	kubectl label node w1 hook- >/dev/null
	values 4 here slow
	"$program" upgrade web "$state/addons/web/chart" -n shop --reset-values --values "$state/addons/web/values.yaml" >/dev/null 2>&1 &
	person=$!
	within 60 pending
	kill -9 "$person"
	wait "$person" 2>/dev/null || true
	values 5 ''
	commit_desired "$work" "real: web after somebody"
	needs_a_person "a pending release of somebody else" 'release/shop/web is pending-upgrade by somebody else.*addonConflict'
	check "it was not touched" same 0 "$made"
	"$program" rollback web "$(history | jq '[.[] | select(.status == "deployed")][-1].revision')" -n shop --no-hooks >/dev/null
	until_idle "$windlass" "${kill9[@]}"
	check "once it has ended the addon moves" same "deployed web-1.3.0 5" "$(newest) $(kubectl -n shop get gadgets.example.com first -o jsonpath='{.spec.size}')"
}

finished() { false; }

# At rest the daemon writes nothing, and tells what somebody changed.
at_rest() {
	local writes tip code=0
	kubectl -n shop patch configmap web --type merge --patch '{"data": {"mode": "mine"}}' >/dev/null
	until_idle "$windlass" "${kill9[@]}"
	check "the status tells what somebody changed" grep -q 'object: configmap/shop/web' \
		<(git_alone -C "$work/repository.git" show windlass/status:real/status.yaml)
	writes=$(accepted | wc -l)
	tip=$(git_alone -C "$work/repository.git" rev-parse windlass/status)
	daemon "$windlass"
	within 60 gone "$process" || kill "$process"
	wait "$process" || code=$?
	check "started again it is idle at once" same 0 "$code"
	check "at rest it writes nothing of the release" same "$writes" "$(accepted | wc -l)"
	check "at rest it writes nothing to git" same "$tip" "$(git_alone -C "$work/repository.git" rev-parse windlass/status)"
	plan_of >"$work/plan"
	check "the plan tells who changed an object" grep -q 'configmap/shop/web is not as applied: changed by kubectl-patch at' "$work/plan"
	check "what somebody changed by hand stays" same mine "$(data mode)"
}

main "$@"
