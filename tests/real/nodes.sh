#!/bin/bash
# A real kubeadm cluster on this machine: kubelet, containerd, runc, a control plane of static pods, kube-proxy, CoreDNS. Every node is
# a set of namespaces over the files of the host; nothing leaves the machine, and nothing is mocked but systemd. Linux, as root.
#   nodes.sh possible                whether this machine can hold such a cluster; says in a sentence why not
#   nodes.sh up WORK VERSION COUNT   the first $CONTROL_PLANES (1) of the nodes are its control plane, with an etcd member each. WORK/kubeconfig
#                                    has the context $CONTEXT (real); WORK/daemon.kubeconfig is of the user `windlass`, for the audit's sake
#   nodes.sh stage WORK VERSION      puts the next version's binaries into /opt/kubernetes/VERSION and its images onto every node
#   nodes.sh in WORK NODE COMMAND... runs a command inside a node
#   nodes.sh down WORK               ends every process, link and cgroup that `up` made
# SUBNET (172.31.78) and BRIDGE (windlass0) have to differ for two clusters at the same time. Several control plane nodes have one
# address, SUBNET.10: a haproxy in a network namespace of its own. Each API server writes WORK/nodes/NODE/node/audit/log.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

main() {
	case ${1:-} in
	possible) possible ;;
	up)
		possible
		mkdir -p "$2/nodes"
		printf 'SUBNET=%s BRIDGE=%s CONTROL_PLANES=%s\n' "${SUBNET:-172.31.78}" "${BRIDGE:-windlass0}" "${CONTROL_PLANES:-1}" >"$2/settings"
		enter "$2"
		up "$3" "$4"
		;;
	stage)
		enter "$2"
		stage "$3"
		;;
	in)
		enter "$2"
		shift 2
		inside "$@"
		;;
	down)
		[ -f "$2/settings" ] || exit 0
		enter "$2"
		down
		;;
	*) die "usage: $0 possible | up WORK VERSION COUNT | stage WORK VERSION | in WORK NODE COMMAND... | down WORK" ;;
	esac
}

enter() { # WORK
	work=$(cd "$1" && pwd)
	# shellcheck source=/dev/null
	. "$work/settings"
}

# What would otherwise fail in the middle, with words that only the kernel understands.
possible() {
	local each
	[ "$(uname -s)" = Linux ] || die "a kubeadm node is Linux, and this machine is not"
	[ "$(id -u)" = 0 ] || die "namespaces and mounts need root, and this is $(id -un)"
	need ip unshare nsenter jq curl
	command -v dpkg >/dev/null || die "the nodes are made of this machine's Debian packages (containerd, runc, iptables), and it has no dpkg"
	unshare --mount --net --uts --ipc --pid --cgroup --fork true 2>/dev/null || die "this machine does not let root make namespaces, as in a container without privileges"
	each=$(mktemp -d)
	mkdir "$each"/{upper,work,root}
	unshare --mount mount -t overlay overlay -o "lowerdir=/,upperdir=$each/upper,workdir=$each/work" "$each/root" 2>/dev/null || {
		rm -rf "$each"
		die "this machine does not mount an overlay over its root, which each node is made of"
	}
	rm -rf "$each"
	unshare --net ip link add windlass0 type bridge 2>/dev/null || die "this machine's kernel makes no network bridge"
}

