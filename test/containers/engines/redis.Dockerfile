ARG BASE
FROM $BASE
RUN echo 'redis:x:999:999::/data:/bin/sh' >>/etc/passwd && echo 'redis:x:999:' >>/etc/group && \
    install -d -o redis -g redis /data
COPY files /
COPY --chmod=755 redis.sh /usr/local/bin/docker-entrypoint.sh
VOLUME /data
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]
