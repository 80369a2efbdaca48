"""The OpenAPI document: valid, complete, with an id of its own for each operation."""

from collections import Counter

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from gateway.app import build_app

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def document(http):
    return (await http.get("/openapi.json")).json()


def test_the_document_is_valid(document):
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_each_operation_has_an_id_and_a_summary_of_its_own(document):
    operations = [row[method] for row in document["paths"].values() for method in METHODS & row.keys()]
    assert len(operations) > 40
    for field in ("operationId", "summary"):
        counts = Counter(row[field] for row in operations)
        assert [value for value, count in counts.items() if count > 1] == []


def test_every_route_is_documented(document, state):
    routes = [route for route in build_app(state).routes if isinstance(route, Route)]
    served = {(route.path, method.lower()) for route in routes for method in route.methods - {"HEAD"}}
    assert served == {(path, method) for path, row in document["paths"].items() for method in METHODS & row.keys()}
