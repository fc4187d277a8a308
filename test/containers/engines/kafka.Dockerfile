ARG BASE
FROM $BASE
RUN sed -i 's/^node:/appuser:/' /etc/passwd /etc/group && \
    install -d -o appuser -g root -m 775 /etc/kafka/docker /etc/kafka/secrets /mnt/shared/config /opt/kafka/config /opt/kafka/logs \
      /var/lib/kafka/data
COPY files /
COPY --chmod=755 kafka.sh /etc/kafka/docker/run
USER appuser
VOLUME /etc/kafka/secrets /mnt/shared/config
EXPOSE 9092
CMD ["/etc/kafka/docker/run"]
