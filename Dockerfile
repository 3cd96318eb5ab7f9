# docker build -t yolov4sdk .                      ONNX Runtime on a CPU, without torch
# docker build -t yolov4sdk:gpu --target gpu .     ONNX Runtime with CUDA
# docker build -t yolov4sdk:serve --target serve . the REST service on a CPU
# docker run --rm -v "$PWD:/data" yolov4sdk detect /data/photo.jpg -o /data/out
# docker run --rm --read-only --tmpfs /tmp --shm-size 1g -p 127.0.0.1:8000:8000 yolov4sdk:serve

FROM python:3.11-slim AS wheel
WORKDIR /source
RUN pip install --no-cache-dir build==1.3.0
COPY pyproject.toml README.md LICENSE ./
COPY yolov4sdk yolov4sdk
COPY export export
COPY train train
COPY serve serve
RUN python -m build --wheel --outdir /wheels

FROM python:3.11-slim AS base
RUN useradd --create-home --uid 10001 yolov4sdk
ENV PYTHONUNBUFFERED=1
WORKDIR /data
ENTRYPOINT ["yolov4sdk"]
CMD ["--help"]

# CUDA and cuDNN come as wheels with the extra; the host needs a driver and its container toolkit.
FROM base AS gpu
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(ls /wheels/*.whl)[gpu]"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER yolov4sdk

# It writes to /tmp and /dev/shm alone: the rest may be read-only. Models are mounted at /data.
FROM base AS serve
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(ls /wheels/*.whl)[serve]"
USER yolov4sdk
ENV YOLOV4SDK_HOST=0.0.0.0 YOLOV4SDK_PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['YOLOV4SDK_PORT'] + '/readyz', timeout=2)"]
CMD ["serve"]

FROM base AS runtime
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(ls /wheels/*.whl)[cpu]"
USER yolov4sdk
