#!/bin/bash
# A real kubeadm cluster on this machine: kubelet, containerd, runc, a control plane of static pods, kube-proxy, CoreDNS. Every node is
# a set of namespaces over the files of the host; nothing leaves the machine, and nothing is mocked but systemd. Linux, as root.
#   nodes.sh up WORK VERSION COUNT   node1 is the control plane; WORK/kubeconfig has the context $CONTEXT (real)
#   nodes.sh stage WORK VERSION      puts the next version's binaries into /opt/kubernetes/VERSION and its images onto every node
#   nodes.sh in WORK NODE COMMAND... runs a command inside a node
#   nodes.sh down WORK               ends every process, link and cgroup that `up` made
# SUBNET (172.31.78) and BRIDGE (windlass0) have to differ for two clusters at the same time.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

main() {
	[ "$(id -u)" = 0 ] || die "namespaces and mounts need root"
	case ${1:-} in
	up)
		mkdir -p "$2/nodes"
		printf 'SUBNET=%s BRIDGE=%s\n' "${SUBNET:-172.31.78}" "${BRIDGE:-windlass0}" >"$2/settings"
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
	*) die "usage: $0 up WORK VERSION COUNT | stage WORK VERSION | in WORK NODE COMMAND... | down WORK" ;;
	esac
}

enter() { # WORK
	work=$(cd "$1" && pwd)
	# shellcheck source=/dev/null
	. "$work/settings"
}

address() { echo "$SUBNET.$((10 + ${1#node}))"; }
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
	for each in $(seq "$2"); do boot "node$each" "$1"; done
	first "$1"
	for each in $(seq 2 "$2"); do join "node$each"; done
	for each in $(seq "$2"); do network "node$each"; done
	admin wait --for=condition=Ready node --all --timeout=180s >&2
	admin --namespace kube-system rollout status deployment/coredns --timeout=180s >&2
	inside node1 cat /etc/kubernetes/admin.conf | sed "s/kubernetes-admin@kubernetes/${CONTEXT:-real}/" >"$work/kubeconfig"
	say "cluster $1 is up: export KUBECONFIG=$work/kubeconfig PATH=$KUBERNETES/$1/bin:\$PATH"
}

# boot NAME VERSION: namespaces, a network card, containerd, binaries and images; no Kubernetes yet.
boot() {
	local name=$1 folder=$work/nodes/$1 cable=${BRIDGE}n${1#node} each process
	say "$name boots"
	mkdir -p "$folder"/{upper,overlay,root,node}
	grep /pause: "$KUBERNETES/$2/images.txt" >"$folder/node/pause"
	if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
		ip link add "$BRIDGE" type bridge
		ip address add "$SUBNET.1/24" dev "$BRIDGE"
		ip link set "$BRIDGE" up
	fi
	cgroups "$name" >"$folder/cgroups"
	# Into its cgroups first: the namespace's root is where the process is when it is made.
	(
		while read -r each; do echo "$BASHPID" >"$each/cgroup.procs"; done <"$folder/cgroups"
		exec setsid unshare --mount --net --uts --ipc --pid --cgroup --fork --kill-child \
			./node/init.sh "$folder" "$name" "$(address "$name")" "$SUBNET.1" "$KUBERNETES" >"$folder/init.log" 2>&1 </dev/null
	) &
	process=$!
	within 10 grep -q . "/proc/$process/task/$process/children" || die "$name did not start: $folder/init.log"
	echo "$process" >"$folder/outside"
	tr -d ' ' <"/proc/$process/task/$process/children" >"$folder/process"
	ip link add "$cable" type veth peer name eth0 netns "$(cat "$folder/process")"
	ip link set "$cable" master "$BRIDGE" up
	within 30 inside "$name" ctr version || die "containerd of $name did not start: $folder/node/containerd.log"
	for each in kubeadm kubelet kubectl; do inside "$name" cp --remove-destination "/binaries/$2/bin/$each" "/usr/bin/$each"; done
	import "$name" "$2"
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
		controlPlaneEndpoint: $(address node1):6443
		networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/16}
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
	# shellcheck disable=SC2086  # a command line that kubeadm printed
	inside "$1" $command --node-name "$1" --ignore-preflight-errors=SystemVerification >"$work/join-$1.log" 2>&1 ||
		die "kubeadm join failed: $work/join-$1.log"
	inside "$1" sed -i "s/\"\$/ --node-ip=$(address "$1")\"/" /var/lib/kubelet/kubeadm-flags.env
	inside "$1" systemctl restart kubelet
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
	ip link delete "$BRIDGE" 2>/dev/null || true
	rm -rf "$work/nodes" "$work/settings"
}

main "$@"
