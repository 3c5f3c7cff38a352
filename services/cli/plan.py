"""`layer plan`: the dry run of every policy, as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from services.core.clock import SystemClock
from services.core.errors import LayerError
from services.edge.settings import load_settings
from services.snapshot.plan import NamespacePlan, plan_namespace
from services.snapshot.settings import SnapshotSettings
from services.snapshot.wiring import open_parts

__all__ = ["show_plan"]


async def show_plan(console: Console) -> int:
    """Print what SnapshotService would do now; the exit status."""
    settings = load_settings(SnapshotSettings)
    try:
        async with open_parts(settings, SystemClock(), writes=False) as parts:
            policies = parts.policies.current()
            plans = [
                await plan_namespace(policies[name], parts.automatic, parts.retention)
                for name in sorted(policies)
            ]
    except LayerError as error:
        console.print(error.message, style="red", markup=False, highlight=False)
        return 1
    console.print(_table(plans) if plans else "no policy names a namespace")
    return 0


def _table(plans: list[NamespacePlan]) -> Table:
    table = Table("namespace", "facet fields", "snapshot", "to prune")
    for plan in plans:
        fields = ", ".join(plan.facet_fields)
        table.add_row(plan.namespace, fields, plan.snapshot, str(plan.expired))
    return table
