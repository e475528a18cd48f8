#!/bin/sh
# Chromium and a Chinese font for the browser tests, from Debian's packages, where they are missing.
# Where they cannot be installed, those tests are skipped with the reason; nothing else needs them.
set -eu
say() { printf '%s\n' "setup: $*" >&2; }

if command -v chromium >/dev/null 2>&1 && [ -d /usr/share/fonts/truetype/wqy ]; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    say "Chromium is missing and cannot be installed here: tests/browser will be skipped"
    exit 0
fi
say "installing the Debian packages chromium and fonts-wqy-microhei"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    chromium fonts-wqy-microhei >/dev/null ||
    say "Chromium could not be installed: tests/browser will be skipped"
