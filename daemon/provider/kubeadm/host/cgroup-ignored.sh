
# SystemVerification is ignored, as was asked for; but a kubelet from v1.35 on starts on cgroup v1 only if its own configuration says so.
need_cgroup() {
	[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && return 0
	grep -q '^failCgroupV1: false' /var/lib/kubelet/config.yaml && return 0
	"$1" "this host has cgroup v1, and /var/lib/kubelet/config.yaml does not say failCgroupV1: false: the kubelet of $target would not start"
}
