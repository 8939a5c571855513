#!/usr/bin/env bash
# Guess:  `pip install model-signing` installs all that `import model_signing` needs.
# Seen:   model-signing 1.1.1 imports OpenSSL in its certificate signer, for every use, and does not name pyOpenSSL among
#         its requirements; sigstore, which used to bring it, does so no longer in 4.5.1: "No module named 'OpenSSL'".
#         With pyOpenSSL beside it, signing and verifying with a key work.
# So:     an extra that asks for model-signing has to ask for pyOpenSSL as well.
# Source: model-signing 1.1.1, sigstore 4.5.1, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "model-signing==1.1.1" "sigstore==4.5.1"
if "$folder/venv/bin/python" -c "import model_signing" 2> "$folder/said"; then
  echo "it can be imported alone"
  exit 1
fi
tail -n 1 "$folder/said"
grep -q "No module named 'OpenSSL'" "$folder/said"
"$folder/venv/bin/pip" install --quiet "pyOpenSSL==26.4.0"
"$folder/venv/bin/python" -c "import model_signing; print('with pyOpenSSL it can')"
