# What people type; every line is short enough to be typed without make. `.ci/run` is what a build server runs.
.PHONY: demo test lint bench bench-makespan bench-real real-addons real-helm real-chaos real-kwok real-kubeadm system-demo system-test

demo: system-demo      ; cargo run --quiet -- demo $(ARGS)
test: system-test      ; cargo test $(ARGS)
lint:                  ; cargo fmt --check && cargo clippy --all-targets -- -D warnings
bench:                 ; cargo bench --bench plan --bench tick --bench stop --bench memory --bench resident $(ARGS)
bench-makespan:        ; cargo bench --bench makespan $(ARGS)
bench-real:            ; tests/real/bench.sh $(ARGS)
real-addons:           ; tests/real/addons.sh $(ARGS)
real-helm:             ; tests/real/helm.sh $(ARGS)
real-chaos:            ; tests/real/chaos.sh $(ARGS)
real-kwok:             ; tests/real/kwok.sh $(ARGS)
real-kubeadm:          ; tests/real/kubeadm.sh $(ARGS)
system-demo:           ; @.ci/system demo
system-test:           ; @.ci/system test
