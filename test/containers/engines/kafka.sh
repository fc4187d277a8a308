#!/bin/bash
# Stands in for the start script of the image `apache/kafka`: renders KAFKA_* as properties, formats the storage, starts the broker.
set -eu
settings=/opt/kafka/config/server.properties
: >"$settings"
env -0 | while IFS='=' read -r -d '' name value; do
  case $name in
    KAFKA_HEAP_OPTS | KAFKA_JVM_PERFORMANCE_OPTS | KAFKA_LOG4J_OPTS | KAFKA_OPTS | KAFKA_VERSION) ;;
    KAFKA_*)
      name=${name#KAFKA_}
      # Three underscores are a hyphen, two an underscore, one a dot.
      name=$(printf %s "${name,,}" | sed 's/___/-/g; s/__/\x01/g; s/_/./g; s/\x01/_/g')
      printf '%s=%s\n' "$name" "$value" >>"$settings"
      ;;
  esac
done
cp /etc/kafka/docker/*.yaml /opt/kafka/config/
read -ra options <<<"${KAFKA_HEAP_OPTS:-} ${KAFKA_JVM_PERFORMANCE_OPTS:-} ${KAFKA_LOG4J_OPTS:-}"
java() {
  /opt/java/bin/java "${options[@]}" -cp '/opt/kafka/libs/*' "$@"
}
java kafka.tools.StorageTool format --ignore-formatted --cluster-id 5L6g3nShT-eMCtK--X86sw --config "$settings" >/dev/null
exec /opt/java/bin/java "${options[@]}" -cp '/opt/kafka/libs/*' kafka.Kafka "$settings"
