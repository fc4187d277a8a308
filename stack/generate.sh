# Lints and formats the contracts, checks them for breaking changes, and writes the generated files.
set -eu
buf format -w
buf lint
if git ls-tree -r --name-only main -- proto 2>/dev/null | grep -q '\.proto$'; then
  buf breaking --against '.git#branch=main'
else
  echo 'skipped the check for breaking changes: the branch main has no contracts'
fi
buf generate
node docs/generate/run.ts
