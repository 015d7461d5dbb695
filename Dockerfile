# Two images, both static and without root:
#   docker build -t cairn .                              the program
#   docker build -t cairn-s3 --target s3 .               the S3 server that docker-compose.yml and the tests use
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=1 go build -trimpath -buildvcs=false -tags netgo,osusergo -ldflags='-s -linkmode external -extldflags -static' -o /out/cairn ./cmd/cairn
# Directories with the right owner: a named volume takes over the owner of the place where it is mounted first.
RUN mkdir -p /empty/cache /empty/restore /empty/tmp && chmod 1777 /empty/tmp

# The server is pinned in a module of its own (tests/s3), so that its dependencies stay out of the program's.
FROM golang:1.26.8-bookworm AS build-s3
WORKDIR /src/tests/s3
COPY tests/s3/ ./
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags=-s -o /out/versitygw github.com/versity/versitygw/cmd/versitygw
RUN mkdir -p /empty/data

FROM alpine:3.22.2 AS s3
COPY --from=build-s3 /out/versitygw /usr/local/bin/versitygw
COPY --from=build-s3 --chown=65532:65532 /empty/ /
USER 65532:65532
EXPOSE 7070
ENTRYPOINT ["versitygw", "--port", ":7070", "--health", "/health", "posix", "/data"]

FROM scratch AS cairn
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /empty/ /
COPY --from=build /out/cairn /usr/local/bin/cairn
ENV HOME=/cache XDG_CACHE_HOME=/cache CAIRN_CACHE_DIR=/cache PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["cairn"]
