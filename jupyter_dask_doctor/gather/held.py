"""What lies in the workers' memory of the notebook's persisted collections: asked once, of few workers, seldom."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..snapshot import Collection, Column, Gap, Held, HotKey, Size, Snapshot
from . import worker_partitions
from .questions import Line, forbidden

#: Workers asked of one group, and groups asked in so many seconds.
MAX_WORKERS = 16
MAX_GROUPS, INTERVAL = 6, 60.0
#: One group is asked again, when other columns matter, so often at most.
MAX_TIMES = 3
#: Seconds between two looks for such columns.
RECHECK = 5.0
#: Seconds that an answer is waited for, and for which `settle` waits.
LONGEST = 15.0
PATIENCE = 2.0
MAX_KEPT = 100
MAX_COLUMNS = 8
MAX_UNLIKE = 20
MAX_ROWS = 10_000

_KINDS = ("dataframe", "series", "index", "array", "bag")
#: Steps that bring equal values of a column together.
_KEYED = ("merge", "join", "groupby", "set_index", "sort_values", "shuffle")


@dataclass(slots=True)
class _Asked:
    columns: frozenset[str]
    #: When it was looked last whether other columns matter.
    checked: float
    times: int = 1
    held: Held | None = None


class Holdings:
    """Of one scheduler's workers. For the one thread whose loop runs `ask`."""

    def __init__(self, address: str, connection_args: Mapping[str, Any], *, is_in_process: bool) -> None:
        self._line = Line(address, connection_args, is_in_process=is_in_process)
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._recent: deque[float] = deque(maxlen=MAX_GROUPS)
        self._under_way: set[asyncio.Task[None]] = set()

    def ask(self, snapshot: Snapshot) -> None:
        """Ask for those of its collections that are whole in memory and were not asked for. Never waits."""
        workers, collections = snapshot.workers, snapshot.collections
        if isinstance(workers, Gap) or isinstance(collections, Gap) or forbidden(snapshot.versions):
            return
        alive = [one.address for one in workers if one.status in ("running", "paused")][:MAX_WORKERS]
        for one in collections:
            if not alive or not _is_whole(one) or one.group is None:
                continue
            now = time.monotonic()
            before = self._asked.get(one.group)
            if before is not None:
                if before.times >= MAX_TIMES or now - before.checked < RECHECK:
                    continue
                before.checked = now
            columns = key_columns(one, snapshot)
            if before is not None and columns <= before.columns:
                continue
            if len(self._recent) == MAX_GROUPS and now - self._recent[0] < INTERVAL:
                return
            self._recent.append(now)
            if before is None:
                before = self._asked[one.group] = _Asked(columns, now)
                while len(self._asked) > MAX_KEPT:
                    self._asked.popitem(last=False)
            else:
                before.columns, before.times = before.columns | columns, before.times + 1
            task = asyncio.get_running_loop().create_task(self._take(one, alive, before))
            self._under_way.add(task)
            task.add_done_callback(self._over)

    def with_held(self, collections: tuple[Collection, ...]) -> tuple[Collection, ...]:
        """The collections with what was told of them."""
        return tuple(self._with(one) for one in collections)

    def _with(self, one: Collection) -> Collection:
        asked = None if one.group is None or not one.is_persisted else self._asked.get(one.group)
        if asked is None or asked.held is None or one.kind not in _KINDS:
            return one
        held = asked.held
        n_rows = sum(held.rows) if held.rows and held.n == one.npartitions else one.n_rows
        return replace(one, held=held, n_rows=n_rows)

    async def settle(self) -> None:
        """Wait for the answers that are under way, at most `PATIENCE` seconds."""
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=PATIENCE)

    def cancel(self) -> None:
        """Wait for no answer any more."""
        for task in self._under_way:
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._under_way)
        self.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not log it

    async def _take(self, one: Collection, workers: list[str], asked: _Asked) -> None:
        largest = one.sizes.largest_index if one.sizes is not None else None
        answers: list[Mapping[str, Any]] = []

        async def take(address: str) -> None:
            # One that is gone, busy or refuses: what the others tell counts.
            with contextlib.suppress(Exception):
                answers.append(
                    await asyncio.wait_for(
                        self._line.ask(
                            address,
                            worker_partitions,
                            group=one.group,
                            largest=largest,
                            columns=sorted(asked.columns),
                        ),
                        LONGEST,
                    )
                )

        await asyncio.gather(*map(take, workers))
        held = merged(answers, one.npartitions, largest)
        if held is not None:
            asked.held = held


