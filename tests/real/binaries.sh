#!/bin/bash
# Builds what a real cluster is made of from pinned Go modules, as far as it is not there yet.
#   binaries.sh servers v1.36.3   kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, etcd, etcdctl, etcdutl, kwok
#   binaries.sh helm            helm of both majors: tools/bin/helm3 and tools/bin/helm4
#   binaries.sh node v1.35.4      all that a kubeadm node runs, and container images of it (Linux, root)
# They go to $WINDLASS_KUBERNETES: VERSION/bin, VERSION/images, tools/bin. Needs Go; for nodes also gcc and, on Debian, apt.
# From an empty Go cache on two cores: about six minutes for each.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

ETCD=v3.6.16 KWOK=v0.8.0 COREDNS=v1.14.2 HELM3=v3.22.0 HELM4=v4.3.1

# What a node needs of a Debian host beside Kubernetes.
NODE_PACKAGES="containerd runc containernetworking-plugins iptables nftables ipset conntrack socat ethtool kmod busybox-static haproxy gcc libc6-dev"

main() {
	need go
	mkdir -p "$KUBERNETES/tools/bin"
	KUBERNETES=$(cd "$KUBERNETES" && pwd)
	case ${1:-} in
	servers)
		kubernetes "$2" kube-apiserver kube-controller-manager kube-scheduler kubectl
		tools
		;;
	helm)
		helm 3 $HELM3
		helm 4 $HELM4
		;;
	node)
		node_packages
		kubernetes "$2" kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl
		tools
		coredns
		images "$2"
		;;
	*) die "usage: $0 servers VERSION | node VERSION | helm" ;;
	esac
}

# ---- binaries

