# Brings Node.js and the npm packages that the project needs into .tools/ and node_modules/; does nothing when they are there.
set -eu
node_version=24.21.0

node_is_new_enough() {
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 24 || (a === 24 && b >= 12) ? 0 : 1)' 2>/dev/null
}

# npm writes node_modules/.package-lock.json last, so what it names is there in full.
packages_are_there() {
  node -e '
    const packages = (file) => JSON.parse(require("fs").readFileSync(file, "utf8")).packages
    const wanted = packages("package-lock.json")
    const there = packages("node_modules/.package-lock.json")
    const same = (path) => there[path]?.version === wanted[path].version
    const needed = Object.keys(wanted).filter((path) => path !== "" && !wanted[path].optional)
    process.exit(needed.every(same) && Object.keys(there).every((path) => wanted[path]) ? 0 : 1)
  ' 2>/dev/null
}

# Runs a command, and shows what it said only if it fails.
quietly() {
  "$@" >.tools/install.log 2>&1 || {
    cat .tools/install.log >&2
    return 1
  }
}

install_node() {
  command -v npm >/dev/null || {
    echo 'npm is missing: install Node.js 24.12 or newer with npm (20 or newer will do, it brings the rest)' >&2
    exit 1
  }
  echo "installing Node.js $node_version into .tools/"
  # The package of the platform itself: `node` would fetch it in an install script, which newer npm does not run.
  package=node-$(node -p 'process.platform + "-" + process.arch')
  quietly npm install --prefix .tools --no-save --no-audit --no-fund "$package@$node_version" || {
    echo 'that failed: install Node.js 24.12 or newer yourself' >&2
    exit 1
  }
}

install_packages() {
  echo 'installing npm packages'
  quietly npm ci --no-audit --no-fund
}

# One at a time: two `make` on a fresh clone would write into the same folders.
lock() {
  mkdir -p .tools
  if command -v flock >/dev/null; then
    exec 9>.tools/install.lock
    flock 9
    return
  fi
  until mkdir .tools/install.lock.d 2>/dev/null; do
    sleep 1
    holder=$(cat .tools/install.lock.d/pid 2>/dev/null || true)
    [ -z "$holder" ] || kill -0 "$holder" 2>/dev/null || rm -rf .tools/install.lock.d
  done
  echo $$ >.tools/install.lock.d/pid
  trap 'rm -rf .tools/install.lock.d' EXIT
  trap 'exit 130' INT TERM HUP
}

case $PWD in
  *:*)
    echo 'the path of the project has a colon, which no search path can hold: move the project' >&2
    exit 1
    ;;
esac
if node_is_new_enough && packages_are_there; then exit 0; fi
lock
# The shell remembers where it found `node`; by now there may be another one before it on the path.
hash -r
node_is_new_enough || install_node
hash -r
packages_are_there || install_packages
