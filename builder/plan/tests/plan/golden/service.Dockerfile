# A service that is compiled in one stage and shipped in another.
ARG DEBIAN=12
FROM --platform=$BUILDPLATFORM debian:${DEBIAN} AS build
ARG VERSION=1
ENV CFLAGS="-O2 -DVERSION=${VERSION}"
WORKDIR /src
COPY Makefile *.c ./
RUN --network=none make
RUN <<EOF
#!/bin/sh
strip service
EOF

FROM debian:${DEBIAN} AS unneeded
RUN false

FROM scratch
LABEL version="2" name='service'
COPY --from=build --chmod=0755 /src/service /bin/
COPY <<conf /etc/service.conf
user = nobody
conf
ADD --chown=1:1 data.tar.gz /data
USER 1:1
EXPOSE 80-81
HEALTHCHECK --interval=5s CMD ["/bin/service", "check"]
ENTRYPOINT ["/bin/service"]
