
# ---- words, and how it ends: 0 done, 10 refused before anything was changed, anything else failed midway

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root
LC_ALL=C
export PATH HOME LC_ALL
umask 022
cd /
state=/var/lib/windlass
manifests=/etc/kubernetes/manifests
doing='beginning' ended=no changed=no

say() {
	doing=$*
	printf '%s windlass: %s\n' "$(date -u +%H:%M:%SZ)" "$*"
}
# Only a host that is as it was found may be called refused.
refuse() {
	[ "$changed" = no ] || fail "$*"
	ended=yes
	printf '%s windlass: refused: %s; nothing was changed\n' "$(date -u +%H:%M:%SZ)" "$*"
	exit 10
}
fail() {
	ended=yes
	printf '%s windlass: failed: %s\n' "$(date -u +%H:%M:%SZ)" "$*"
	exit 1
}
# A command that fails where nobody expects it ends the script with that command's code, which might be 10 as well.
trap 'code=$?; [ "$code" = 0 ] || [ "$ended" = yes ] || { printf "%s windlass: failed: exit code %s at: %s\n" "$(date -u +%H:%M:%SZ)" "$code" "$doing"; exit 1; }' EXIT

# Runs a command, shows it and its output, indented, and keeps its exit code.
run() {
	say "runs $*"
	{
		code=0
		"$@" 2>&1 </dev/null || code=$?
		echo "$code" >"$state/exit"
	} | sed -u "s/$(printf '\033')\[[0-9;]*m//g; s/^/    /" | tee "$state/said"
	return "$(cat "$state/exit")"
}

# Runs a command of a package manager. Another one may hold a lock that apt does not wait for by itself (that of its lists, and
# of its downloads); a machine's own daily update holds it for minutes.
run_when_free() {
	for _ in $(seq 30); do
		! run "$@" || return 0
		[ -n "$(lock_held)" ] || return 1
		say "another package manager is at work on this host: tries again in 10 seconds"
		sleep 10
	done
	return 1
}
lock_held() { grep -E 'Could not get lock|Unable to (lock|acquire)|transaction lock|locked by another process|database (area )?is locked' "$state/said" | head -n 1 | sed 's/^ *//'; }

# ---- what is true of this host

# `v1.36.3`, of a binary of ours by its path.
version_of() {
	case $1 in
	*kubeadm) "$1" version -o short ;;
	*kubectl) "$1" version --client 2>/dev/null | sed -n 's/^Client Version: //p' ;;
	*) "$1" --version | sed -n 's/^Kubernetes //p' ;;
	esac
}

# The tag of a static pod's image, as its manifest has it.
manifest_version() { version_in "$manifests/$1.yaml"; }
version_in() { sed -n 's/^ *image: .*:\(v[0-9][^@"]*\).*$/\1/p' "$1" 2>/dev/null | head -n 1; }

control_plane() {
	[ -f $manifests/kube-apiserver.yaml ] || [ -f $manifests/kube-controller-manager.yaml ] || [ -f $manifests/kube-scheduler.yaml ]
}

# Whether the first version is newer than the second; a candidate comes before its release.
newer() {
	[ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sed 's/-/~/' | sort -V | tail -n 1 | sed 's/~/-/')" = "$1" ]
}

# `v1.36` of a version, whatever a vendor appended.
minor_of() { printf '%s\n' "$1" | sed 's/^\(v[0-9]*\.[0-9]*\).*/\1/'; }

need_host() {
	[ "$(id -u)" = 0 ] || refuse "this has to run as root, and runs as $(id -un)"
	[ -f /etc/kubernetes/kubelet.conf ] || refuse "this is not a node that kubeadm made: it has no /etc/kubernetes/kubelet.conf"
	mkdir -p "$state"
}

# At least so many MiB free where a path lies or will lie.
need_room() {
	place=$1
	while [ ! -e "$place" ] && [ "$place" != / ]; do place=$(dirname "$place"); done
	free=$(df -Pk "$place" | awk 'NR == 2 {print int($4 / 1024)}')
	[ "${free:-0}" -ge "$2" ] || refuse "$1 has $free MiB free and needs $2 MiB for $3"
}

# Two of these never work on one host at the same time. The kernel releases the lock when its last holder has gone: kubeadm holds it
# with us, because it may outlive a script that was killed; package managers do not, because they start what outlives them.
lock() {
	exec 9>>"$state/lock"
	if ! flock -n 9; then
		say "waits for $(cat "$state/lock.holder" 2>/dev/null || echo another upgrade), which is at work on this host"
		flock -w 600 9 || refuse "another upgrade has been at work on this host for 10 minutes"
	fi
	echo "$title" >"$state/lock.holder"
}

as_kubelet() { kubectl --kubeconfig=/etc/kubernetes/kubelet.conf --request-timeout=5s "$@" 2>/dev/null; }

# The API is away for moments while other control plane nodes move: three good answers, two seconds apart.
wait_for_api() {
	command -v kubectl >/dev/null || return 0
	say "waits until the API server answers"
	good=0
	for _ in $(seq 90); do
		if as_kubelet get --raw=/readyz >/dev/null; then good=$((good + 1)); else good=0; fi
		[ "$good" -lt 3 ] || return 0
		sleep 2
	done
	return 1
}
