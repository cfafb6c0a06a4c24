
# ---- binaries: from a folder that was filled beforehand

# Everything that will be used is there and is what it should be, before anything is changed.
find_binaries() {
	[ -d "$folder" ] || refuse "the folder $folder is not on this host: put kubeadm, kubelet and kubectl of $target there"
	for each in "$@"; do
		[ -f "$folder/$each" ] || refuse "$folder holds no $each"
		[ -x "$folder/$each" ] || refuse "$folder/$each is not executable"
		found=$(version_of "$folder/$each") || refuse "$folder/$each does not run on this host"
		[ "$found" = "$target" ] || refuse "$folder/$each is ${found:-of no version}, not $target"
	done
	say "found $* of $target in $folder"
}

keep_held() { :; }

# Replaces one binary in one move, so that there is no moment without it; the one before it is kept.
take() {
	changed=yes
	for each in "$@"; do
		there=$(command -v "$each") || there=/usr/bin/$each
		if cmp -s "$folder/$each" "$there"; then
			say "$there is $target already"
			continue
		fi
		say "puts $each of $target at $there and keeps the one before it as $there.windlass-previous"
		install -m 0755 "$folder/$each" "$there.windlass-new" || fail "$each could not be copied to $there.windlass-new"
		cmp -s "$folder/$each" "$there.windlass-new" || fail "the copy at $there.windlass-new is not what $folder/$each is"
		[ ! -f "$there" ] || ln -f "$there" "$there.windlass-previous" 2>/dev/null || cp -p "$there" "$there.windlass-previous" || fail "$there could not be kept"
		sync
		mv -f "$there.windlass-new" "$there" || fail "$there could not be replaced"
		! command -v restorecon >/dev/null || restorecon "$there" || say "the SELinux label of $there could not be restored"
	done
}
