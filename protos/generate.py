"""Generate Python from the contract: `python protos/generate.py DESTINATION`.

Messages, typed stubs and the service configs land in DESTINATION, a root of
imports: `from polyphony.vision.v1 import vision_pb2`.
"""

import shutil
import sys
from pathlib import Path

import google.api
from grpc_tools import protoc

PROTOS = Path(__file__).parent


def generate(destination: Path) -> None:
    shutil.rmtree(destination / "polyphony", ignore_errors=True)
    destination.mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in (PROTOS / "polyphony").rglob("*.proto"))
    services = [path for path in sources if "\nservice " in Path(path).read_text()]
    includes = [
        f"-I{PROTOS}",
        f"-I{Path(google.api.__path__[0]).parents[1]}",
        f"-I{Path(protoc.__file__).parent / '_proto'}",
    ]
    beside = Path(sys.executable).parent
    plugins = [f"--plugin={beside / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    messages = [f"--python_out={destination}", f"--mypy_out=quiet:{destination}"]
    stubs = [f"--grpc_python_out={destination}", f"--mypy_grpc_out=quiet:{destination}"]
    for outputs, files in ((messages, sources), (stubs, services)):
        if protoc.main(["protoc", *includes, *plugins, *outputs, *files]):
            sys.exit("protoc failed")
    for config in sorted((PROTOS / "polyphony").rglob("*_service_config.json")):
        shutil.copy(config, destination / config.relative_to(PROTOS))


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
