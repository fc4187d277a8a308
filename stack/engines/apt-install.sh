# Installs Debian packages without starting or enabling their services.
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

# The package lists of a new machine are missing, and those of an old one are outdated.
install "$@" || {
  apt-get update --quiet
  install "$@"
}
for package in "$@"; do
  files=$(dpkg --listfiles "$package" 2>/dev/null || true)
  for script in $(printf '%s\n' "$files" | sed -n 's#^/etc/init\.d/##p'); do
    update-rc.d "$script" disable || true
  done
  command -v systemctl >/dev/null || continue
  for unit in $(printf '%s\n' "$files" | sed -nE 's#^(/usr)?/lib/systemd/system/([^/@]+\.(service|socket|timer))$#\2#p'); do
    systemctl disable "$unit" || true
  done
done
