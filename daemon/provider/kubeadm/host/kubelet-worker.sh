
need_role() {
	! control_plane || refuse "this is a control plane node, and this script is for workers: it has static pods of the servers in $manifests"
}

# By minor: the same patch of a vendor is called otherwise. An API server that does not answer is waited for later.
need_servers() {
	serves=$(as_kubelet get --raw=/version | sed -n 's/.*"gitVersion": "\(v[^"]*\)".*/\1/p') || serves=''
	[ -z "$serves" ] || ! newer "$(minor_of "$target")" "$(minor_of "$serves")" || refuse "the API server is still $serves: a kubelet is never newer than its API server"
}

need_binaries() { find_binaries kubeadm kubelet kubectl; }

# The configuration of the kubelet, from the cluster, by the kubeadm of the target.
configure() {
	take kubeadm
	wait_for_api || fail "the API server did not answer for 3 minutes"
	upgrade || fail "kubeadm did not finish; it may be run again"
}
