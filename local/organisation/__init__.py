"""The reference organisation: a company-management schema on Postgres, and rows to fill it with.

The demo, the benchmarks and the tests use it. `generator` invents an organisation of any size,
`world` reads a real one from a folder, and `postgres` puts either into the schema `organisation`.
"""

from local.organisation.errors import OrganisationError as OrganisationError
from local.organisation.generator import (
    OrganisationSize as OrganisationSize,
    generate_organisation as generate_organisation,
)
from local.organisation.tables import Organisation as Organisation
from local.organisation.world import read_world as read_world
