#!/bin/bash
# Prints deploy/kubernetes.yaml: the chart rendered with deploy/kubernetes-values.yaml, for those without Helm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cat <<'TEXT'
# rowcount for those without Helm. Made by `make chart-docs` from helm/rowcount with deploy/kubernetes-values.yaml; change
# what you need here: the addresses in the ConfigMap, the image, the namespace that you apply it to.
#
#   kubectl create namespace registry
#   kubectl -n registry create secret generic rowcount-database --from-file=password=./password
#   kubectl -n registry apply -f deploy/kubernetes.yaml
#
# Pods read the ConfigMap when they start: after a change, `kubectl -n registry rollout restart deployment/rowcount`.
TEXT
helm template rowcount helm/rowcount --namespace registry --no-hooks --kube-version 1.30.0 \
  --values deploy/kubernetes-values.yaml \
  | sed -e '/helm\.sh\/chart:/d' -e '/app\.kubernetes\.io\/managed-by:/d' -e '/checksum\/config:/d' \
    -e '/^      annotations:$/d' -e '/^# Source:/d'
