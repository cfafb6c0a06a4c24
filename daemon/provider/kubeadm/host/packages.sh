
# ---- binaries: packages, by apt or dnf

# Kubernetes has one repository per minor; a mirror of it keeps that part of the address. Others are left as they are.
use_repository() {
	for file in "$@"; do
		grep -qs 'core:/stable:/v' "$file" || continue
		! grep -q "core:/stable:/$minor/" "$file" || continue
		say "points $file to $minor"
		cp -p "$file" "$state/${file##*/}.before" || refuse "$file could not be kept in $state"
		echo "$file" >>"$state/repositories"
		sed "s#core:/stable:/v[0-9][0-9]*\\.[0-9][0-9]*/#core:/stable:/$minor/#g" "$state/${file##*/}.before" >"$file" || fail "$file could not be written"
	done
}

# What is refused changes nothing: the repositories go back to the minor that they had.
refuse_package() {
	while read -r file; do
		say "points $file back"
		cat "$state/${file##*/}.before" >"$file"
	done <"$state/repositories"
	refuse "$1 knows no package $2 of version ${target#v}"
}

# 1.36.3 with the package's own revision, the newest of them: `1.36.3-1.1`.
package() { apt-cache madison "$1" | awk '{print $3}' | grep "^${target#v}-" | sort -V | tail -n 1; }

has_apt() { command -v apt-get >/dev/null; }

find_binaries() {
	: >"$state/repositories"
	if has_apt; then
		use_repository /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources
		run apt-get -q -o DPkg::Lock::Timeout=300 update || say "apt-get update had errors: goes on, if the packages are to be had"
		for each in "$@"; do [ -n "$(package "$each")" ] || refuse_package apt "$each"; done
	elif command -v dnf >/dev/null; then
		use_repository /etc/yum.repos.d/*.repo
		# shellcheck disable=SC2046  # one word for each option
		for each in "$@"; do dnf -q $(unlocked) list --showduplicates "$each-${target#v}" >/dev/null 2>&1 || refuse_package dnf "$each"; done
	else
		refuse "this host has neither apt nor dnf: name a folder under kubeadm.from"
	fi
	say "found packages of $* $target"
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
	if has_apt; then take_by_apt "$@"; else take_by_dnf "$@"; fi
	for each in "$@"; do
		found=$(version_of "$(command -v "$each")") || fail "$each does not run after its package was installed"
		[ "$found" = "$target" ] || fail "$each is $found after its package was installed, not $target"
	done
}

# Held afterwards, as Kubernetes' instructions have it: no ordinary update may move them.
take_by_apt() {
	wanted=
	for each in "$@"; do wanted="$wanted $each=$(package "$each")"; done
	# needrestart would restart the kubelet and the container runtime when it sees fit.
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	# Cut in the middle of an installation, dpkg wants to be told before it begins another.
	[ -z "$(dpkg --audit)" ] || run dpkg --configure -a 9>&- || fail "dpkg could not finish what it was cut in"
	apt-mark unhold "$@" >/dev/null || fail "apt-mark could not release $*"
	went=yes
	# shellcheck disable=SC2086  # one word for each package
	run timeout 900 apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install --no-install-recommends $wanted 9>&- || went=no
	apt-mark hold "$@" >/dev/null || say "apt-mark could not hold $*"
	[ "$went" = yes ] || fail "apt-get could not install$wanted"
}

take_by_dnf() {
	wanted=
	for each in "$@"; do wanted="$wanted $each-${target#v}"; done
	# shellcheck disable=SC2046,SC2086  # one word for each option and package
	run timeout 900 dnf -y $(unlocked) install $wanted 9>&- || fail "dnf could not install$wanted"
}
