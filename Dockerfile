# docker build -t ampmix . && docker run --rm -v "$PWD:/work" ampmix compare tickets.csv
# With a model: docker run --rm -p 8000:8000 -v "$PWD:/work" ampmix serve model --host 0.0.0.0
FROM python:3.12-slim
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml constraints.txt README.md LICENSE /ampmix/
COPY src /ampmix/src
COPY paper/reference.toml /ampmix/paper/reference.toml
RUN pip install --no-cache-dir -c /ampmix/constraints.txt '/ampmix[minilm,report,errors,serve,excel]' \
 && useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["ampmix"]
CMD ["--help"]
