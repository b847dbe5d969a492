#!/usr/bin/env bash
# Healthy means: the health path has answered 200 once, and the port is open since. PORT PATH
# A probe that asked the health path for ever would need a connection of the pool: Swarm would replace a service whose
# pool is exhausted, which hides the leak and cures it for a while. In the incident nothing restarted it.
set -euo pipefail

answered=/tmp/answered-200
exec 3<>"/dev/tcp/127.0.0.1/$1"
[ ! -e "$answered" ] || exit 0
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
read -r _ code _ <&3
echo "HTTP $code"
[ "$code" = 200 ]
touch "$answered"
