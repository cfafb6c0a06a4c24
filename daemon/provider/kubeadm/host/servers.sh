
# ---- the servers: API server, controller manager, scheduler and etcd of this node, as static pods

# kubeadm moves a manifest away and the new one in; cut between the two, it would find one missing and refuse to begin again.
# It never removes what it kept, so an old folder may hold what a person took away since. Nothing is put back before everything is
# known to be right.
restore_manifests() {
	lost=
	for each in kube-apiserver kube-controller-manager kube-scheduler etcd; do
		[ ! -f "$manifests/$each.yaml" ] || continue
		if [ "$each" = etcd ]; then
			uses_own_etcd || continue
		fi
		need_kept "$each"
		lost="$lost $each"
	done
	for each in $lost; do
		say "puts back $manifests/$each.yaml from $kept: an upgrade was cut short"
		changed=yes
		# Under a name that the kubelet does not read, and then in one move.
		cp -p "$kept/$each.yaml" "$manifests/.$each.windlass" || fail "$kept/$each.yaml could not be copied"
		mv "$manifests/.$each.windlass" "$manifests/$each.yaml" || fail "$manifests/$each.yaml could not be put back"
	done
}

# Whether the API server of this node keeps its data in an etcd on this host; its manifest may be what is lost.
uses_own_etcd() {
	newest_kept
	server=$manifests/kube-apiserver.yaml
	[ -f "$server" ] || server=$kept/kube-apiserver.yaml
	grep -Eqs -e '--etcd-servers=.*https?://(127\.0\.0\.1|\[::1\]|localhost):' "$server"
}

# The newest of kubeadm's own folders; each attempt makes one, named after its time.
newest_kept() { kept=$(find /etc/kubernetes/tmp -maxdepth 1 -type d -name 'kubeadm-backup-manifests-*' 2>/dev/null | sort | tail -n 1); }

# The manifest that the last attempt took away. It is refused where it is not of this upgrade: not in the newest folder, older than a
# week, or of another version than its neighbours have or had.
need_kept() {
	newest_kept
	by_hand="put the right $1.yaml into $manifests by hand, or take the node out of the cluster"
	[ -f "$kept/$1.yaml" ] || refuse "$manifests/$1.yaml is missing, and the last attempt of kubeadm did not keep it: $by_hand"
	made=$(printf '%s\n' "${kept##*kubeadm-backup-manifests-}" | cut -c 1-10)
	[ "$(printf '%s\n' "$made" "$(date -d '7 days ago' +%F)" | sort | head -n 1)" != "$made" ] || refuse "$manifests/$1.yaml is missing, and $kept is older than a week: $by_hand"
	if [ "$1" = etcd ]; then
		need_kept_of_this_upgrade
		return 0
	fi
	was=$(version_in "$kept/$1.yaml")
	for other in kube-apiserver kube-controller-manager kube-scheduler; do
		has=$(manifest_version "$other")
		# kubeadm brought it to the target already.
		[ "$has" != "$target" ] || has=$(version_in "$kept/$other.yaml")
		[ -z "$has" ] || [ "$has" = "$was" ] || refuse "$manifests/$1.yaml is missing, and $kept/$1.yaml is $was while $other is $has: $by_hand"
	done
	[ -n "$was" ] || refuse "$manifests/$1.yaml is missing, and $kept/$1.yaml names no version: $by_hand"
	! newer "$was" "$target" || refuse "$manifests/$1.yaml is missing, and $kept/$1.yaml is $was: $by_hand"
}

# etcd has versions of its own, so its neighbours tell whether kubeadm kept it in this upgrade. kubeadm brings etcd to its
# version first: once the API server has the target, what was kept is an etcd of before.
need_kept_of_this_upgrade() {
	[ "$(manifest_version kube-apiserver)" != "$target" ] || refuse "$manifests/etcd.yaml is missing, and $kept/etcd.yaml is older than the API server, which is $target: $by_hand"
	for other in kube-apiserver kube-controller-manager kube-scheduler; do
		has=$(manifest_version "$other")
		had=$(version_in "$kept/$other.yaml")
		[ -z "$has" ] || [ -z "$had" ] || [ "$has" = "$had" ] || refuse "$manifests/etcd.yaml is missing, and $kept is of the upgrade of $other from $had, which is $has now: $by_hand"
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
restore_manifests
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
