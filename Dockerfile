# saccade in a container, for a CPU. Settings and data are in /data; nothing else is written.
# First: docker compose run --rm saccade keys create office   (the container is reached from outside)
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    SACCADE_DATA=/data \
    SACCADE_SERVER__HOST=0.0.0.0

WORKDIR /opt/saccade
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# uv reads the overrides of pyproject.toml from this folder; bytecode now saves seconds at each start.
RUN pip install --no-cache-dir "uv==0.13.8" \
 && uv pip install --system --no-cache --compile-bytecode -c constraints.txt ".[postgres]" \
 && pip uninstall --yes uv \
 && useradd --system --uid 10001 --no-create-home --home-dir /data saccade \
 && install --directory --owner=saccade --group=saccade --mode=0700 /data

USER saccade
WORKDIR /data
VOLUME /data
EXPOSE 8600

# Ready: a model has proved itself. Without any model the container counts as unhealthy, as it is.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8600/readyz', timeout=4)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["saccade"]
CMD ["up"]
