# Ends the processes of a killed supervisor. Standard input lists the process groups and containers that run. When it closes
# without `dismiss`, the script sends each group its stop signal, kills it after $1 seconds, and removes the containers.
trap '' HUP INT TERM
grace_seconds=$1
groups=
containers=

without() {
  for entry in $2; do
    [ "${entry%%:*}" = "$1" ] || printf ' %s' "$entry"
  done
}

while read -r event id signal; do
  case $event in
    started) groups="$groups $id:$signal" ;;
    ended) groups=$(without "$id" "$groups") ;;
    container) containers="$containers $id" ;;
    dismiss) exit 0 ;;
  esac
done

for group in $groups; do
  kill -s "${group#*:}" -- "-${group%%:*}" 2>/dev/null
done
tenths=$((grace_seconds * 10))
while [ "$tenths" -gt 0 ] && [ -n "$groups" ]; do
  for group in $groups; do
    kill -s 0 -- "-${group%%:*}" 2>/dev/null || groups=$(without "${group%%:*}" "$groups")
  done
  sleep 0.1
  tenths=$((tenths - 1))
done
for group in $groups; do
  kill -s KILL -- "-${group%%:*}" 2>/dev/null
done
for container in $containers; do
  docker rm --force "$container" >/dev/null 2>&1
done
