FROM python:3.11-slim-bookworm AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/pancake \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --all-extras --no-install-project
COPY README.md LICENSE ./
COPY sources ./sources
COPY pipelines ./pipelines
RUN uv sync --frozen --no-dev --all-extras --no-editable \
    && mkdir /data

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="dlt-pancake" \
      org.opencontainers.image.description="Pancake (pages.fm) conversations and messages into a warehouse, with dlt" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/pancake /opt/pancake
COPY --from=build --chown=10001:10001 /data /data
WORKDIR /srv/pancake
COPY .dlt/config.toml .dlt/config.toml
ENV PATH=/opt/pancake/bin:$PATH \
    HOME=/data \
    USER=pancake \
    DLT_DATA_DIR=/data/dlt
VOLUME /data
USER 10001:10001
ENTRYPOINT ["pancake"]
CMD ["sync"]