address() { echo "$SUBNET.$((10 + ${1#node}))"; }
# Where clients find the API: the one server itself, or what stands before all of them.
front() { if [ "$CONTROL_PLANES" = 1 ]; then address node1; else echo "$SUBNET.10"; fi; }
control_plane() { [ "${1#node}" -le "$CONTROL_PLANES" ]; }
inside() { # NODE COMMAND...
	local process
	process=$(cat "$work/nodes/$1/process")
	shift
	nsenter -t "$process" -m -n -p -u -i -C -w env -i HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
admin() { inside node1 kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }

# ---- up

up() { # VERSION COUNT
	local each
	./binaries.sh node "$1"
	KUBERNETES=$(cd "$KUBERNETES" && pwd)
	wire
	[ "$CONTROL_PLANES" = 1 ] || balance
	for each in $(seq "$2"); do boot "node$each" "$1"; done
	first "$1"
	for each in $(seq 2 "$2"); do join "node$each"; done
	for each in $(seq "$2"); do network "node$each"; done
	admin wait --for=condition=Ready node --all --timeout=180s >&2
	admin --namespace kube-system rollout status deployment/coredns --timeout=180s >&2
	admin --namespace kube-system wait --for=condition=Ready pod --all --timeout=180s >&2
	inside node1 cat /etc/kubernetes/admin.conf | sed "s/kubernetes-admin@kubernetes/${CONTEXT:-real}/" >"$work/kubeconfig"
	inside node1 kubeadm kubeconfig user --client-name windlass --org system:masters --config /node/kubeadm.yaml 2>/dev/null |
		sed "s/windlass@kubernetes/${CONTEXT:-real}/" >"$work/daemon.kubeconfig"
	say "cluster $1 is up: export KUBECONFIG=$work/kubeconfig PATH=$KUBERNETES/$1/bin:\$PATH"
}

# The wire that all nodes are on.
wire() {
	! ip link show "$BRIDGE" >/dev/null 2>&1 || die "there is a bridge $BRIDGE already: another cluster is up, or set BRIDGE and SUBNET"
	ip link add "$BRIDGE" type bridge
	ip address add "$SUBNET.1/24" dev "$BRIDGE"
	ip link set "$BRIDGE" up
}

# One address for several API servers. A server is asked for /readyz, because one that starts accepts connections long before it
# serves; two bad answers take it out, because a single one may be this machine's load, and its connections are cut, so that no
# watch hangs on a server that is gone. Whoever meets a refused connection goes to the next server.
balance() {
	local each
	say "$(front): haproxy before $CONTROL_PLANES API servers"
	{
		cat <<-TEXT
			global
			  log stdout format iso local0 notice
			defaults
			  mode tcp
			  log global
			  timeout connect 2s
			  timeout check 2s
			  timeout client 1d
			  timeout server 1d
			  option redispatch 1
			listen api
			  bind :6443
			  balance leastconn
			  option httpchk GET /readyz
			  http-check expect status 200
			  default-server check check-ssl verify none inter 1s fastinter 500ms downinter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
		TEXT
		for each in $(seq "$CONTROL_PLANES"); do echo "  server node$each $(address "node$each"):6443"; done
	} >"$work/haproxy.cfg"
	ip netns add "$BRIDGE"
	ip link add "${BRIDGE}front" type veth peer name eth0 netns "$BRIDGE"
	ip link set "${BRIDGE}front" master "$BRIDGE" up
	ip -netns "$BRIDGE" address add "$(front)/24" dev eth0
	ip -netns "$BRIDGE" link set eth0 up
	ip -netns "$BRIDGE" route add default via "$SUBNET.1"
	setsid ip netns exec "$BRIDGE" haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 </dev/null &
	started $!
	within 10 bash -c "exec 3<>/dev/tcp/$(front)/6443" || die "haproxy did not start: $work/haproxy.log"
}

# boot NAME VERSION: namespaces, a network card, containerd, binaries and images; no Kubernetes yet.
boot() {
	local name=$1 folder=$work/nodes/$1 cable=${BRIDGE}n${1#node} each process
	say "$name boots"
	mkdir -p "$folder"/{upper,overlay,root,node}
	grep /pause: "$KUBERNETES/$2/images.txt" >"$folder/node/pause"
	cgroups "$name" >"$folder/cgroups"
	# Into its cgroups first: the namespace's root is where the process is when it is made.
	(
		while read -r each; do echo "$BASHPID" >"$each/cgroup.procs"; done <"$folder/cgroups"
		exec setsid unshare --mount --net --uts --ipc --pid --cgroup --fork --kill-child \
			./node/init.sh "$folder" "$name" "$(address "$name")" "$SUBNET.1" "$KUBERNETES" >"$folder/init.log" 2>&1 </dev/null
	) &
	process=$!
	echo "$process" >"$folder/outside"
	within 10 first_process "$process" "$folder/process" || die "$name did not start: $folder/init.log"
	ip link add "$cable" type veth peer name eth0 netns "$(cat "$folder/process")"
	ip link set "$cable" master "$BRIDGE" up
	within 30 inside "$name" ctr version || die "containerd of $name did not start: $folder/node/containerd.log"
	for each in kubeadm kubelet kubectl; do inside "$name" cp --remove-destination "/binaries/$2/bin/$each" "/usr/bin/$each"; done
	import "$name" "$2"
	mkdir -p "$folder/node/audit"
	audit_policy >"$folder/node/audit/policy.yaml"
}

# first_process OUTSIDE FILE: writes down the process that is pid 1 of a node. A child that is still of this machine is another one.
first_process() {
	local each children=()
	read -ra children <"/proc/$1/task/$1/children" || true
	for each in "${children[@]}"; do
		[ "$(readlink "/proc/$each/ns/net")" = "$(readlink /proc/self/ns/net)" ] || echo "$each" >"$2"
	done
	[ -s "$2" ]
}

# Of the daemon: every write, and the bodies of those that say what they are for.
audit_policy() {
	cat <<-YAML
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [RequestReceived]
		rules:
		  - level: None
		    verbs: [get, list, watch]
		  - level: Request
		    users: [windlass]
		    resources: [{group: "", resources: [nodes, pods/eviction]}]
		  - level: Metadata
		    users: [windlass]
		  - level: None
	YAML
}

# One cgroup of the node's own in each hierarchy of this machine, below our own; printed, one a line.
cgroups() { # NAME
	local hierarchies path folder
	if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
		mkdir -p "/sys/fs/cgroup/$BRIDGE-$1"
		echo "/sys/fs/cgroup/$BRIDGE-$1"
		return
	fi
	while IFS=: read -r _ hierarchies path; do
		[ -n "$hierarchies" ] || continue
		folder=/sys/fs/cgroup/${hierarchies#name=}${path%/}/$BRIDGE-$1
		mkdir -p "$folder"
		if [ "$hierarchies" = cpuset ]; then
			cat "$folder/../cpuset.cpus" >"$folder/cpuset.cpus"
			cat "$folder/../cpuset.mems" >"$folder/cpuset.mems"
		fi
		echo "$folder"
	done </proc/self/cgroup
}

import() { # NAME VERSION
	local each
	for each in "$KUBERNETES/$2"/images/*.tar; do
		inside "$1" ctr --namespace k8s.io images import "/binaries/$2/images/${each##*/}" >/dev/null
	done
}

first() { # VERSION
	say "node1: kubeadm init $1"
	cat >"$work/nodes/node1/node/kubeadm.yaml" <<-YAML
		apiVersion: kubeadm.k8s.io/v1beta4
		kind: InitConfiguration
		localAPIEndpoint: {advertiseAddress: $(address node1), bindPort: 6443}
		nodeRegistration:
		  name: node1
		  criSocket: unix:///run/containerd/containerd.sock
		  kubeletExtraArgs: [{name: node-ip, value: $(address node1)}]
		---
		apiVersion: kubeadm.k8s.io/v1beta4
		kind: ClusterConfiguration
		kubernetesVersion: $1
		controlPlaneEndpoint: $(front):6443
		networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/16}
		apiServer:
		  extraArgs: [{name: audit-policy-file, value: /audit/policy.yaml}, {name: audit-log-path, value: /audit/log}]
		  extraVolumes: [{name: audit, hostPath: /node/audit, mountPath: /audit, pathType: Directory}]
		---
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		cgroupDriver: cgroupfs
		failCgroupV1: false
		imageGCHighThresholdPercent: 100
		evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%", memory.available: 100Mi}
		---
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: iptables
		conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
	YAML
	inside node1 kubeadm init --config /node/kubeadm.yaml --ignore-preflight-errors=SystemVerification >"$work/init.log" 2>&1 ||
		die "kubeadm init failed: $work/init.log"
}

join() { # NAME
	local command
	say "$1: kubeadm join"
	command=$(inside node1 kubeadm token create --print-join-command 2>/dev/null)
	if control_plane "$1"; then
		authorities "$1"
		command="$command --control-plane --apiserver-advertise-address $(address "$1")"
	fi
	# shellcheck disable=SC2086  # a command line that kubeadm printed
	inside "$1" $command --node-name "$1" --ignore-preflight-errors=SystemVerification >"$work/join-$1.log" 2>&1 ||
		die "kubeadm join failed: $work/join-$1.log"
	inside "$1" sed -i "s/\"\$/ --node-ip=$(address "$1")\"/" /var/lib/kubelet/kubeadm-flags.env
	inside "$1" systemctl restart kubelet
}

# What all control plane nodes share: the keys that they sign with. Every other certificate kubeadm makes on the node.
authorities() { # NAME
	inside "$1" mkdir -p /etc/kubernetes/pki
	inside node1 tar -C /etc/kubernetes/pki -c ca.crt ca.key sa.key sa.pub front-proxy-ca.crt front-proxy-ca.key etcd/ca.crt etcd/ca.key |
		inside "$1" tar -C /etc/kubernetes/pki -x
}

# A bridge for the node's pods, and routes between the nodes: all the network that a cluster on one wire needs.
network() { # NAME
	local range other
	within 60 has_range "$1" || die "$1 has no range of pod addresses"
	range=$(range "$1")
	echo "$range" >"$work/nodes/$1/range"
	cat >"$work/nodes/$1/node/10-pods.conflist" <<-JSON
		{"cniVersion": "0.4.0", "name": "pods", "plugins": [
		  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
		   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$range"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
		  {"type": "portmap", "capabilities": {"portMappings": true}}]}
	JSON
	inside "$1" cp /node/10-pods.conflist /etc/cni/net.d/
	for other in "$work"/nodes/*; do
		other=${other##*/}
		if [ "$other" = "$1" ] || [ ! -s "$work/nodes/$other/range" ]; then continue; fi
		inside "$other" ip route replace "$range" via "$(address "$1")"
		inside "$1" ip route replace "$(cat "$work/nodes/$other/range")" via "$(address "$other")"
	done
}
range() { admin get node "$1" --output 'jsonpath={.spec.podCIDR}'; }
has_range() { [ -n "$(range "$1")" ]; }

