#!/usr/bin/env bash
# mariadbd into DIR/bin, for the cases of the matrix with a MySQL driver: `unpack.sh DIR`.
#
# Debian's packages are downloaded and unpacked, not installed: no service is started, and no root is needed.
# Exit codes: 0 it is there, 1 it is not.
set -euo pipefail
dir=${1:?usage: unpack.sh DIR}
if "$dir/bin/mariadbd" --version >/dev/null 2>&1; then echo "mariadb: already in $dir/bin"; exit 0; fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "mariadb: needs Debian's apt-get and dpkg-deb; elsewhere put mariadbd on PATH" >&2; exit 1
fi
mkdir -p "$dir/bin"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# The server alone, with the libraries that a slim system lacks; Debian 13 renamed one of them.
get() {
  (cd "$work" && apt-get download mariadb-server-core liburing2 && { apt-get download libaio1t64 || apt-get download libaio1; }) \
    >"$work/log" 2>&1
}
# The lists of packages may be missing or old; only root may fetch them.
get || { [ "$(id -u)" = 0 ] && apt-get update -qq >"$work/update.log" 2>&1 && get; } || {
  echo "mariadb: apt-get download failed:" >&2; tail -n 5 "$work/log" >&2; exit 1
}
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$dir/root"; done
libraries=$(find "$dir/root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
cat >"$dir/bin/mariadbd" <<END
#!/bin/sh
LD_LIBRARY_PATH="$libraries" exec "$dir/root/usr/sbin/mariadbd" "\$@"
END
chmod +x "$dir/bin/mariadbd"
"$dir/bin/mariadbd" --version >"$work/version" 2>&1 || {
  echo "mariadb: the unpacked server does not start:" >&2; tail -n 3 "$work/version" >&2; exit 1
}
echo "mariadb: $(cut -d' ' -f2-4 "$work/version"), in $dir/bin"
