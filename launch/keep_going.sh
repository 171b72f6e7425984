#!/usr/bin/env bash
# launch/keep_going.sh COMMAND...: runs it, and again while it ends for a reason that passes.
#
# Ended well (0), mistaken input (1, 2) or asked to stop (130, 143): so does this. Anything else, such as a lost
# process of the same run (75, 134) or a kill -9 (137), is tried again, at most RETRIES times (20), PAUSE_S (10) apart.
set -u
child=0
trap 'stopping=1; kill -TERM "$child" 2>/dev/null' TERM INT
stopping=0
for ((attempt = 0; attempt <= ${RETRIES:-20}; attempt++)); do
    "$@" &
    child=$!
    wait "$child"
    status=$?
    # A signal ends the wait before it ends the command.
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        status=$?
    done
    case $status in
        0 | 1 | 2 | 130 | 143) exit "$status" ;;
    esac
    ((stopping)) && exit "$status"
    echo "keep_going: ended with status $status; again in ${PAUSE_S:-10} s" >&2
    sleep "${PAUSE_S:-10}"
done
echo "keep_going: given up after $attempt attempts" >&2
exit "$status"