# kubernetes VERSION COMMAND...: k8s.io/kubernetes asks for its staging modules in folders of its own repository; as a module of
# one's own each of them has to be replaced by the published one of the same release.
kubernetes() {
	local version=$1 bin=$KUBERNETES/$1/bin source=$KUBERNETES/$1/source stamp='' module each missing=()
	shift
	for each in "$@"; do [ -x "$bin/$each" ] || missing+=("$each"); done
	[ "${#missing[@]}" -gt 0 ] || return 0
	module=$(kubernetes_module "$version")
	mkdir -p "$bin"
	{
		echo "module windlass.test/kubernetes"
		grep -E '^(go|godebug) ' "$module/go.mod"
		echo "require k8s.io/kubernetes $version"
		sed -nE "s#^\s+(k8s.io/[a-z-]+) => \./staging.*#replace \1 => \1 v0.${version#v1.}#p" "$module/go.mod"
		for each in "$@"; do echo "tool k8s.io/kubernetes/cmd/$each"; done
	} >"$source/go.mod"
	# Unstamped, they call themselves v0.0.0, kubeadm has no versions that it supports, and clients misjudge the skew.
	for each in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		stamp+=" -X $each.gitVersion=$version -X $each.gitMajor=1 -X $each.gitMinor=$(cut -d. -f2 <<<"$version") -X $each.gitTreeState=clean"
	done
	(cd "$source" && go mod tidy 2>/dev/null)
	for each in "${missing[@]}"; do
		say "builds $each $version"
		(cd "$source" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w$stamp" -o "$bin/" "k8s.io/kubernetes/cmd/$each")
	done
}

# The folder of the module's source, downloaded where it is not.
kubernetes_module() {
	local source=$KUBERNETES/$1/source
	mkdir -p "$source"
	[ -f "$source/go.mod" ] || echo "module windlass.test/kubernetes" >"$source/go.mod"
	(cd "$source" && go mod download "k8s.io/kubernetes@$1") >&2
	echo "$(go env GOMODCACHE)/k8s.io/kubernetes@$1"
}

tools() {
	local source=$KUBERNETES/tools/source bin=$KUBERNETES/tools/bin each complete=yes
	for each in bin/etcd bin/etcdctl bin/etcdutl bin/kwok stages/pod-ready.yaml; do [ -f "$KUBERNETES/tools/$each" ] || complete=no; done
	[ "$complete" = no ] || return 0
	say "builds etcd $ETCD and KWOK $KWOK"
	mkdir -p "$source"
	cat >"$source/go.mod" <<-MODULE
		module windlass.test/tools
		go 1.25
		tool (
			go.etcd.io/etcd/server/v3
			go.etcd.io/etcd/etcdctl/v3
			go.etcd.io/etcd/etcdutl/v3
			sigs.k8s.io/kwok/cmd/kwok
		)
		require (
			go.etcd.io/etcd/server/v3 $ETCD
			go.etcd.io/etcd/etcdctl/v3 $ETCD
			go.etcd.io/etcd/etcdutl/v3 $ETCD
			sigs.k8s.io/kwok $KWOK
		)
	MODULE
	(
		cd "$source"
		go mod tidy 2>/dev/null
		export CGO_ENABLED=0
		go build -trimpath -ldflags "-s -w" -o "$bin/" go.etcd.io/etcd/etcdctl/v3 go.etcd.io/etcd/etcdutl/v3 sigs.k8s.io/kwok/cmd/kwok
		# The server's main package is its module's root, and would be called `v3`.
		go build -trimpath -ldflags "-s -w" -o "$bin/etcd" go.etcd.io/etcd/server/v3
	)
	stages
}

# KWOK that is started by hand knows no life cycle: it gets the ones that its module ships.
stages() {
	local shipped each
	shipped=$(go env GOMODCACHE)/sigs.k8s.io/kwok@$KWOK/kustomize/stage
	mkdir -p "$KUBERNETES/tools/stages"
	for each in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
		install -m 0644 "$shipped/$each.yaml" "$KUBERNETES/tools/stages/"
	done
}

# helm MAJOR VERSION: the version is stamped in as the project's own releases do it.
helm() {
	local bin=$KUBERNETES/tools/bin/helm$1 module=helm.sh/helm/v$1 scratch
	[ ! -x "$bin" ] || return 0
	say "builds helm $2"
	scratch=$(mktemp -d)
	CGO_ENABLED=0 GOFLAGS='' GOBIN=$scratch go install -trimpath -ldflags "-s -w -X $module/internal/version.version=$2" "$module/cmd/helm@$2"
	install -m 0755 "$scratch/helm" "$bin"
	rm -r "$scratch"
}

# With the plugins that kubeadm's configuration of it names, and no others.
coredns() {
	local source=$KUBERNETES/tools/coredns each
	[ ! -x "$KUBERNETES/tools/bin/coredns" ] || return 0
	say "builds CoreDNS $COREDNS"
	mkdir -p "$source"
	{
		echo 'package main'
		echo 'import "github.com/coredns/coredns/coremain"'
		for each in errors health ready kubernetes metrics forward cache loop reload loadbalance; do
			echo "import _ \"github.com/coredns/coredns/plugin/$each\""
		done
		echo 'func main() { coremain.Run() }'
	} >"$source/main.go"
	printf 'module windlass.test/coredns\ngo 1.25.0\nrequire github.com/coredns/coredns %s\n' "$COREDNS" >"$source/go.mod"
	(cd "$source" && go mod tidy 2>/dev/null && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$KUBERNETES/tools/bin/coredns" .)
}

# ---- images: of the binaries above, under the names and tags that this version's kubeadm asks for

images() {
	local version=$1 bin=$KUBERNETES/$1/bin out=$KUBERNETES/$1/images names=$KUBERNETES/$1/images.txt each tree
	mkdir -p "$out"
	"$bin/kubeadm" config images list --kubernetes-version "$version" 2>/dev/null >"$names"
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	for each in kube-apiserver kube-controller-manager kube-scheduler; do
		tree=$scratch/$each
		install -D "$bin/$each" "$tree/usr/local/bin/$each"
		mkdir -p "$tree/tmp"
		image "$out/$each.tar" "$tree" "$(grep "/$each:" "$names")"
	done
	install -D -t "$scratch/etcd/usr/local/bin" "$KUBERNETES/tools/bin/etcd" "$KUBERNETES/tools/bin/etcdctl"
	image "$out/etcd.tar" "$scratch/etcd" "$(grep '/etcd:' "$names")"
	install -D "$KUBERNETES/tools/bin/coredns" "$scratch/coredns/coredns"
	mkdir -p "$scratch/coredns/etc"
	image "$out/coredns.tar" "$scratch/coredns" "$(grep '/coredns:' "$names")" /coredns
	pause_image "$version"
	proxy_image "$version"
	busybox_image "$version"
	rm -rf "$scratch"
	trap - EXIT
}

# image OUT TREE NAME [ENTRYPOINT]: an archive as `docker save` writes it, with one layer.
image() {
	local out=$1 tree=$2 name=$3 entry=null work layer config
	[ ! -f "$out" ] || return 0
	[ -z "${4:-}" ] || entry="[\"$4\"]"
	work=$(mktemp -d)
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$tree" -cf "$work/layer.tar" .
	layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
	cat >"$work/config.json" <<-JSON
		{"architecture": "$(go env GOARCH)", "os": "linux",
		 "config": {"Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Entrypoint": $entry, "WorkingDir": "/"},
		 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}, "history": [{"created": "1970-01-01T00:00:00Z"}]}
	JSON
	config=$(sha256sum "$work/config.json" | cut -d' ' -f1).json
	mv "$work/config.json" "$work/$config"
	printf '[{"Config": "%s", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$config" "$name" >"$work/manifest.json"
	tar -C "$work" -cf "$out.new" manifest.json "$config" layer.tar
	mv "$out.new" "$out"
	rm -rf "$work"
}

# The container that holds a pod's namespaces, from the source that Kubernetes ships.
pause_image() {
	local name out=$KUBERNETES/$1/images/pause.tar
	[ ! -f "$out" ] || return 0
	name=$(grep '/pause:' "$KUBERNETES/$1/images.txt")
	mkdir -p "$scratch/pause"
	gcc -Os -static "-DVERSION=${name##*:}" -o "$scratch/pause/pause" "$(kubernetes_module "$1")/build/pause/linux/pause.c"
	image "$out" "$scratch/pause" "$name" /pause
}

# kube-proxy with the host's own iptables, nft and ipset, and the libraries that they load.
proxy_image() {
	local tree=$scratch/kube-proxy out=$KUBERNETES/$1/images/kube-proxy.tar each libraries used
	[ ! -f "$out" ] || return 0
	libraries=/usr/lib/$(gcc -print-multiarch)
	mkdir -p "$tree"/{usr/local/bin,usr/sbin,usr/bin,etc,run,var,tmp,lib64} "$tree$libraries"
	ln -s usr/sbin "$tree/sbin"
	ln -s usr/lib "$tree/lib"
	ln -s ../run "$tree/var/run"
	ln -s ../bin/kmod "$tree/usr/sbin/modprobe"
	install "$KUBERNETES/$1/bin/kube-proxy" "$tree/usr/local/bin/"
	for each in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do ln -s xtables-nft-multi "$tree/usr/sbin/$each"; done
	install /usr/sbin/xtables-nft-multi /usr/sbin/nft /usr/sbin/ipset "$tree/usr/sbin/"
	install "$(command -v kmod)" "$tree/usr/bin/"
	cp -a "$libraries/xtables" "$tree$libraries/"
	used=$(ldd /usr/sbin/xtables-nft-multi /usr/sbin/nft /usr/sbin/ipset "$(command -v kmod)" "$libraries"/xtables/*.so | grep -oE '(^|\s)/[^ :]+\.so[^ :]*' | sort -u)
	for each in $used; do
		case $each in
		/lib64/*) cp -L "$each" "$tree/lib64/" ;;
		*/xtables/*) ;;
		*) cp -L "$each" "$tree$libraries/" ;;
		esac
	done
	image "$out" "$tree" "$(grep '/kube-proxy:' "$KUBERNETES/$1/images.txt")"
}

# What the workloads and the daemon's Jobs run here: a shell, nsenter, a small web server.
busybox_image() {
	local tree=$scratch/busybox out=$KUBERNETES/$1/images/busybox.tar each
	[ ! -f "$out" ] || return 0
	mkdir -p "$tree"/{bin,dev,etc,tmp,www}
	install /usr/bin/busybox "$tree/bin/busybox"
	for each in $(busybox --list); do [ "$each" = busybox ] || ln -s busybox "$tree/bin/$each"; done
	echo ok >"$tree/www/index.html"
	image "$out" "$tree" docker.io/library/busybox:test
}

node_packages() {
	local each missing=()
	for each in $NODE_PACKAGES; do dpkg -s "$each" >/dev/null 2>&1 || missing+=("$each"); done
	[ "${#missing[@]}" -gt 0 ] || return 0
	say "installs ${missing[*]}"
	apt-get -q update >&2
	DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >&2
}

main "$@"
