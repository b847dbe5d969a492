#!/usr/bin/env bash
# Prints the Debian mirror that this machine's apt uses, so that no mirror has to be named in a script.
set -euo pipefail
# Indextargets lists what apt would fetch; the first suite that is not for security updates has the packages.
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' |
  awk '$2 !~ /security|updates|backports/ && $3 ~ /^(Debian)?$/ {print $1; exit}')
[ -n "$mirror" ] && echo "$mirror"