def _is_whole(one: Collection) -> bool:
    return (
        one.is_persisted
        and one.kind in _KINDS
        and one.sizes is not None
        and one.npartitions is not None
        and one.sizes.n >= one.npartitions
    )


def key_columns(one: Collection, snapshot: Snapshot) -> frozenset[str]:
    """Columns by which its rows were brought together, or will be in what is made from it."""
    computations = () if isinstance(snapshot.computations, Gap) else snapshot.computations
    groups = () if isinstance(snapshot.groups, Gap) else snapshot.groups
    collections = () if isinstance(snapshot.collections, Gap) else snapshot.collections
    made_in = {group.computation_id for group in groups if group.name == one.group}
    makers = [c for c in computations if c.id in made_in]
    asked = [asked for c in computations for asked in c.asked]
    own = set(one.names)
    users = [other for other in (*collections, *asked) if not own.isdisjoint(other.names)]
    columns = dict.fromkeys(column for maker in makers for column in maker.key_columns)
    sources = [*(asked for maker in makers for asked in maker.asked), *users]
    columns |= dict.fromkeys(
        column
        for source in sources
        for operation in source.operations
        if operation.kind in _KEYED
        for column in operation.columns
    )
    return frozenset(list(columns)[:MAX_COLUMNS])


def merged(
    answers: Iterable[Mapping[str, Any]], npartitions: int | None = None, largest: str | None = None
) -> Held | None:
    """What several workers told, as one; None when nobody told of any partition."""
    told = [answer for answer in answers if answer.get("parts")]
    # A partition may lie on several workers.
    parts = {
        _place(index): (index, rows, kind, digest) for a in told for index, rows, kind, digest in a["parts"]
    }
    if not parts:
        return None
    ordered = [parts[place] for place in sorted(parts)][:MAX_ROWS]
    rows = [row for _, row, _, _ in ordered if row is not None]
    kinds = {kind for _, _, kind, _ in ordered}
    firsts = [a for a in told if a["first"] is not None]
    first = min(firsts, key=lambda a: _place(a["first"]), default=None)
    start = ordered[0] if first is None else parts[_place(first["first"])]
    unlike = [
        index
        for index, n, kind, digest in ordered
        if n != 0 and (kind != start[2] or (digest != start[3] and digest and start[3]))
    ]
    total = sum(rows) * (npartitions or len(ordered)) // len(ordered) if len(rows) == len(ordered) else None
    return Held(
        n=len(ordered),
        rows=tuple(rows) if len(rows) == len(ordered) else (),
        columns=() if first is None else tuple(_columns(first["columns"], firsts, total)),
        type=next(iter(kinds)) if len(kinds) == 1 else None,
        unlike=tuple(unlike[:MAX_UNLIKE]),
        hot=_hot(told, largest),
    )


def _place(index: str) -> tuple[int, ...]:
    return tuple(map(int, index.split(", ")))


def _columns(
    columns: Iterable[tuple[str, str, float | None, str | None]],
    answers: list[Mapping[str, Any]],
    rows: int | None,
) -> Iterable[Column]:
    for i, (name, dtype, _, holds) in enumerate(columns):
        alike = [a["columns"][i] for a in answers if len(a["columns"]) > i and a["columns"][i][0] == name]
        sizes = [column[2] for column in alike if column[2] is not None]
        nbytes = round(sum(sizes) / len(sizes) * rows) if sizes and rows is not None else None
        yield Column(
            name=name,
            dtype=dtype,
            nbytes=None if nbytes is None else Size(nbytes=nbytes, known="estimated"),
            holds=holds,
        )


def _hot(answers: list[Mapping[str, Any]], largest: str | None) -> HotKey | None:
    found = [hot for answer in answers for hot in answer["hot"]]
    if not found or largest is None:
        return None
    column, value, share, n = max(found, key=lambda hot: hot[2])
    return HotKey(column=column, value=value, share=share, partition=largest, n_rows=n)
