
need_role() {
	control_plane || refuse "this is not a control plane node: it has no static pods of the servers in $manifests"
}

need_servers() {
	serves=$(manifest_version kube-apiserver)
	! newer "$target" "$serves" || refuse "the API server of this node is still $serves: a kubelet is never newer than its API server"
}

need_binaries() { find_binaries kubelet kubectl; }

# Nothing to do: kubeadm wrote the kubelet's configuration when it moved the servers of this node.
configure() { :; }