# ---- the next version

stage() { # VERSION
	local each
	./binaries.sh node "$1"
	KUBERNETES=$(cd "$KUBERNETES" && pwd)
	for each in "$work"/nodes/*; do
		each=${each##*/}
		say "$each: stages $1"
		import "$each" "$1"
		inside "$each" mkdir -p "/opt/kubernetes/$1"
		inside "$each" cp "/binaries/$1/bin/kubeadm" "/binaries/$1/bin/kubelet" "/binaries/$1/bin/kubectl" "/opt/kubernetes/$1/"
	done
}

# ---- down

down() {
	local folder cgroup
	end_processes "$work"
	for folder in "$work"/nodes/*; do
		[ -d "$folder" ] || continue
		# Pid 1 of the node: with it the kernel ends all that is in there.
		kill -9 "$(cat "$folder/process")" 2>/dev/null || true
		within 10 gone "$(cat "$folder/outside")" || true
		ip link delete "${BRIDGE}n${folder##*/node}" 2>/dev/null || true
		while read -r cgroup; do
			[ ! -d "$cgroup" ] || within 5 find "$cgroup" -depth -type d -exec rmdir {} + || true
		done <"$folder/cgroups"
	done
	ip link delete "${BRIDGE}front" 2>/dev/null || true
	ip netns delete "$BRIDGE" 2>/dev/null || true
	ip link delete "$BRIDGE" 2>/dev/null || true
	rm -rf "$work/nodes" "$work/settings"
}

main "$@"
