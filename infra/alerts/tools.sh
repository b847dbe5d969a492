#!/usr/bin/env bash
# promtool, prometheus and prometheus-alertmanager into DIR/bin: `tools.sh DIR`.
#
# Debian's packages are downloaded and unpacked, not installed, so that no service is started. promtool and
# prometheus need no root; Debian's Alertmanager reads its templates from /usr/share/prometheus alone, and so root
# copies them there where they are missing. Exit codes: 0 they are there, 1 they are not.
set -euo pipefail
dir=${1:?usage: tools.sh DIR}
tools=(promtool prometheus prometheus-alertmanager)

complete() { for tool in "${tools[@]}"; do "$dir/bin/$tool" --version >/dev/null 2>&1 || return 1; done; }

if complete; then echo "alert-tools: already in $dir/bin"; exit 0; fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "alert-tools: needs Debian's apt-get and dpkg-deb; elsewhere put ${tools[*]} on PATH" >&2; exit 1
fi
mkdir -p "$dir/bin"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
get() { (cd "$work" && apt-get download prometheus prometheus-alertmanager) >"$work/log" 2>&1; }
# The lists of packages may be missing or old; only root may fetch them.
get || { [ "$(id -u)" = 0 ] && apt-get update -qq >"$work/update.log" 2>&1 && get; } || {
  echo "alert-tools: apt-get download failed:" >&2; tail -n 5 "$work/log" >&2; exit 1
}
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
for tool in "${tools[@]}"; do mv "$work/root/usr/bin/$tool" "$dir/bin/$tool"; done
templates=/usr/share/prometheus/alertmanager
if [ ! -e "$templates/default.tmpl" ]; then
  if mkdir -p "$templates" 2>/dev/null && cp "$work/root$templates"/*.tmpl "$templates/" 2>/dev/null; then
    echo "alert-tools: Alertmanager's templates are in $templates now"
  else
    echo "alert-tools: Alertmanager will not start: $templates cannot be written; promtool is not concerned" >&2
    rm -f "$dir/bin/prometheus-alertmanager"; exit 1
  fi
fi
complete || { echo "alert-tools: the unpacked programs do not start" >&2; exit 1; }
echo "alert-tools: $("$dir/bin/promtool" --version 2>&1 | head -n 1 | cut -d' ' -f1-3), Alertmanager too, in $dir/bin"
