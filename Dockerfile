# A static binary and the certificate authorities, nothing else. The data folder is /data.
#
#   docker build -t astrocyte .
#   docker run -v astrocyte:/data -v ./astrocyte.yaml:/astrocyte.yaml:ro -p 8008:8008 astrocyte
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/astrocyte . && mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/astrocyte /astrocyte
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /
VOLUME /data
EXPOSE 8008
ENTRYPOINT ["/astrocyte"]
CMD ["serve", "--config", "/astrocyte.yaml", "--data", "/data"]
