# nearcode for a server: the service alone; the database is another container (see compose.yaml).

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/nearcode
# First what changes seldom, so that a change of ours does not fetch it again.
COPY requirements.lock ./
RUN /opt/nearcode/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY geo geo
COPY service service
COPY fixtures fixtures
RUN /opt/nearcode/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --gid 10001 nearcode \
    && useradd --no-log-init --uid 10001 --gid nearcode --no-create-home \
        --home-dir /var/lib/nearcode --shell /usr/sbin/nologin nearcode \
    && install --directory --mode 0700 --owner nearcode --group nearcode /var/lib/nearcode
COPY --from=build /opt/nearcode /opt/nearcode
# The data folder is used only where NEARCODE_DATABASE_URL is unset.
ENV PATH=/opt/nearcode/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEARCODE_DATA_DIR=/var/lib/nearcode
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/nearcode
VOLUME /var/lib/nearcode
EXPOSE 8000
# http.client, because it asks no proxy, whatever the environment says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["nearcode", "serve", "--host", "0.0.0.0", "--port", "8000"]
