# shellcheck shell=bash
# What has to have been true all along while a kubeadm cluster was upgraded, from what was written down beside the run: by the hosts'
# systemd (units), by `watch.sh` (system, kubeadm, members), by the probes (answers), by the API servers (audit). Sourced, never run.
# It does not know the daemon's record, log or Jobs.

# What a script that sources this has to set: the names of the control plane nodes and of the last worker, and the version at the end.
: "${work:=}" "${last:=}" "${TO:=}" "${took:=0}"
[ -n "${control_plane+set}" ] || control_plane=()

verify_order() {
	local each
	for each in "$work"/nodes/*; do
		[ ! -f "$each/node/units" ] || sed "s/ / ${each##*/} /" "$each/node/units"
	done | sort -n >"$work/units"
	check "every node's turn came ($(grep -c begin "$work/units") units)" same "$(
		printf '%s windlass-control-plane\n' "${control_plane[@]}"
		printf '%s windlass-kubelet\n' "${control_plane[@]}" "node$((CONTROL_PLANES + 1))" "$last"
	)" "$(awk '$3 == "begin" {sub("-v[0-9].*", "", $4); print $2, $4}' "$work/units" | sort -u | sort -k 2,2 -k 1,1)"
	check "kubeadm was never at work on two control plane nodes at once ($(wc -l <"$work/kubeadm") changes)" same "" "$(awk 'NF > 2' "$work/kubeadm")"
	check "it was seen at work on each" same "${control_plane[*]}" "$(awk '{for (i = 2; i <= NF; i++) print $i}' "$work/kubeadm" | sort -u | paste -s -d ' ')"
	check "no unit began on a node while one was at work on another" same "" "$(overlapping)"
	check "each control plane node was whole and of the target before the next began" same "" "$(begun_too_early)"
	check "no member of etcd was away but the one being moved" same "" "$(members_away)"
	check "the other members of etcd had a leader again within 10 s (longest: $(without_leader) s)" test "$(without_leader | cut -d. -f1)" -lt 10
}

# Control plane nodes never beside each other; a worker beside none of them.
overlapping() {
	awk -v most="$CONTROL_PLANES" '{
		each = substr($2, 5) <= most
		if ($3 == "begin") { for (other in at) if (at[other] && other != $2 && (each || substr(other, 5) <= most)) print $2 " " $4 " beside " other " " at[other]; at[$2] = $4 }
		else at[$2] = ""
	}' "$work/units"
}

# At each begin: every server of every other control plane node is Ready, and of the target where it has been moved; and before
# the first kubelet of the new minor every API server is.
begun_too_early() {
	{
		awk '{print $0, "pod"}' "$work/system"
		awk '$3 == "begin" {print $1, $2, $4, "", "begin"}' "$work/units"
	} | sort -n | awk -v nodes="${control_plane[*]}" -v images="$(paste -s -d ' ' "$KUBERNETES/$TO/images.txt")" '
		BEGIN {
			count = split(nodes, node); kinds = split("kube-apiserver kube-controller-manager kube-scheduler etcd", kind)
			split(images, list, " "); for (each in list) { name = list[each]; sub(".*/", "", name); sub(":.*", "", name); target[name] = list[each] }
		}
		$NF == "pod" { image[$2] = $3; state[$2] = $4; next }
		{
			kubelet = $3 ~ /kubelet/
			for (n = 1; n <= count; n++) for (k = 1; k <= kinds; k++) {
				pod = kind[k] "-" node[n]
				if (node[n] != $2 && state[pod] != "Ready") print "at " strftime("%T", $1) " " $3 " began on " $2 ", and " pod " was " (state[pod] ? state[pod] " Ready" : "not seen")
				if ((node[n] != $2 && moved[node[n]] || kubelet) && image[pod] != target[kind[k]]) print "at " strftime("%T", $1) " " $3 " began on " $2 ", and " pod " was " image[pod]
			}
			if (!kubelet) moved[$2] = 1
		}'
}

# Lines of members and of begins on control plane nodes, in the order of time.
members_and_begins() {
	{
		cat "$work/members"
		awk -v most="$CONTROL_PLANES" '$3 == "begin" && substr($2, 5) <= most {print $1, $2, "begin"}' "$work/units"
	} | sort -n
}

members_away() {
	members_and_begins | awk '
		$3 == "begin" { moved = $2; for (each in state) look(each, $1); next }
		{ state[$2] = $3; look($2, $1) }
		function look(member, at) { if (state[member] == "away" && member != moved) print strftime("%T", at) " " member " is away while " (moved ? moved : "nobody") " is moved" }'
}

# The longest time in seconds for which a member that was not being moved could not read with the others' consent.
without_leader() {
	members_and_begins | awk '
		$3 == "begin" { moved = $2; next }
		$3 == "quorum" { if (since[$2] && $2 != moved && $1 - since[$2] > longest) longest = $1 - since[$2]; since[$2] = 0; next }
		!since[$2] { since[$2] = $1 }
		END { printf "%.1f\n", longest }'
}

verify_audit() {
	audit
	verify_evictions 2
	check "two nodes of the control plane were never claimed at once" same "" "$(ours '
		select(.objectRef.resource == "nodes" and .responseStatus.code == 200 and (.requestObject.metadata.annotations | type == "object" and has("windlass.dev/claim"))) |
		[.requestReceivedTimestamp, .objectRef.name, .requestObject.metadata.annotations["windlass.dev/claim"] != null]' |
		jq -rs --arg nodes "${control_plane[*]}" '($nodes | split(" ")) as $nodes | sort | reduce .[] as [$at, $node, $claimed] ({held: [], both: []};
			if ($nodes | index($node)) == null then . elif $claimed then .held = (.held + [$node] | unique) else .held -= [$node] end |
			if (.held | length) > 1 then .both += ["\($at) \(.held)"] else . end) | .both[]')"
}

# Each API server writes what it has answered.
audit() { cat "$work"/nodes/*/node/audit/log* >"$work/audit.log"; }

# ---- figures

figures() {
	local each
	say "the daemon took $took s; the load of this machine is $(cut -d " " -f 1-3 /proc/loadavg) on $(nproc) processors"
	# From the begin of a unit on its host, or of its kubeadm, to its end, and to the next begin.
	awk '$3 == "begin" { if (node) printf "      %-8s %-32s %4d s at work, the next began %4d s after its begin\n", node, unit, ended - began, $1 - began; node = $2; unit = $4; began = $1 }
		$3 == "end" { ended = $1 }
		END { printf "      %-8s %-32s %4d s at work\n", node, unit, ended - began }' "$work/units"
	for each in web names api; do
		awk -v what="$each" '$2 == what { asked++; if ($4 != "ok") failed++; if ($5 - $1 > slowest) slowest = $5 - $1 }
			END { printf "      %-8s %5d requests, %d failed, the slowest took %.1f s\n", what, asked, failed, slowest }' "$work/answers"
	done
}
