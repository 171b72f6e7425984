#!/usr/bin/env bash
# launch/tpu_vm.sh [--dry-run] ACTION: a run on a Cloud TPU VM, or on every worker of a pod slice.
#
#   create    the VM or slice                  data      copy prepared arrays from DATA to every worker
#   install   this checkout on every worker    train     start the run on all workers, or go on with it
#   log       follow worker 0                  recreate  after a preemption: delete, create, install, data, train
#   fetch     results, metrics and events      delete    the VM or slice; the run stays in RUNS
#
# Settings come from the environment:
#   NAME (svhn-jax)   ZONE (us-central2-b)   TYPE (v4-8; a slice: v4-32)   VERSION (tpu-ubuntu2204-base)
#   SPOT (1: preemptible)   CONFIG (configs/full.py)   OPTIONS (overrides of the configuration)
#   RUNS (gs://BUCKET/runs)   DATA (gs://BUCKET/data/full, or empty: data/full of this checkout)
# --dry-run prints the commands and runs none. Not run yet against Google Cloud: the tests put a stub in gcloud's place.
set -euo pipefail

is_dry=0 action=
for argument in "$@"; do
    if [[ $argument == --dry-run ]]; then
        is_dry=1
    elif [[ -z $action ]]; then
        action=$argument
    else
        action=unknown # more than one
    fi
done
name=${NAME:-svhn-jax} zone=${ZONE:-us-central2-b} type=${TYPE:-v4-8} version=${VERSION:-tpu-ubuntu2204-base}
config=${CONFIG:-configs/full.py} options=${OPTIONS:-} data=${DATA:-}
cd "$(dirname "$0")/.."

run() {
    local word
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word=${word@Q}
        printf '%s ' "$word"
    done
    printf '\n'
    ((is_dry)) || "$@"
}

tpu() { run gcloud compute tpus tpu-vm "$1" "$name" --zone="$zone" "${@:2}"; }

on_all() { tpu ssh --worker=all --command="$1"; }

runs() {
    if [[ ${RUNS:-} != gs://* ]]; then
        echo "error: RUNS is '${RUNS:-}'; give RUNS=gs://BUCKET/PATH: a preempted VM takes its own disk with it" >&2
        exit 1
    fi
    echo "$RUNS"
}

create() {
    local spot=()
    [[ ${SPOT:-0} == 1 ]] && spot=(--spot)
    tpu create --accelerator-type="$type" --version="$version" --scopes=cloud-platform "${spot[@]}"
}

install() {
    on_all 'mkdir -p svhn_jax_checkout'
    run git archive --format=tar.gz --output=svhn_jax.tar.gz HEAD
    run gcloud compute tpus tpu-vm scp svhn_jax.tar.gz "$name:svhn_jax_checkout/" --zone="$zone" --worker=all
    # The image's own Python may be too old; uv brings one.
    on_all "cd svhn_jax_checkout && tar xzf svhn_jax.tar.gz && python3 -m pip install -q uv \
&& python3 -m uv venv -q --python 3.12 --allow-existing .venv \
&& python3 -m uv pip install -q --python .venv/bin/python -c constraints.txt -e '.[tpu,gcs]'"
}

data() {
    if [[ -n $data ]]; then
        on_all "mkdir -p svhn_jax_checkout/data/full && gcloud storage rsync -r '$data' svhn_jax_checkout/data/full"
    else
        on_all 'mkdir -p svhn_jax_checkout/data'
        run gcloud compute tpus tpu-vm scp --recurse data/full "$name:svhn_jax_checkout/data/" --zone="$zone" \
            --worker=all
    fi
}

train() {
    local runs
    runs=$(runs)
    # On preemption the VM sends SIGTERM: the run saves. keep_going starts it again where only a process was lost.
    # The run alone keeps the lock (descriptor 9): the kernel drops it when the last of its processes ends, however it ends.
    on_all "cd svhn_jax_checkout && exec 9> train.lock || exit 1; flock -n 9 || { echo 'already training' >&2; exit 1; }; \
PATH=\$PWD/.venv/bin:\$PATH nohup bash launch/keep_going.sh python -m svhn_jax.train --config $config \
--runs-dir $runs $options >> train.log 2>&1 < /dev/null & exec 9>&-; sleep 1"
}

fetch() {
    local runs
    runs=$(runs)
    run mkdir -p checkpoints
    run gcloud storage rsync -r "$runs" checkpoints --exclude='.*/steps/.*'
}

case $action in
    create | install | data | train | fetch) "$action" ;;
    log) tpu ssh --worker=0 --command='tail -n 50 -f svhn_jax_checkout/train.log' ;;
    delete) tpu delete --quiet ;;
    recreate)
        runs > /dev/null
        tpu delete --quiet || true
        create
        install
        data
        train
        ;;
    *)
        sed -n '2,/^# --dry-run/s/^# \{0,1\}//p' "launch/$(basename "$0")" >&2
        exit 2
        ;;
esac
