"""What a fleet makes of whatever the catalogue's check lets pass."""

import kubernetes_validate
import pytest
from hypothesis import given, settings

from tests.engine.drawn import STACK, catalogues
from tests.engine.fleet_program import fleet, manifests
from tests.engine.recording import record

KUBERNETES = "1.36"


@pytest.mark.long
@settings(max_examples=15, deadline=None)
@given(drawn=catalogues())
def test_no_field_is_unknown_to_the_schema(drawn):
    made = manifests(record(fleet(drawn, STACK)))
    jobs = [item["spec"]["jobTargetRef"]["template"] for item in made if item["kind"] == "ScaledJob"]
    pods = [{"apiVersion": "v1", "kind": "Pod", **template} for template in jobs]
    for item in [*made, *pods]:
        if not item["apiVersion"].startswith("keda.sh"):
            kubernetes_validate.validate(item, KUBERNETES, strict=True)
