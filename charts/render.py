"""Renders the charts for every values file, one file per object: `python charts/render.py build/charts`."""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHARTS = Path(__file__).parent
UMBRELLA = CHARTS / "polyphony"
SERVICE = CHARTS / "service"
RELEASE, NAMESPACE = "polyphony", "models"

# The deployments, each with its values files in the order of `helm install --values`.
DEPLOYMENTS: Mapping[str, Sequence[str]] = {
    "default": (),
    "embedded": ("values-embedded.yaml",),
    "gpu": ("values-gpu.yaml",),
    "mig": ("values-gpu.yaml", "values-mig.yaml"),
    "time-sliced": ("values-gpu.yaml", "values-time-sliced.yaml"),
    "engines": ("values-gpu.yaml", "values-vllm.yaml", "values-triton.yaml"),
    "edge": ("values-edge.yaml",),
    "dev": ("values-dev.yaml",),
    "dev-gpu": ("values-dev.yaml", "values-dev-gpu.yaml"),
}

Values = dict[str, Any]


def merged(*layers: Values) -> Values:
    """Merge values as Helm does: mappings key by key, of other values the last."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, dict) and isinstance(below, dict):
                result[key] = merged(below, value)
            else:
                result[key] = value
    return result


def values(deployment: str) -> Values:
    """The merged values of a deployment."""
    return merged(*(yaml.safe_load((UMBRELLA / name).read_text()) for name in DEPLOYMENTS[deployment]))


def manifests(chosen: Values) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the umbrella chart under these values, with its template.

    Raises:
        HelmError: Helm rejects the values.
        yaml.YAMLError: The output of a template is no YAML.
    """
    with helm.Chart.load(UMBRELLA) as chart:
        for template, text in chart.render(chosen, name=RELEASE, namespace=NAMESPACE).items():
            if template.endswith(".yaml"):
                yield from (
                    (template, manifest) for manifest in yaml.load_all(text, Loader=yaml.CSafeLoader) if manifest
                )


def findings(deployment: str) -> list[str]:
    """The findings of Helm's linter for the umbrella chart under a deployment's values, and for the service chart."""
    chosen = values(deployment)
    whole = merged(yaml.safe_load((UMBRELLA / "values.yaml").read_text()), chosen)
    alone = {**whole["vision"], "global": whole["global"]}
    reports = [
        helm.lint(path, given, strict=True, namespace=NAMESPACE)
        for path, given in ((UMBRELLA, chosen), (SERVICE, alone))
    ]
    serious = [f"{m['path']}: {m['error']}" for report in reports for m in report["messages"] if m["severity"] > 1]
    return serious + [error for report in reports for error in report["errors"]]


def main() -> None:
    """Lint and write every deployment; exit with the findings, if any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    shutil.rmtree(folder, ignore_errors=True)
    for deployment in DEPLOYMENTS:
        if found := findings(deployment):
            sys.exit(f"{deployment}: " + "\n".join(found))
        (folder / deployment).mkdir(parents=True)
        written = 0
        for _, manifest in manifests(values(deployment)):
            name = f"{manifest['kind']}-{manifest['metadata']['name']}.yaml".lower()
            (folder / deployment / name).write_text(yaml.safe_dump(manifest, sort_keys=False, width=120))
            written += 1
        sys.stdout.write(f"{deployment}: {written} objects\n")


if __name__ == "__main__":
    main()
