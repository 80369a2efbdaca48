#!/usr/bin/env bash
# Installs the umbrella on a cluster of kind, as values-dev.yaml has it, runs `helm test`, upgrades, and removes the cluster.
#   charts/cluster-test.sh ENGINE REGISTRY TAG        the images are there: make images
set -euo pipefail
engine=$1 registry=$2 tag=$3
cluster=polyphony-test
folder=$(mktemp --directory)
export KUBECONFIG=$folder/kubeconfig

trap 'kind delete cluster --name $cluster; rm --recursive $folder' EXIT
kind create cluster --name $cluster --wait 2m
for service in gateway vision speech generation retrieval tools; do
    image=$registry/polyphony-$service:$tag
    case $engine in
        *buildah) buildah push "$image" "docker-archive:$folder/image.tar:$image" ;;
        *) $engine save --output "$folder/image.tar" "$image" ;;
    esac
    kind load image-archive "$folder/image.tar" --name $cluster
    rm "$folder/image.tar"
done

kubectl create namespace polyphony
kubectl label namespace polyphony pod-security.kubernetes.io/enforce=restricted
set -- polyphony "$(dirname "$0")/polyphony" --namespace polyphony --wait --timeout 5m \
    --values "$(dirname "$0")/polyphony/values-dev.yaml" --set "global.image.registry=$registry,global.image.tag=$tag"
key() { kubectl --namespace polyphony get secret polyphony-keys --output jsonpath='{.data.key}'; }

helm install "$@" || { kubectl --namespace polyphony get pods,events; exit 1; }
helm test polyphony --namespace polyphony --logs
first=$(key)
helm upgrade "$@" --set gateway.replicas=2
helm test polyphony --namespace polyphony --logs
test "$first" = "$(key)" || { echo "the upgrade changed the API key"; exit 1; }
