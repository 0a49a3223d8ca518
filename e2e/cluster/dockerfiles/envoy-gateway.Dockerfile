# The chart gives the controller arguments and no command.
FROM scratch
COPY envoy-gateway /usr/local/bin/
ENV PATH=/usr/local/bin
ENTRYPOINT ["envoy-gateway"]
