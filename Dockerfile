# Serves data/bundle over HTTP (docs/serving.md): docker build -t recommender .
FROM python:3.11-slim

# LightGBM needs OpenMP's library.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# What serving imports, without TensorFlow and DVC.
COPY requirements-serving.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements-serving.txt
COPY stages ./stages
COPY data/bundle ./data/bundle
RUN python -m compileall -q stages && useradd --system --no-create-home recommender
USER recommender
# Numba keeps its compiled code where this user may write.
ENV NUMBA_CACHE_DIR=/tmp/numba PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK --start-period=60s --timeout=5s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
CMD ["python", "-m", "stages.serving", "serve", "--host", "0.0.0.0", "--port", "8080"]
