#!/usr/bin/env bash
# launch/keep_going.sh COMMAND...: runs it, and again while it ends for a reason that may pass.
#
# Ended well (0), mistaken input (1, 2), no such command (126, 127) or asked to stop (130, 143): so does this. Anything else,
# such as a lost process of the same run (75, 134) or a kill -9 (137), is tried again, at most RETRIES times (20), PAUSE_S
# (10) apart. SIGTERM and Ctrl-C are handed on to the command as SIGTERM.
set -um # -m: the command is a process group of its own, so that Ctrl-C in a terminal reaches it through the trap alone
if (($# == 0)); then
    echo "error: give the command to run: launch/keep_going.sh COMMAND..." >&2
    exit 2
fi
child=0
stopping=0
trap 'stopping=$((stopping + 1)); if ((child)); then kill -TERM "$child" 2>/dev/null; fi' TERM INT
for ((attempt = 0; attempt <= ${RETRIES:-20}; attempt++)); do
    if ((attempt)); then
        echo "keep_going: ended with status $status; again in ${PAUSE_S:-10} s" >&2
        for ((second = 0; second < ${PAUSE_S:-10} && !stopping; second++)); do sleep 1; done
        ((stopping)) && exit "$status"
    fi
    "$@" &
    child=$!
    ((stopping)) && kill -TERM "$child" # told while it was being started
    while true; do
        heard=$stopping
        wait "$child"
        status=$?
        # A signal ends the wait before it ends the command: then wait again.
        ((heard == stopping)) && break
    done
    child=0
    case $status in
        0 | 1 | 2 | 126 | 127 | 130 | 143) exit "$status" ;;
    esac
    ((stopping)) && exit "$status"
done
echo "keep_going: given up after $attempt attempts" >&2
exit "$status"
