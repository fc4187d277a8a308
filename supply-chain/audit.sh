# `make audit`: asks the registry of npm for advisories of every lockfile. Severity high and critical fail.
set -eu
for folder in . stack/node test/clients/typescript; do
  npm audit --prefix "$folder" --package-lock-only --audit-level=high
done
