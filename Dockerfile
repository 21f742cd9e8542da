# One image for the nightly job and for the server.
#
#   docker build --build-arg TORCH_INDEX=URL -t registry.example.org/zoo:0.1.0 .
#   docker run --rm --no-healthcheck -v zoo:/data registry.example.org/zoo:0.1.0 index refresh --json
#   docker run -v zoo:/data -p 127.0.0.1:8765:8765 -e ZOO_SERVER_TOKEN=... registry.example.org/zoo:0.1.0
#
# URL is the package index of torch's CPU builds: pytorch.org shows it under "Get Started". Without it torch comes
# with its CUDA libraries, which are several GB larger and of no use here.

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY data data
COPY transfer transfer
COPY zoo_index zoo_index
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=""
# torch changes seldom and is large: a layer of its own
RUN python -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.10" torchvision
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    wheel="$(ls /wheels/*.whl)" && python -m pip install --no-cache-dir "${wheel}[postgres,server]"

# deploy/ runs it as this user, too
RUN useradd --uid 1000 --create-home zoo && install -d -o zoo -g zoo /data
ENV ZOO_DB=/data/zoo.db \
    HF_HOME=/data/huggingface \
    TORCH_HOME=/data/torch \
    XDG_CACHE_HOME=/data/cache \
    PYTHONUNBUFFERED=1
VOLUME /data
USER 1000
WORKDIR /data

# The server listens here. It asks for the token ZOO_SERVER_TOKEN, or makes one at the start and prints it.
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8765/api/health', timeout=4)"]
ENTRYPOINT ["zoo"]
CMD ["serve", "--host", "0.0.0.0"]
