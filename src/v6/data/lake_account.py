"""``lake_account``: the account that first fed this lake, one row for ever, so that accounts never mix."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from v6.data import delta
from v6.data.delta import DeltaError, DeltaTable
from v6.data.table import Table
from v6.data.table_spec import UTC_MICROSECONDS, Column, TableSpec
from v6.errors import AccountMismatch, LakeError

APP_ID = "lake_account"  # its app transaction makes the first row a compare-and-swap
TRIES = 5

LAKE_ACCOUNT = TableSpec(
    name="lake_account",
    description="The account that first fed this lake: one row. A worker of another account refuses to write.",
    columns=(
        Column(name="account", dtype=pl.String, description="the account's name at the gateway; SIM… is simulated"),
        Column(
            name="timestamp", dtype=UTC_MICROSECONDS, description="when it first fed the lake (clock time)", unit="UTC"
        ),
        Column(name="known_at", dtype=UTC_MICROSECONDS, description="the same in machine time", unit="UTC"),
    ),
    partition_by=(),
    sort_by=("known_at",),
    key=("account",),
)


class LakeAccount(Table):
    """The account that a lake belongs to."""

    spec: ClassVar[TableSpec] = LAKE_ACCOUNT

    def account(self) -> str | None:
        """The account this lake belongs to; None while nobody has fed it."""
        with self.lake.reading(self.spec.name):
            accounts = self.scan().sort("known_at").select("account").head(1).collect()
        return str(accounts.item()) if accounts.height else None

    def check(self, account: str) -> None:
        """Make sure the lake is this account's; the first to ask makes it so. Of two first ones, one wins. Blocks.

        Raises:
            AccountMismatch: the lake belongs to another account; the text names both.
            LakeError: the lake cannot be read or written.
        """
        owner = self.account() or self._claim(account)
        if owner != account:
            raise AccountMismatch(
                f"the lake {self.lake.url} was fed by account {owner}, and the gateway's account is {account}: "
                "set V6_LAKE to a folder of its own for this account"
            )

    def _claim(self, account: str) -> str:
        row = {"account": account, "timestamp": self.clock.now(), "known_at": self.clock.machine_now()}
        frame = self.spec.conform(pl.DataFrame([row], schema=self.spec.schema))
        failure: Exception | None = None
        for _ in range(TRIES):  # what landed is found, and flushed, next time round
            table = self.lake.ensure(self.spec)
            owner = _owner(table)
            if owner is not None:
                self.lake.flush(self.spec.name, int(table.version()))
                return owner
            try:
                delta.append(table, frame, app_transactions={APP_ID: 1})
            except (DeltaError, OSError) as error:  # a rival was first, or the commit is in doubt: look again
                failure = error
        raise LakeError(f"the account could not be written to the lake {self.lake.url}: {failure}") from failure


def _owner(table: DeltaTable) -> str | None:
    """The account in this very snapshot, which is the one that the claim is committed from."""
    accounts = delta.scan_table(table).select("account").collect()["account"]
    return str(accounts[0]) if len(accounts) else None
