"""The Pulumi program: read settings and catalogue, build the stack they ask for."""

from pathlib import Path

import pulumi

from components.stack import NotAvailableError, build
from surge.model import Catalogue, ProblemsError, Settings, Shard

ROOT = Path(__file__).resolve().parent


def main() -> None:
    try:
        config = pulumi.Config("surge")
        settings = Settings.parse(config.get_object("settings"))
        catalogue = Catalogue.read(ROOT / settings.catalogue, settings)
        shard = config.get_object("shard")
        build(
            settings,
            catalogue,
            root=ROOT,
            shards=config.get_int("shards") or 1,
            shard=None if shard is None else Shard.model_validate(shard),
        )
    except ProblemsError as error:
        raise pulumi.RunError("\n".join(error.problems)) from error
    except NotAvailableError as error:
        raise pulumi.RunError(str(error)) from error


main()
