# On the host, but still of the Job's container: starts the script as a unit of its own, which outlives the container, and
# follows it. The Job shows how it went; the node is what it is judged by.
# Given: the unit, the Job, the script's text, and the Job's termination message as descriptor 3.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 077
cd /
unit=$1 job=$2 text=$3
base=/var/lib/windlass/$unit
mkdir -p /var/lib/windlass

say() { printf '%s windlass: %s\n' "$(date -u +%H:%M:%SZ)" "$*"; }
end() { say "$2"; printf '%s\n' "$2" >&3; exit "$1"; }
running() { systemctl is-active --quiet "$unit.service" >/dev/null 2>&1; }

command -v systemd-run >/dev/null || end 10 "refused: this host has no systemd-run, and the work has to outlive this container"

# The result is written by the unit and not by the script, so that a script that is killed leaves one too.
start() {
	printf '%s' "$text" >"$base.sh.new" && mv "$base.sh.new" "$base.sh" || return 1
	[ ! -f "$base.log" ] || mv "$base.log" "$base.log.previous"
	rm -f "$base.result"
	: >"$base.log"
	# An hour is far above what any of it takes: only something that hangs is ended by it.
	# shellcheck disable=SC2016  # expanded by the unit's shell
	systemd-run --unit="$unit" --collect --property=RuntimeMaxSec=3600 /bin/sh -c '
		/bin/sh "$1.sh" >>"$1.log" 2>&1
		printf "%s %s\n" "$2" "$?" >"$1.result.new"
		mv "$1.result.new" "$1.result"' windlass "$base" "$job" 3>&- 9>&- >/dev/null
}

# One at a time from the look to the start: two Jobs for the same work share one unit.
exec 9>"$base.starting"
flock 9
if running; then
	say "$unit is at work on this host already: follows it"
elif [ -f "$base.result" ] && [ "$(cut -d' ' -f1 "$base.result")" = "$job" ]; then
	say "$unit has ended before, on behalf of this Job: reports it"
else
	say "starts $unit on this host: $base.sh, its log is $base.log"
	start || end 10 "refused: the unit $unit could not be started on this host"
fi
flock -u 9

tail -n +1 -f "$base.log" 9>&- &
follower=$!
while [ ! -f "$base.result" ] && running; do sleep 1; done
# The log's last lines are given a moment; so is a result that was written while the unit went.
sleep 2
kill "$follower"

[ -f "$base.result" ] || end 1 "failed: $unit ended without a result: it was killed, or the host went down"
code=$(cut -d' ' -f2 "$base.result")
if [ "$code" != 0 ]; then
	# First the reason, then what led to it: a person sees both in the Job's pod.
	{
		grep -E 'windlass: (refused|failed): ' "$base.log" | tail -n 1 | sed 's/^[^ ]* windlass: //'
		tail -n 12 "$base.log" | grep -vE 'windlass: (refused|failed): '
	} | cut -c 1-300 | head -c 3500 >&3
fi
exit "$code"
