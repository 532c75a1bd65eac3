"""The published schemas describe what is written, and are as strict as the reader."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import pytest
from support.folders import by_tree, delegated, make_folder

from asi_verify.core.certificate import SCHEMA as CERTIFICATE
from asi_verify.core.claims import SCHEMA as CLAIMS
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.patch import Patch


def schema(name):
    text = resources.files("asi_verify.core").joinpath(f"schema/{name}.json").read_text("utf-8")
    found = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_folder(tmp_path_factory.mktemp("made"))
    made.certificates = [c for c in made.certificates if c.row not in (5, 6)]
    made.certificates += [delegated(made, 5), by_tree(made, 6, b"a tree")]
    return made.write()


def test_what_is_written_is_what_the_schemas_say(made, tmp_path):
    """Claims, and every certificate of every kind of evidence."""
    jsonschema.validate(json.loads((made.place / "claims.json").read_bytes()), schema("claims-1"))
    lines = (made.place / "00000.jsonl").read_bytes().splitlines()
    families = (KPixel(1, (0, 255)), Intensity.of("10/255", bias="0.01", degree=1), Patch(1))
    for number, family in enumerate(families):
        others = make_folder(tmp_path / str(number), family=family).place
        jsonschema.validate(json.loads((others / "claims.json").read_bytes()), schema("claims-1"))
        lines += (others / "00000.jsonl").read_bytes().splitlines()
    for line in lines:
        jsonschema.validate(json.loads(line), schema("certificate-1"))
    assert len({json.loads(line)["evidence"]["kind"] for line in lines}) == 6


def test_what_has_another_field_is_not(made):
    """The schemas are closed."""
    value = json.loads((made.place / "00000.jsonl").read_bytes().splitlines()[0])
    for spoiled in ({**value, "more": 1}, {k: v for k, v in value.items() if k != "query"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoiled, schema("certificate-1"))


def test_schemas_are_named_by_their_version():
    """A file says which schema it follows; the schema says its own name."""
    assert schema("certificate-1")["$id"] == CERTIFICATE
    assert schema("claims-1")["$id"] == CLAIMS
