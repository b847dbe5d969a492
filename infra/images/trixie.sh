#!/usr/bin/env bash
# Debian 13's packages, whichever Debian this is: `trixie.sh DIR PACKAGE...` leaves each unpacked in DIR/root.
#
# They come from the mirror that this machine uses anyway, without touching apt's own lists, and are not installed.
# Exit codes: 0 they are there, 1 they are not (what apt-get wrote is in DIR/apt.log).
set -euo pipefail
dir=${1:?usage: trixie.sh DIR PACKAGE...}; shift

mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/deb"
mirror=$(bash "$(dirname "$0")/mirror.sh") || { echo "no Debian mirror in apt's configuration" >"$dir/apt.log"; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$dir/trixie.list"
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o Dir::Etc::sourcelist="$dir/trixie.list" \
    -o Dir::Etc::sourceparts=- -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" "$@"
}
{ apt update && cd "$dir/deb" && apt download "$@"; } >"$dir/apt.log" 2>&1
for package in "$dir"/deb/*.deb; do dpkg-deb -x "$package" "$dir/root"; done
