# shellcheck shell=bash
# What the scripts of this folder share: words, counting, waiting, and a git repository for the daemon. Sourced, never run.

# What a script that sources this has to set: `work`, the folder of its run.
: "${work:=}"

# Where real Kubernetes binaries are kept between runs; `binaries.sh` fills it.
# shellcheck disable=SC2034  # used by those who source this
KUBERNETES=${WINDLASS_KUBERNETES:-${XDG_CACHE_HOME:-$HOME/.cache}/windlass/kubernetes}

passed=0
failed=0

say() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# What a script cannot do without, said once and at the beginning.
need() {
	local each missing=
	for each in "$@"; do command -v "$each" >/dev/null || missing="$missing $each"; done
	[ -z "$missing" ] || die "not installed:$missing"
}

# check TITLE COMMAND...: one line of the summary, and what the command said if it failed; that does not end the script.
check() {
	local title=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		passed=$((passed + 1))
		printf 'pass  %s\n' "$title"
	else
		failed=$((failed + 1))
		printf 'FAIL  %s\n' "$title"
		cat "$work/said"
	fi
}

# same EXPECTED FOUND: for `check`; shows both where they differ.
same() {
	[ "$1" = "$2" ] && return 0
	printf '      expected: %s\n      found:    %s\n' "$1" "$2"
	return 1
}

# The last words of a script, and its exit code.
summary() {
	printf '%s passed, %s failed\n' "$passed" "$failed"
	[ "$failed" = 0 ]
}

# within SECONDS COMMAND...: waits for a command to succeed.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.5
	done
}

# free_ports N: the first of N ports in a row on loopback that nobody answers at. Two runs that begin at the same moment would both
# find the same ones free, so each begins to look elsewhere: where its process number says, below the ports that the system gives away.
free_ports() {
	local first=$((20000 + $$ % 1000 * 12)) each
	while :; do
		for each in $(seq "$first" $((first + $1 - 1))); do
			if (exec 3<>"/dev/tcp/127.0.0.1/$each") 2>/dev/null; then
				first=$((each + 1))
				continue 2
			fi
		done
		echo "$first"
		return
	done
}

# Processes of one run lead groups of their own (setsid), are written down when they are started, and only those are ever ended.
started() { echo "$1" >>"$work/processes"; }
gone() { ! kill -0 "$1" 2>/dev/null; }
end_processes() { # WORK
	local process
	[ -f "$1/processes" ] || return 0
	# The last one first: an API server whose etcd is gone does not stop by itself.
	tac "$1/processes" | while read -r process; do
		kill -- "-$process" 2>/dev/null || continue
		within 2 gone "$process" || kill -9 -- "-$process" 2>/dev/null || true
	done
	rm -f "$1/processes"
}

# Git that knows nothing of the machine it runs on.
git_alone() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_AUTHOR_NAME=Engineer GIT_AUTHOR_EMAIL=engineer@example.com \
		GIT_COMMITTER_NAME=Engineer GIT_COMMITTER_EMAIL=engineer@example.com git -c init.defaultBranch=main -c advice.detachedHead=false "$@"
}

# A maintenance window that is always open, among the desired policies of this run.
always_open() {
	mkdir -p "$work/desired/policies"
	cat >"$work/desired/policies/always.yaml" <<-YAML
		apiVersion: windlass.dev/v1alpha1
		kind: MaintenanceWindow
		metadata: {name: always}
		spec: {clusters: {}, timeZone: UTC, opens: always}
	YAML
}

# commit_desired WORK MESSAGE: what lies in WORK/desired becomes the newest commit of the bare repository WORK/repository.git.
commit_desired() {
	[ -d "$1/repository.git" ] || git_alone init --quiet --bare "$1/repository.git"
	if [ ! -d "$1/desired/.git" ]; then
		git_alone -C "$1/desired" init --quiet
		git_alone -C "$1/desired" remote add origin "$1/repository.git"
	fi
	git_alone -C "$1/desired" add --all
	git_alone -C "$1/desired" commit --quiet --message "$2"
	git_alone -C "$1/desired" push --quiet origin HEAD:main
}

