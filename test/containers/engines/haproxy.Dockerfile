ARG BASE
FROM $BASE
RUN echo 'haproxy:x:99:99::/var/lib/haproxy:/bin/sh' >>/etc/passwd && echo 'haproxy:x:99:' >>/etc/group && \
    install -d -o haproxy -g haproxy /var/lib/haproxy
COPY files /
STOPSIGNAL SIGUSR1
USER haproxy
WORKDIR /var/lib/haproxy
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
