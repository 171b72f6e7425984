#!/usr/bin/env bash
# launch/tpu_vm.sh [--dry-run] ACTION: a run on a Cloud TPU VM, or on every worker of a pod slice.
#
#   create    the VM or slice                  data      copy prepared arrays to every worker
#   install   this checkout on every worker    train     start the run on all workers, or resume it
#   log       follow worker 0                  recreate  after a preemption: all of the above
#   fetch     results, metrics and events      delete    the VM or slice; the run stays in RUNS
#
# Settings come from the environment:
#   NAME (svhn-jax)       ZONE (us-central2-b)   TYPE (v4-8; a slice: v4-32)
#   VERSION (tpu-ubuntu2204-base)                SPOT (1: preemptible)
#   CONFIG (configs/full.py)                     OPTIONS (overrides of the configuration)
#   RUNS (gs://BUCKET/runs)                      DATA (gs://BUCKET/data/full; empty: data/full here)
# --dry-run prints the commands and runs none. Not run against Google Cloud yet: the tests put a
# stub in the place of gcloud.
set -euo pipefail

is_dry=0 actions=()
for argument in "$@"; do
    if [[ $argument == --dry-run ]]; then is_dry=1; else actions+=("$argument"); fi
done
name=${NAME:-svhn-jax} zone=${ZONE:-us-central2-b} data=${DATA:-} runs=${RUNS:-}
cd "$(dirname "$0")/.."

run() {
    printf '%s\n' "${*@Q}"
    ((is_dry)) || "$@"
}

tpu() { run gcloud compute tpus tpu-vm "$1" "$name" --zone="$zone" "${@:2}"; }

on_all() { tpu ssh --worker=all --command="$1"; }

copy() { run gcloud compute tpus tpu-vm scp --recurse "$1" "$name:$2" --zone="$zone" --worker=all; }

require_bucket() {
    [[ $runs == gs://* ]] && return
    echo "error: RUNS is '$runs'; give RUNS=gs://BUCKET/PATH: a VM's own disk is lost with it" >&2
    exit 1
}

create() {
    local spot=()
    [[ ${SPOT:-0} == 1 ]] && spot=(--spot)
    tpu create --accelerator-type="${TYPE:-v4-8}" --version="${VERSION:-tpu-ubuntu2204-base}" \
        --scopes=cloud-platform "${spot[@]}"
}

install() {
    on_all 'mkdir -p svhn_jax_checkout/data'
    run git archive --format=tar.gz --output=svhn_jax.tar.gz HEAD
    copy svhn_jax.tar.gz svhn_jax_checkout/
    # The image's own Python may be too old; uv brings one.
    on_all "cd svhn_jax_checkout && tar xzf svhn_jax.tar.gz && python3 -m pip install -q uv \
&& python3 -m uv venv -q --python 3.12 --allow-existing .venv \
&& python3 -m uv pip install -q --python .venv/bin/python -c constraints.txt -e '.[tpu,gcs]'"
}

data() {
    if [[ -n $data ]]; then
        on_all "mkdir -p svhn_jax_checkout/data/full \
&& gcloud storage rsync -r '$data' svhn_jax_checkout/data/full"
    else
        copy data/full svhn_jax_checkout/data/
    fi
}

train() {
    require_bucket
    # The run inherits the lock: it is free when the last process of the run ends, however it ends.
    on_all "cd svhn_jax_checkout || exit 1; flock -n train.lock true \
|| { echo 'already training' >&2; exit 1; }; PATH=\$PWD/.venv/bin:\$PATH \
nohup flock -n train.lock bash launch/keep_going.sh python -m svhn_jax.train \
--config ${CONFIG:-configs/full.py} --runs-dir $runs ${OPTIONS:-} >> train.log 2>&1 < /dev/null &
sleep 1"
}

case ${actions[*]} in
    create | install | data | train) "${actions[0]}" ;;
    log) tpu ssh --worker=0 --command='tail -n 50 -f svhn_jax_checkout/train.log' ;;
    fetch)
        require_bucket
        run mkdir -p checkpoints
        run gcloud storage rsync -r "$runs" checkpoints --exclude='.*/steps/.*'
        ;;
    delete) tpu delete --quiet ;;
    recreate)
        require_bucket
        tpu delete --quiet || true
        create && install && data && train
        ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "launch/$(basename "$0")" >&2
        exit 2
        ;;
esac
