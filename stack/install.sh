# Installs Node.js into .tools/ and the npm packages into node_modules/, unless they are installed.
set -eu

node_is_new_enough() {
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 24 || (a === 24 && b >= 12) ? 0 : 1)' 2>/dev/null
}

# npm writes node_modules/.package-lock.json last, so every package in it is complete.
packages_are_installed() {
  node -e '
    const packages = (file) => JSON.parse(require("fs").readFileSync(file, "utf8")).packages
    const wanted = packages("package-lock.json")
    const installed = packages("node_modules/.package-lock.json")
    const same = (path) => installed[path]?.version === wanted[path].version
    const needed = Object.keys(wanted).filter((path) => path !== "" && !wanted[path].optional)
    process.exit(needed.every(same) && Object.keys(installed).every((path) => wanted[path]) ? 0 : 1)
  ' 2>/dev/null
}

# Runs a command and shows its output only if it fails.
quietly() {
  "$@" >.tools/install.log 2>&1 || {
    cat .tools/install.log >&2
    return 1
  }
}

install_node() {
  command -v npm >/dev/null || {
    echo 'npm is missing: install Node.js 20 or newer with npm' >&2
    exit 1
  }
  echo 'installing Node.js into .tools/'
  # The packages of the platforms, by their checksums: the package `node` downloads one of them in an install script,
  # without a checksum, and newer npm versions skip that script.
  cp stack/node/package.json stack/node/package-lock.json .npmrc .tools/
  quietly npm ci --prefix .tools --no-audit --no-fund && hash -r && node_is_new_enough || {
    echo 'npm could not install Node.js: install version 24.12 or newer' >&2
    exit 1
  }
}

install_packages() {
  echo 'installing npm packages'
  quietly npm ci --include=dev --no-audit --no-fund
}

# Two `make` on a fresh clone would write to the same folders. macOS has no `flock`.
lock() {
  mkdir -p .tools
  command -v flock >/dev/null || return 0
  exec 9>.tools/install.lock
  flock 9
}

case $PWD in
  *:*)
    echo 'the path of the project contains a colon, which PATH does not support: move the project' >&2
    exit 1
    ;;
esac
if node_is_new_enough && packages_are_installed; then exit 0; fi
lock
# The shell remembers the path of `node`; the installation may have put another one before it.
hash -r
node_is_new_enough || install_node
hash -r
packages_are_installed || install_packages
