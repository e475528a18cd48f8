#!/bin/sh
# All tests in three processes, one after the other: those marked `serial` alone; those of the browser,
# beside which no other test can run an event loop; all others. Arguments go to pytest each time.
# The exit code is the worst; 5 (no test was found) only if all three say so.
set -u
python=.venv/bin/python
workers=${WORKERS:-2}
worst=5

note() {
    if [ "$1" -ne 5 ] && { [ "$worst" -eq 5 ] || [ "$worst" -eq 0 ]; }; then worst=$1; fi
}

$python -m pytest -q -m 'serial and not browser' "$@"
note $?

$python -m pytest -n "$workers" -m browser "$@"
status=$?
if [ $status -eq 1 ]; then
    # A busy machine makes a browser miss its time: what failed must pass alone.
    $python -m pytest -q -m browser --last-failed "$@"
    status=$?
fi
note $status

$python -m pytest -n "$workers" -m 'not serial and not browser' "$@"
note $?

[ $worst -ne 5 ] || echo 'make test: no test was found' >&2
exit $worst
