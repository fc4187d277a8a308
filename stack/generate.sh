# Lints, formats and compares the contracts, then writes what is generated from them and from the configuration.
set -eu
buf format -w
buf lint
if git ls-tree -r --name-only main -- proto 2>/dev/null | grep -q '\.proto$'; then
  buf breaking --against '.git#branch=main'
else
  echo 'no contracts on the branch main to compare with: breaking changes were not checked'
fi
buf generate
[ ! -f stack/reference.ts ] || node stack/reference.ts
