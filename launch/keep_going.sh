#!/usr/bin/env bash
# launch/keep_going.sh COMMAND...: runs it, and again after a failure that may be temporary.
#
# It does not run again after success (0), bad input (1, 2), a missing command (126, 127) or a
# signal to stop (130, 143). After any other status, such as a lost process of the same run (75,
# 134) or kill -9 (137), it does, at most RETRIES times (20), PAUSE_S (10) seconds apart. It passes
# SIGTERM and Ctrl-C on to the command as SIGTERM.
set -um # -m: the command gets a process group, so Ctrl-C in a terminal reaches it by the trap alone
if (($# == 0)); then
    echo "error: give the command to run: launch/keep_going.sh COMMAND..." >&2
    exit 2
fi
child=0
signals=0
trap 'signals=$((signals + 1)); if ((child)); then kill -TERM "$child" 2>/dev/null; fi' TERM INT
for ((attempt = 0; attempt <= ${RETRIES:-20}; attempt++)); do
    if ((attempt)); then
        echo "keep_going: ended with status $status; again in ${PAUSE_S:-10} s" >&2
        for ((second = 0; second < ${PAUSE_S:-10} && !signals; second++)); do sleep 1; done
        ((signals)) && exit "$status"
    fi
    "$@" &
    child=$!
    ((signals)) && kill -TERM "$child" # a signal came while the command started
    while true; do
        before=$signals
        wait "$child"
        status=$?
        ((before == signals)) && break # a signal ends the wait before the command: wait again
    done
    child=0
    case $status in
        0 | 1 | 2 | 126 | 127 | 130 | 143) exit "$status" ;;
    esac
    ((signals)) && exit "$status"
done
echo "keep_going: giving up after $attempt attempts" >&2
exit "$status"
