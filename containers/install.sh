#!/usr/bin/env bash
# Inside an image of Debian 12: install the programs and the Python packages of one file in envs/, exactly in its versions.
#   install.sh ENV_FILE
set -euo pipefail

# Nextflow measures tasks with ps; lightgbm needs libgomp.
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends ca-certificates procps python3 python3-venv libgomp1 'bedtools=2.30.0*' 'kallisto=0.48.0*'
rm -rf /var/lib/apt/lists/*

# pip compiles what it installs; without that bytecode every task would compile torch anew, for 8 s.
python3 -m venv /opt/exprcast
sed -n 's/^ *- \([A-Za-z0-9._-]*==.*\)$/\1/p' "$1" > /tmp/requirements.txt
/opt/exprcast/bin/pip install --no-cache-dir --no-deps --requirement /tmp/requirements.txt
/opt/exprcast/bin/pip check
rm /tmp/requirements.txt
