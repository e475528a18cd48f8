#!/bin/sh
# Makes .venv complete for `run` (runtime only) or `dev` (everything), from the locks alone.
# Called by the Makefile; safe to repeat, to interrupt, and to start twice at once.
set -eu
level=${1:?usage: tools/venv.sh run|dev}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
umask 022 # a tight umask must not make an environment that a service user cannot read

say() { printf '%s\n' "setup: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# One setup at a time; the second one waits and then finds the work done. flock is on every Debian;
# elsewhere (macOS) two at once are simply not guarded.
if [ -z "${TOKENMARKET_SETUP_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    TOKENMARKET_SETUP_LOCKED=1 exec flock .venv.lock sh "$0" "$level"
fi

newer() { # newer STAMP FILE...: the stamp exists and is newer than every file
    stamp=$1
    shift
    [ -f "$stamp" ] || return 1
    for file in "$@"; do [ -z "$(find "$file" -newer "$stamp")" ] || return 1; done
}

inputs="requirements/run.txt pyproject.toml tools/venv.sh"
[ "$level" = run ] || inputs="$inputs requirements/dev.txt"
# shellcheck disable=SC2086  # a list of plain names
if newer ".venv/.ready-$level" $inputs; then exit 0; fi

if [ "$python" != python3 ] && ! command -v "$python" >/dev/null 2>&1; then
    die "there is no program '$python' (PYTHON=$python)"
fi
# Debian ships Python without the part that makes virtual environments.
if ! command -v "$python" >/dev/null 2>&1 || ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    command -v apt-get >/dev/null 2>&1 ||
        die "'$python' cannot make virtual environments (no ensurepip); install Python >= 3.11 with venv"
    [ "$(id -u)" -eq 0 ] ||
        die "the Debian package python3-venv is missing; run: sudo apt-get install python3-venv"
    say "installing the Debian package python3-venv"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "'$python' still cannot make virtual environments; try PYTHON=/usr/bin/python3"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python >= 3.11 is needed, '$python' is $("$python" -V 2>&1); choose one: make PYTHON=python3.12 ..."

# An environment that was interrupted, or whose Python is gone, is made anew.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "making .venv with $("$python" -V 2>&1)"
    "$python" -m venv --clear .venv
fi
rm -f ".venv/.ready-$level"

# Hashes, wheels only, nothing but what the lock names.
pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 .venv/bin/python -m pip install --quiet --no-deps"
say "installing requirements/$level.txt"
$pip --require-hashes --only-binary :all: -r "requirements/$level.txt"
# The project itself: editable, built by the locked setuptools that is in .venv now.
$pip --no-build-isolation --no-index --editable .

# Everything of `run` is in `dev`.
touch .venv/.ready-run ".venv/.ready-$level"
say "ready (.venv)"
