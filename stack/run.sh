# Runs the stack with little memory for `make run` itself. Takes the arguments of run.ts.
#
# With the compile cache Node.js does not load its TypeScript compiler, which takes 17 MB. The services share the cache.

root=$(cd "$(dirname "$0")/.." && pwd)
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$root/.tools/compile-cache}"
exec node --max-old-space-size=128 --max-semi-space-size=1 "$root/stack/run.ts" "$@"
