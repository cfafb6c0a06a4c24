
# ---- the servers: API server, controller manager, scheduler and etcd of this node, as static pods

# kubeadm moves a manifest away and the new one in; cut between the two, it would find one missing and refuse to begin again.
restore_manifests() {
	for each in kube-apiserver kube-controller-manager kube-scheduler etcd; do
		[ ! -f "$manifests/$each.yaml" ] || continue
		kept=$(find /etc/kubernetes/tmp -path "*/kubeadm-backup-manifests-*/$each.yaml" 2>/dev/null | sort | tail -n 1)
		[ -n "$kept" ] || continue
		say "puts back $manifests/$each.yaml from $kept: an upgrade was cut short"
		# Under a name that the kubelet does not read, and then in one move.
		cp -p "$kept" "$manifests/.$each.windlass" || fail "$kept could not be copied"
		mv "$manifests/.$each.windlass" "$manifests/$each.yaml" || fail "$manifests/$each.yaml could not be put back"
	done
}

# kubeadm copies etcd's data beside its manifests before it touches etcd, once for each attempt.
need_room_for_servers() {
	data=0
	[ ! -d /var/lib/etcd ] || data=$(du -skx /var/lib/etcd | awk '{print int($1 / 1024) + 1}')
	need_room /etc/kubernetes $((data + 200)) "kubeadm's copy of etcd ($data MiB) and of the manifests (older ones lie in /etc/kubernetes/tmp)"
	[ ! -d /var/lib/etcd ] || need_room /var/lib/etcd 256 "etcd to go on writing"
}

need_host
control_plane || refuse "this is not a control plane node: it has no static pods of the servers in $manifests"
lock
restore_manifests
if sha256sum --status -c "$state/servers-$target.done" 2>/dev/null; then
	say "done: kubeadm brought these servers to $target before, and their manifests are as it left them"
	exit 0
fi
for each in kube-apiserver kube-controller-manager kube-scheduler; do
	now=$(manifest_version "$each")
	! newer "$now" "$target" || refuse "$each is ${now}, newer than $target: going down takes a restored etcd, not this script"
done
need_cgroup refuse
need_room_for_servers
wait_for_api || refuse "the API server did not answer for 3 minutes"
find_binaries kubeadm

say "servers of this node: $(manifest_version kube-apiserver) to $target"
take kubeadm
upgrade || fail "kubeadm did not finish; it puts back what it cannot bring up, and may be run again"
for each in kube-apiserver kube-controller-manager kube-scheduler; do
	now=$(manifest_version "$each")
	[ "$now" = "$target" ] || fail "kubeadm ended well, but the manifest of $each names $now"
done
sha256sum "$manifests/kube-apiserver.yaml" "$manifests/kube-controller-manager.yaml" "$manifests/kube-scheduler.yaml" >"$state/servers-$target.done"
say "done: the servers of this node are $target"
