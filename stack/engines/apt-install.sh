# Installs Debian packages and leaves none of their services running or due at the next boot.
set -eu
export DEBIAN_FRONTEND=noninteractive

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

install() {
  apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
}

# The package lists are missing on a new machine and outdated on an old one.
install "$@" || {
  apt-get update --quiet
  install "$@"
}
for package in "$@"; do
  [ ! -e "/etc/init.d/$package" ] || update-rc.d "$package" disable || true
done
