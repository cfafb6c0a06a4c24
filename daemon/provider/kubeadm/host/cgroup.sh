
# From v1.35 on, kubeadm and the kubelet refuse cgroup v1 unless they are told otherwise.
need_cgroup() {
	[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && return 0
	"$1" "this host has cgroup v1, which $target does not start on: move it to cgroup v2, or list SystemVerification under ignorePreflightErrors"
}
