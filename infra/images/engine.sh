#!/usr/bin/env bash
# Starts a container engine for the tests that need one.
#
# up    An engine that answers already is used as it is. Otherwise, as root on Debian, Docker and Compose v2 are
#       installed from Debian's packages and a dockerd of our own is started, with its files apart.
# down  Stops the dockerd that `up` started, by its pid; another one is never touched. `down --data` also
#       removes its images and volumes.
# run COMMAND...  `up`, the command, and `down` if the engine was started for it; the command's exit code.
#
# Exit codes: 0 an engine answers (up) or none of ours is left (down), 77 there is none and none can be installed
# (the reason on standard output), 1 something failed.
set -euo pipefail

state=${RUSHHOUR_ENGINE_DIR:-/var/tmp/rushhour-engine}
pidfile=$state/dockerd.pid
log=$state/dockerd.log
socket=/var/run/docker.sock
plugins=/usr/local/lib/docker/cli-plugins

say() { printf 'engine: %s\n' "$*"; }
skip() { say "skipped: $*"; exit 77; }
fail() { say "$1"; [ -z "${2:-}" ] || tail -n 15 "$2" | sed 's/^/  | /'; exit 1; }

server_version() { docker version --format '{{.Server.Version}}' 2>/dev/null; }
has_compose() { docker compose version --short 2>/dev/null | grep -q '^v\?[2-9]'; }

# Whether the pid file names a dockerd of ours that runs; a number that was given to another program is not one.
ours_runs() {
  [ -s "$pidfile" ] && tr '\0' ' ' <"/proc/$(cat "$pidfile")/cmdline" 2>/dev/null | grep -q -- "--pidfile $pidfile"
}

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

install_packages() {
  say "installing $*"
  { apt update && apt install -y --no-install-recommends "$@"; } >"$state/apt.log" 2>&1 ||
    fail "apt-get install $* failed; it wrote:" "$state/apt.log"
}

# Debian 12 has Compose v1 alone. The plugin of Debian 13 is one file that needs only an older libc, so it is
# taken out of that package, from the mirror that this machine uses anyway, without touching apt's own lists.
install_compose() {
  local apart=$state/apt-trixie
  say "taking Compose v2 out of Debian 13's package"
  rm -rf "$apart" && mkdir -p "$apart"
  bash "$(dirname "$0")/trixie.sh" "$apart" docker-compose ||
    fail "Debian 13's docker-compose cannot be downloaded; apt-get wrote:" "$apart/apt.log"
  install -D -m 755 "$(find "$apart/root" -type f -name docker-compose -path '*cli-plugins*')" \
    "$plugins/docker-compose"
  rm -rf "$apart"
}

start_dockerd() {
  # A session of its own and no standard input: a Ctrl-C in the terminal is not for it.
  setsid dockerd --host "unix://$socket" --data-root "$state/data" --exec-root /var/run/rushhour-engine \
    --pidfile "$pidfile" >"$log" 2>&1 </dev/null &
  local pid=$!
  for _ in $(seq 150); do
    server_version >/dev/null && return
    kill -0 "$pid" 2>/dev/null || fail "dockerd ended; the last lines of $log:" "$log"
    sleep 0.2
  done
  kill "$pid"
  fail "dockerd does not answer at $socket after 30 s; the last lines of $log:" "$log"
}

up() {
  if ! server_version >/dev/null; then
    [ -z "${DOCKER_HOST:-}" ] || skip "the engine that DOCKER_HOST names does not answer: $DOCKER_HOST"
    [ "$(uname -s)" = Linux ] && command -v apt-get >/dev/null ||
      skip "no engine answers, and one can be installed on Debian only"
    [ "$(id -u)" = 0 ] || skip "no engine answers, and only root can install one"
    mkdir -p "$state"
    local -a missing=()
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v iptables >/dev/null || missing+=(iptables)
    if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}"; fi
    server_version >/dev/null || start_dockerd  # where services are started at installation, it answers by now
  fi
  if ! has_compose; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || skip "Docker has no Compose v2, and only root on Debian can install it"
    mkdir -p "$state"
    if [[ "$(apt-cache policy docker-compose | awk '/Candidate:/ {print $2}')" =~ ^[2-9]\. ]]; then
      install_packages docker-compose
    else
      install_compose
    fi
    has_compose || fail "Compose was installed but does not answer: $(docker compose version 2>&1 | head -n 1)"
  fi
  say "Docker $(server_version), Compose $(docker compose version --short)"
}

down() {
  if ours_runs; then
    local pid
    pid=$(cat "$pidfile")
    kill "$pid"
    for _ in $(seq 150); do
      [ -d "/proc/$pid" ] || break
      sleep 0.2
    done
    [ ! -d "/proc/$pid" ] || fail "dockerd $pid does not end; the last lines of $log:" "$log"
    rm -f "$socket"
    say "stopped dockerd $pid"
  fi
  if [ "${1:-}" = --data ]; then rm -rf "$state"; fi
}

run() {
  local started=yes code=0
  if server_version >/dev/null; then started=no; fi
  up
  "$@" || code=$?
  if [ "$started" = yes ]; then down; fi
  return "$code"
}

case "${1:-}" in
  up) up ;;
  run) shift && run "$@" ;;
  down) down "${2:-}" ;;
  *) echo "usage: engine.sh up | run COMMAND... | down [--data]" >&2; exit 64 ;;
esac
