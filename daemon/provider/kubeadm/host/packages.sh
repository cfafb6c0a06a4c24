
# ---- binaries: packages, by apt or dnf

# Kubernetes has one repository per minor; a mirror of it keeps that part of the address. Others are left as they are.
use_repository() {
	for file in "$@"; do
		grep -qs 'core:/stable:/v' "$file" || continue
		! grep -q "core:/stable:/$minor/" "$file" || continue
		say "points $file to $minor"
		# What a run that was cut kept is older than what lies there now.
		if ! grep -qxF "$file" "$state/repositories"; then
			cp -p "$file" "$state/${file##*/}.before" || refuse_packages "$file could not be kept in $state"
			echo "$file" >>"$state/repositories" || refuse_packages "$state/repositories could not be written"
		fi
		# First whole, and then in one move: a full disk or a cut never leaves half a file.
		if ! { cp -p "$file" "$file.windlass-new" &&
			sed "s#core:/stable:/v[0-9][0-9]*\\.[0-9][0-9]*/#core:/stable:/$minor/#g" "$state/${file##*/}.before" >"$file.windlass-new" &&
			mv -f "$file.windlass-new" "$file"; }; then
			rm -f "$file.windlass-new"
			refuse_packages "$file could not be written"
		fi
	done
}

# What is refused changes nothing: the repositories go back to the minor that they had.
refuse_packages() {
	while read -r file; do
		say "points $file back"
		if ! { cp -p "$state/${file##*/}.before" "$file.windlass-new" && mv -f "$file.windlass-new" "$file"; }; then
			say "$file could not be pointed back: $state/${file##*/}.before is how it was"
		fi
	done <"$state/repositories"
	refuse "$*"
}

# 1.36.3 with the package's own revision, the newest of them: `1.36.3-1.1`.
package() { apt-cache madison "$1" | awk '{print $3}' | grep "^${target#v}-" | sort -V | tail -n 1; }

packages_known() {
	for each in "$@"; do [ -n "$(package "$each")" ] || return 1; done
}

has_apt() { command -v apt-get >/dev/null; }

find_binaries() {
	touch "$state/repositories"
	if has_apt; then
		need_room /var/cache/apt/archives 300 "the packages that apt downloads"
		use_repository /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources
		why=
		for try in 1 2 3; do
			if run_when_free apt-get -q -o DPkg::Lock::Timeout=300 update; then
				why=
				break
			fi
			held=$(lock_held)
			[ -z "$held" ] || refuse_packages "another package manager has been at work on this host for 5 minutes: $held"
			why=": $(grep -E '^ *(E|W|Err[^ ]*)[: ]' "$state/said" | tail -n 1 | sed 's/^ *//')"
			say "apt-get update had errors: goes on, if the packages are to be had"
			! packages_known "$@" || break
			[ "$try" != 3 ] || break
			say "they are not: tries again in 10 seconds"
			sleep 10
		done
		for each in "$@"; do [ -n "$(package "$each")" ] || refuse_packages "apt knows no package $each of version ${target#v}$why"; done
		need_unheld "$@"
	elif command -v dnf >/dev/null; then
		need_room /var/cache/dnf 300 "the packages that dnf downloads"
		use_repository /etc/yum.repos.d/*.repo
		for each in "$@"; do
			# shellcheck disable=SC2046  # one word for each option
			run_when_free dnf -q $(unlocked) list --showduplicates "$each-${target#v}" ||
				refuse_packages "dnf knows no package $each of version ${target#v}: $(tail -n 1 "$state/said" | sed 's/^ *//')"
		done
	else
		refuse "this host has neither apt nor dnf: name a folder under kubeadm.from"
	fi
	say "found packages of $* $target"
}

# Our own packages are released before they are installed. What they bring along (cri-tools, kubernetes-cni) may be held by somebody
# else, who has a reason; apt would only say so in the middle.
need_unheld() {
	packages_wanted "$@"
	# shellcheck disable=SC2086  # one word for each package
	if ! apt-get -q -s --allow-change-held-packages install --no-install-recommends $wanted >"$state/simulated" 2>&1; then
		refuse_packages "apt cannot install$wanted: $(grep '^E: ' "$state/simulated" | tail -n 1)"
	fi
	for each in $(apt-mark showhold 2>/dev/null); do
		case " $* " in *" $each "*) continue ;; esac
		! grep -q -e "^Inst $each " -e "^Remv $each " "$state/simulated" || refuse_packages "apt would have to change $each, which is held on this host: release it with apt-mark unhold $each"
	done
}

packages_wanted() {
	wanted=
	for each in "$@"; do wanted="$wanted $each=$(package "$each")"; done
}

# Kubernetes' instructions exclude its packages from ordinary updates, and others lock their versions. dnf 4 has a plugin
# for the latter; for dnf 5 both are excludes.
unlocked() {
	if dnf --help 2>/dev/null | grep -q -e --disableexcludes; then
		echo --disableexcludes=all --disableplugin=versionlock
	else
		echo '--setopt=disable_excludes=*'
	fi
}

take() {
	changed=yes
	if has_apt; then take_by_apt "$@"; else take_by_dnf "$@"; fi
	for each in "$@"; do
		found=$(version_of "$(command -v "$each")") || fail "$each does not run after its package was installed"
		[ "$found" = "$target" ] || fail "$each is $found after its package was installed, not $target"
	done
	rm -f "$state/repositories"
}

# A run that was cut may have left them released.
keep_held() { ! has_apt || apt-mark hold "$@" >/dev/null || say "apt-mark could not hold $*"; }

# Held afterwards, as Kubernetes' instructions have it: no ordinary update may move them.
take_by_apt() {
	packages_wanted "$@"
	# needrestart would restart the kubelet and the container runtime when it sees fit.
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	# Cut in the middle of an installation, dpkg wants to be told before it begins another.
	[ -z "$(dpkg --audit)" ] || run_when_free dpkg --configure -a 9>&- || fail "dpkg could not finish what it was cut in"
	apt-mark unhold "$@" >/dev/null || fail "apt-mark could not release $*"
	went=yes
	# shellcheck disable=SC2086  # one word for each package
	run_when_free timeout 900 apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install --no-install-recommends $wanted 9>&- || went=no
	keep_held "$@"
	[ "$went" = yes ] || fail "apt-get could not install$wanted: $(grep -E '^ *(E|dpkg): ' "$state/said" | tail -n 1)"
}

take_by_dnf() {
	wanted=
	for each in "$@"; do wanted="$wanted $each-${target#v}"; done
	# shellcheck disable=SC2046,SC2086  # one word for each option and package
	run_when_free timeout 900 dnf -y $(unlocked) install $wanted 9>&- || fail "dnf could not install$wanted"
}
