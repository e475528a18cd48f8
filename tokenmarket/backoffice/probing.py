"""A test call to a provider with the keys of this server: stored ones and the environment's."""

from __future__ import annotations

import time

from tokenmarket.backoffice import providers
from tokenmarket.backoffice.catalog_edits import in_force
from tokenmarket.config import Environment, provider_secrets
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.store import credentials
from tokenmarket.store.database import Database
from tokenmarket.upstream.outbound import Outbound
from tokenmarket.upstream.probe import Probe, probe


async def try_provider(
    database: Database,
    shipped: CatalogDocument,
    kek: bytes,
    environment: Environment,
    outbound: Outbound,
    name: str,
) -> Probe:
    """Asks the provider for its list of models, which costs nothing. Raises NotThere."""
    async with database.read() as conn:
        provider = providers.find(await in_force(conn, shipped), name)
        stored = await credentials.open_all(conn, kek, provider=name)
    secrets = provider_secrets(environment, provider, stored)
    return await probe(provider, secrets, outbound.client, time.monotonic)
