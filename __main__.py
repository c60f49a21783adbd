"""The Pulumi program: read settings and catalogue, build the stack they ask for."""

from pathlib import Path

import pulumi

from components.stack import NotAvailableError, build
from surge.model import Catalogue, ProblemsError, Settings

ROOT = Path(__file__).resolve().parent


def main() -> None:
    try:
        settings = Settings.parse(pulumi.Config("surge").get_object("settings"))
        catalogue = Catalogue.read(ROOT / settings.catalogue, settings)
        build(settings, catalogue, root=ROOT)
    except ProblemsError as error:
        raise pulumi.RunError("\n".join(error.problems)) from error
    except NotAvailableError as error:
        raise pulumi.RunError(str(error)) from error


main()
