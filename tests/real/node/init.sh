#!/bin/bash
# Pid 1 of a test node, started in namespaces of its own: makes a root of the host's files and what the node changes, then keeps
# containerd and the kubelet running as systemd would.
#   init.sh FOLDER NAME ADDRESS GATEWAY BINARIES
set -euo pipefail
folder=$1 name=$2 address=$3 gateway=$4 binaries=$5
here=$(cd "$(dirname "$0")" && pwd)
root=$folder/root

mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/overlay" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"

# The cgroup namespace shows the node its own part of every hierarchy.
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
	# Not seen on such a host yet. A cgroup that hands controllers on may hold no process itself.
	mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
	mkdir -p "$root/sys/fs/cgroup/init"
	while read -r each; do echo "$each" >"$root/sys/fs/cgroup/init/cgroup.procs" || true; done <"$root/sys/fs/cgroup/cgroup.procs"
	sed 's/^\| / +/g' "$root/sys/fs/cgroup/cgroup.controllers" >"$root/sys/fs/cgroup/cgroup.subtree_control"
else
	mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
	cut -d: -f2 /proc/self/cgroup | while read -r hierarchy; do
		[ -n "$hierarchy" ] || continue
		mkdir "$root/sys/fs/cgroup/${hierarchy#name=}"
		options=$hierarchy
		[ "$hierarchy" = "${hierarchy#name=}" ] || options=none,$hierarchy
		mount -t cgroup -o "$options" cgroup "$root/sys/fs/cgroup/${hierarchy#name=}"
	done
fi

# An overlay cannot lie on an overlay, and etcd wants a plain file system.
for each in containerd kubelet etcd; do
	mkdir -p "$folder/var-lib-$each" "$root/var/lib/$each"
	mount --bind "$folder/var-lib-$each" "$root/var/lib/$each"
done
mkdir -p "$root/binaries" "$root/node"
mount --bind "$binaries" "$root/binaries"
mount --bind "$folder/node" "$root/node"

# The kubelet writes settings of the whole machine: it gets files of its own in their place.
for each in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
	mkdir -p "$folder/sysctl/${each%/*}"
	cat "/proc/sys/$each" >"$folder/sysctl/$each"
	mount --bind "$folder/sysctl/$each" "$root/proc/sys/$each"
done

install -m 0755 "$here/systemctl" "$here/systemd-run" "$folder/node/"
mkdir -p "$root/old"
cd "$root"
pivot_root . old
cd /
umount -l /old
rmdir /old
mount --make-rshared /

hostname "$name"
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >/etc/hosts
# Nobody answers there: nothing is looked up outside.
echo "nameserver $gateway" >/etc/resolv.conf
rm -f /etc/machine-id
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done
ip address add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables || true

mkdir -p /etc/cni/net.d /etc/containerd /run/lock /run/units
rm -f /etc/cni/net.d/* /usr/bin/systemctl /usr/bin/systemd-run
ln -s /node/systemctl /node/systemd-run /usr/bin/
cat >/etc/containerd/config.toml <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$(cat /node/pause)"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

kubelet() {
	KUBELET_KUBEADM_ARGS=
	# shellcheck source=/dev/null
	[ ! -f /var/lib/kubelet/kubeadm-flags.env ] || . /var/lib/kubelet/kubeadm-flags.env
	# shellcheck disable=SC2086  # a list of flags
	exec /usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
		--config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
}
containerd() { exec /usr/bin/containerd; }

keep() { # UNIT: starts it again whenever it has ended and is wanted
	while :; do
		if [ -e "/run/units/$1.on" ]; then
			(
				echo "$BASHPID" >"/run/units/$1.pid"
				"$1"
			) >>"/node/$1.log" 2>&1 || true
		fi
		sleep 0.5
	done
}
touch /run/units/containerd.on
keep containerd &
keep kubelet &
while :; do
	sleep 3600 &
	wait $! || true
done
