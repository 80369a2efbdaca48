"""Responses of `/v1/models`."""

from typing import Literal

from msgspec import Struct


class ModelAnswer(Struct):
    """A model, under its id or an alias; `root` is the id."""

    id: str
    created: int
    owned_by: str
    root: str
    task: str
    title: str
    licence: str
    object: Literal["model"] = "model"


class ModelList(Struct):
    """The models that the caller may use."""

    data: list[ModelAnswer]
    object: Literal["list"] = "list"
