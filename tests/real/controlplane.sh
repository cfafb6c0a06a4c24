#!/bin/bash
# A real control plane on loopback, without kubelets: etcd, API server, controller manager and scheduler, and KWOK, which keeps
# nodes and pods alive that nobody runs.
#   controlplane.sh up WORK VERSION [PORT]   on six ports from PORT on, or from the first free ones; WORK/kubeconfig is the administrator's, with the context
#                                            $CONTEXT (real); WORK/daemon.kubeconfig is of the user `windlass`, for the audit's sake
#   controlplane.sh down WORK
# WORK/audit.log holds every write and every eviction with its body, WORK/log/ what the servers say.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

up() { # WORK VERSION PORT
	local port=$3
	need openssl
	./binaries.sh servers "$2"
	mkdir -p "$1/pki" "$1/log"
	work=$(cd "$1" && pwd)
	bin=$(cd "$KUBERNETES/$2/bin" && pwd) tools=$(cd "$KUBERNETES/tools" && pwd)
	[ ! -f "$work/processes" ] || die "$work has processes of an earlier run: $0 down $work"
	certificates
	kubeconfig "$work/kubeconfig" admin "$((port + 2))"
	kubeconfig "$work/daemon.kubeconfig" windlass "$((port + 2))"
	audit_policy >"$work/audit.yaml"
	etcd "$port"
	api_server "$port"
	within 60 answers || die "the API server did not come up: $work/log/kube-apiserver"
	controllers "$port"
	kwok "$port"
	say "control plane $2 is up: export KUBECONFIG=$work/kubeconfig PATH=$bin:\$PATH"
}

# Our own API server, and not one that another run left on its port.
answers() { "$bin/kubectl" --kubeconfig "$work/kubeconfig" get --raw /readyz; }

# background NAME COMMAND...: a process of this run, with its log; it outlives this script.
background() {
	local name=$1
	shift
	setsid "$@" >>"$work/log/$name" 2>&1 </dev/null &
	started $!
}

# One authority signs all; administrators are told apart by their names.
certificates() {
	local days=30
	[ ! -f "$work/pki/ca.crt" ] || return 0
	cd "$work/pki"
	openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days $days -subj /CN=windlass-test 2>/dev/null
	openssl genrsa -out accounts.key 2048 2>/dev/null
	certificate server /CN=kube-apiserver
	certificate admin /O=system:masters/CN=admin
	certificate windlass /O=system:masters/CN=windlass
	cd - >/dev/null
}

certificate() { # NAME SUBJECT
	openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -out "$1.crt" \
		-extfile <(echo "subjectAltName=IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc") 2>/dev/null
}

kubeconfig() { # FILE USER PORT
	cat >"$1" <<-YAML
		apiVersion: v1
		kind: Config
		clusters: [{name: local, cluster: {server: "https://127.0.0.1:$3", certificate-authority: $work/pki/ca.crt}}]
		users: [{name: $2, user: {client-certificate: $work/pki/$2.crt, client-key: $work/pki/$2.key}}]
		contexts: [{name: ${CONTEXT:-real}, context: {cluster: local, user: $2}}]
		current-context: ${CONTEXT:-real}
	YAML
}

# Evictions and deletions with their bodies, every other write by name only, no reads.
audit_policy() {
	cat <<-YAML
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [RequestReceived]
		rules:
		  - level: Request
		    resources: [{group: "", resources: [pods/eviction]}]
		  - level: Request
		    verbs: [delete]
		  - level: None
		    verbs: [get, list, watch]
		  - level: Metadata
	YAML
}

etcd() {
	background etcd "$tools/bin/etcd" --data-dir "$work/etcd" --unsafe-no-fsync --log-level warn \
		--listen-client-urls "http://127.0.0.1:$1" --advertise-client-urls "http://127.0.0.1:$1" \
		--listen-peer-urls "http://127.0.0.1:$(($1 + 1))" --initial-advertise-peer-urls "http://127.0.0.1:$(($1 + 1))" \
		--initial-cluster "default=http://127.0.0.1:$(($1 + 1))"
}

api_server() {
	background kube-apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$1" \
		--bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$(($1 + 2))" --cert-dir "$work/pki" \
		--tls-cert-file "$work/pki/server.crt" --tls-private-key-file "$work/pki/server.key" --client-ca-file "$work/pki/ca.crt" \
		--service-account-issuer https://kubernetes.default.svc --service-account-key-file "$work/pki/accounts.key" \
		--service-account-signing-key-file "$work/pki/accounts.key" --service-cluster-ip-range 10.0.0.0/16 \
		--authorization-mode Node,RBAC --allow-privileged=true \
		--audit-policy-file "$work/audit.yaml" --audit-log-path "$work/audit.log" --audit-log-mode blocking
}

# Nobody competes with them: without the election they work at once. Nodes are called dead late: a busy machine starves KWOK, which
# renews their leases, and pods that were called unready with their node stay so.
controllers() {
	background kube-controller-manager "$bin/kube-controller-manager" --kubeconfig "$work/kubeconfig" --leader-elect=false \
		--node-monitor-grace-period 10m --bind-address 127.0.0.1 --secure-port "$(($1 + 3))" --cert-dir "$work/pki/controller-manager" --use-service-account-credentials \
		--service-account-private-key-file "$work/pki/accounts.key" --root-ca-file "$work/pki/ca.crt" --kube-api-qps 300 --kube-api-burst 600
	background kube-scheduler "$bin/kube-scheduler" --kubeconfig "$work/kubeconfig" --leader-elect=false \
		--bind-address 127.0.0.1 --secure-port "$(($1 + 4))" --cert-dir "$work/pki/scheduler" --kube-api-qps 300 --kube-api-burst 600
}

# A pod takes two seconds to be Ready and one to go, so that budgets have something to guard.
kwok() {
	local each
	for each in "$tools"/stages/*.yaml; do
		echo ---
		case $each in
		*/pod-ready.yaml) sed "s/^spec:\$/&\n  delay: {durationMilliseconds: 2000$(length_from ready)}/" "$each" ;;
		# A node with the label `dead` stays as it is.
		*/node-initialize.yaml) sed "s/^    matchExpressions:\$/&\n    - {key: '.metadata.labels.dead', operator: DoesNotExist}/" "$each" ;;
		*/pod-delete.yaml) sed "s/^spec:\$/&\n  delay: {durationMilliseconds: 1000$(length_from end)}/" "$each" ;;
		*/pod-complete.yaml) sed 's/^spec:$/&\n  delay: {durationMilliseconds: 1000}/' "$each" ;;
		*) cat "$each" ;;
		esac
	done >"$work/stages.yaml"
	background kwok "$tools/bin/kwok" --kubeconfig "$work/kubeconfig" --manage-all-nodes=true --node-lease-duration-seconds 40 \
		--config "$work/stages.yaml" --server-address "127.0.0.1:$(($1 + 5))"
}

# length_from WHAT: where a pod says itself how long it takes, in the annotations `bench/ready` and `bench/end`; only with STAGES=bench.
length_from() { [ "${STAGES:-}" != bench ] || echo ", durationFrom: {expressionFrom: '.metadata.annotations[\"bench\/$1\"]'}"; }

case ${1:-} in
up) up "$2" "$3" "${4:-$(free_ports 6)}" ;;
down) end_processes "$(cd "$2" && pwd)" ;;
*) die "usage: $0 up WORK VERSION [PORT] | down WORK" ;;
esac
