"""What the contract requires, found at any depth."""

import pytest
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from polyphony.generation.v1 import generation_pb2
from polyphony.speech.v1 import synthesis_pb2
from polyphony.vision.v1 import vision_pb2

from servekit.errors import InvalidArgument
from servekit.rpc.contract import check_required


def field(name, number, kind, required=False, repeated=False, of=None):
    made = Field(name=name, number=number, type=kind, label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL)
    if of:
        made.type_name = f".test.{of}"
    if required:
        made.options.Extensions[field_behavior_pb2.field_behavior].append(field_behavior_pb2.REQUIRED)
    return made


@pytest.fixture(scope="module")
def node():
    """A message that needs a name, in itself, its children, a map and one other."""
    text, message = Field.TYPE_STRING, Field.TYPE_MESSAGE
    file = descriptor_pb2.FileDescriptorProto(name="node.proto", package="test", syntax="proto3")
    made = file.message_type.add(name="Node")
    for name, value in (
        ("ByNameEntry", field("value", 2, message, of="Node")),
        ("LabelsEntry", field("value", 2, text)),
    ):
        entry = made.nested_type.add(name=name, field=[field("key", 1, text), value])
        entry.options.map_entry = True
    made.field.extend(
        [
            field("name", 1, text, required=True),
            field("children", 2, message, repeated=True, of="Node"),
            field("by_name", 3, message, repeated=True, of="Node.ByNameEntry"),
            field("one", 4, message, of="Node"),
            field("labels", 5, message, repeated=True, of="Node.LabelsEntry"),
        ]
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Node"))


def test_required_fields_are_found_at_any_depth(node):
    check_required(node(name="a", labels={"x": ""}, one=node(name="b"), by_name={"k": node(name="c")}))
    for bad, path in (
        (node(), "name"),
        (node(name="a", one=node()), "one.name"),
        (node(name="a", children=[node(name="b"), node()]), "children[1].name"),
        (node(name="a", by_name={"k": node()}), "by_name[k].name"),
        (node(name="a", one=node(name="b", one=node(name="c", children=[node()]))), "one.one.children[0].name"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            check_required(bad)
        assert caught.value.field == path


def test_the_contract_marks_what_it_needs():
    for message, path in (
        (vision_pb2.ReadTextRequest(), "image"),
        (synthesis_pb2.SynthesizeRequest(), "text"),
        (generation_pb2.GenerateTextRequest(), "messages"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            check_required(message)
        assert caught.value.field == path
