# The daemon with the plugins of this tree. Where no Docker runs, scripts/container.sh carries out
# these same lines in a chroot; it knows the instructions used here and refuses others.
FROM python:3.11-slim-bookworm AS build
COPY requirements-run.lock pyproject.toml README.md LICENSE CHANGELOG.md /source/
COPY chain_adapter /source/chain_adapter
COPY plugins /source/plugins
COPY scripts/container /source/scripts/container
RUN sh /source/scripts/container/build.sh /source /opt/chain-adapter

FROM python:3.11-slim-bookworm
COPY scripts/container/account.sh /opt/account.sh
RUN sh /opt/account.sh /var/lib/chain-adapter
COPY --from=build /opt/chain-adapter /opt/chain-adapter

# Nothing is written but the volume (and /tmp, a tmpfs): run it with --read-only --tmpfs /tmp.
# No key, passphrase or password is in the image or in its environment: mount them read-only and
# name the files in the configuration.
ENV PATH=/opt/chain-adapter/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
ENV CHAIN_ADAPTER_HEALTH_URL=http://127.0.0.1:9200/health/live
USER 10001:10001
WORKDIR /var/lib/chain-adapter
VOLUME /var/lib/chain-adapter
EXPOSE 9200
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ['CHAIN_ADAPTER_HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["chain-adapter"]
CMD ["run", "--config", "/etc/chain-adapter/config.toml"]