# The daemon under test: from $WINDLASS, or as this repository builds it.
windlass_binary() {
	local root
	if [ -n "${WINDLASS:-}" ]; then
		[ -x "$WINDLASS" ] || die "WINDLASS=$WINDLASS is not a program"
		readlink -f "$WINDLASS"
		return
	fi
	root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
	(cd "$root" && cargo build --quiet) >&2 || die "the daemon does not build"
	echo "${CARGO_TARGET_DIR:-$root/target}/debug/windlass"
}

# watch KIND [NAME]: a process of `watch.sh` beside the run.
watch() {
	setsid ./watch.sh "$1" "$work" "${@:2}" >>"$work/log/watch-$1" 2>&1 </dev/null &
	started $!
}

# ---- what the daemon did, by the audit of the API servers

# ours FILTER: of its user's writes, in $work/audit.log.
ours() { jq -c 'select(.user.username == "windlass" and .stage == "ResponseComplete" and .verb != "get" and .verb != "list" and .verb != "watch")' "$work/audit.log" | jq -c "$1"; }

verify_evictions() { # LEAST
	local accepted
	ours 'select(.objectRef.subresource == "eviction") | {pod: (.objectRef.namespace + "/" + .objectRef.name), code: .responseStatus.code, uid: .requestObject.deleteOptions.preconditions.uid}' >"$work/evictions"
	accepted=$(jq -s '[.[] | select(.code == 201)] | length' "$work/evictions")
	check "pods were evicted ($accepted accepted of $(wc -l <"$work/evictions"))" test "$accepted" -ge "$1"
	check "every eviction named the UID that was seen" same 0 "$(jq -s '[.[] | select(.uid == null)] | length' "$work/evictions")"
	check "no pod was evicted twice" same "[]" "$(jq -sc '[.[] | select(.code == 201)] | group_by(.uid) | map(select(length > 1) | .[0].pod)' "$work/evictions")"
	check "the daemon deleted no pod" same "" "$(ours 'select(.objectRef.resource == "pods" and .verb != "create") | .verb' | sort -u)"
}

# ---- the daemon

# In seconds, for one run; an undisturbed one takes a few minutes, of three control plane nodes about twelve.
PATIENCE=${PATIENCE:-1800}

daemon() { # WINDLASS: starts it and leaves its process in $process
	# shellcheck disable=SC2086  # flags of one's own, one word each
	RUST_BACKTRACE=1 "$1" daemon --repo "$work/repository.git" --kubeconfig "$work/${daemon_kubeconfig:-kubeconfig}" --until-idle ${WINDLASS_FLAGS:-} >>"$work/daemon.log" 2>&1 &
	process=$!
}

# By its exit code the daemon says that all is as desired (0), or that only a person can help on (4): one who holds a node, which is
# as it should be where nothing else is left to do. The script that sources this says by `finished` whether that is so.
idle() { # CODE
	[ "$1" = 0 ] || { [ "$1" = 4 ] && finished; }
}

# until_idle WINDLASS [SECONDS]: runs it until it is idle, again whenever it ends; killed every so many seconds.
until_idle() {
	local end=$((SECONDS + PATIENCE)) code starts=0
	while [ "$SECONDS" -lt "$end" ]; do
		daemon "$1"
		starts=$((starts + 1))
		if [ -n "${2:-}" ] && ! within "$2" gone "$process"; then
			kill -9 "$process"
			wait "$process" 2>/dev/null || true
			continue
		fi
		within $((end - SECONDS)) gone "$process" || kill "$process"
		code=0
		wait "$process" || code=$?
		if idle "$code"; then
			say "idle after $starts starts"
			check "the daemon ends by being idle" true
			return
		fi
		say "the daemon ended with exit code $code: $(tail -n 1 "$work/daemon.log")"
		sleep 1
	done
	check "the daemon ends by being idle within $PATIENCE s" false
	tail -n 20 "$work/daemon.log" >&2
}
