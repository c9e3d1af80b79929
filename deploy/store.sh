#!/bin/sh
# SeaweedFS with a login for each bucket, which may do anything in that bucket and nothing elsewhere.
# Its inner parts know no logins: they listen inside this container only. The one of the S3 server
# cannot, and would let anybody make logins, had it no key; nobody needs to know that.
set -eu
umask 077

cat > /tmp/s3.json <<JSON
{"identities": [
  {"name": "taxi", "credentials": [{"accessKey": "taxi", "secretKey": "$TAXI_STORE_PASSWORD"}],
   "actions": ["Admin:taxi", "Read:taxi", "Write:taxi", "List:taxi", "Tagging:taxi"]},
  {"name": "mlflow", "credentials": [{"accessKey": "mlflow", "secretKey": "$MLFLOW_STORE_PASSWORD"}],
   "actions": ["Admin:mlflow", "Read:mlflow", "Write:mlflow", "List:mlflow", "Tagging:mlflow"]}
]}
JSON
WEED_JWT_FILER_SIGNING_KEY=$(head -c 32 /dev/urandom | base64)
export WEED_JWT_FILER_SIGNING_KEY
exec weed -logtostderr=true server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.volumeSizeLimitMB=1024 -volume.max=0 -volume.preStopSeconds=1 \
    -filer -s3 -s3.port=8333 -s3.ip.bind=0.0.0.0 -s3.config=/tmp/s3.json \
    -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0
