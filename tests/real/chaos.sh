#!/bin/bash
# Upgrades of four KWOK workers of a real API server, over a line that breaks in every way; drawn from seeds. No root.
#   chaos.sh [--seeds FIRST..LAST]   prints each schedule and its result; the folders of seeds that failed are kept
# The line, what happens by the seed, and the judge lie in tests/chaos/; the simulator's runs have them too.
# WINDLASS_KUBERNETES is where Kubernetes' binaries are kept.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source-path=SCRIPTDIR source=lib.sh
. ./lib.sh

seeds=1..5
case ${1:-} in
'') ;;
--seeds) seeds=$2 ;;
*) die "usage: $0 [--seeds FIRST..LAST]" ;;
esac

need openssl cargo
(cd ../.. && cargo test --quiet --test it --no-run)
work=$(mktemp -d)
trap './controlplane.sh down "$work"' EXIT
./controlplane.sh up "$work" v1.36.3
status=0
(cd ../.. && WINDLASS_CHAOS=$work WINDLASS_SEEDS=$seeds \
	cargo test --quiet --test it -- --ignored --exact --nocapture chaos::real::seeds_before_a_real_api_server) || status=$?
./controlplane.sh down "$work"
trap - EXIT
if [ "$status" = 0 ]; then rm -rf "$work"; else say "kept: $work"; fi
exit "$status"
