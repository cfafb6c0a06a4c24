
# ---- the kubelet

same_file() { [ "$(stat -Lc %d:%i "$1" 2>/dev/null)" = "$(stat -Lc %d:%i "$2" 2>/dev/null)" ]; }

# The process that runs the kubelet's file as it is now; one that was started before the file was replaced runs another.
kubelet_process() {
	for each in /proc/[0-9]*; do
		if [ "$(cat "$each/comm" 2>/dev/null)" = kubelet ] && same_file "$each/exe" "$kubelet"; then
			echo "${each#/proc/}"
			return 0
		fi
	done
	return 1
}

# Ten seconds of one and the same process: a kubelet that cannot start is restarted by systemd again and again.
wait_for_kubelet() {
	last='' steady=0
	for _ in $(seq 60); do
		process=$(kubelet_process) || process=''
		if [ -n "$process" ] && [ "$process" = "$last" ]; then steady=$((steady + 1)); else steady=0; fi
		[ "$steady" -lt 5 ] || return 0
		last=$process
		sleep 2
	done
	return 1
}

# It is replaced after the kubelet; a run that was cut may have come no further.
kubectl_done() { ! command -v kubectl >/dev/null || [ "$(version_of "$(command -v kubectl)")" = "$target" ]; }

need_host
kubelet=$(command -v kubelet) || refuse "no kubelet is installed on this host"
need_role
now=$(version_of "$kubelet")
! newer "$now" "$target" || refuse "$kubelet is $now, newer than $target: a kubelet is taken down by hand, on an emptied node"
lock
if [ "$(version_of "$kubelet")" = "$target" ] && kubelet_process >/dev/null && kubectl_done; then
	keep_held kubeadm kubelet kubectl
	say "done: the kubelet runs $target already"
	exit 0
fi
need_servers
need_cgroup refuse
need_room "${kubelet%/*}" 400 "the new binaries beside the ones before"
need_room "$state" 50 "the log of this"
need_binaries

say "kubelet of this node: $now to $target"
configure
need_cgroup fail
take kubelet kubectl
say "restarts the kubelet"
run systemctl daemon-reload || fail "systemd could not read its units again"
run systemctl restart kubelet || fail "the kubelet could not be restarted; see: journalctl -u kubelet"
wait_for_kubelet || fail "the kubelet of $target does not stay up; see: journalctl -u kubelet. The one before it is $kubelet.windlass-previous where it came from a folder"
say "done: the kubelet runs $target"
