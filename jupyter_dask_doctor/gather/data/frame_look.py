"""One look at an expression of a dataframe's: what may be asked of it is, and what fails leaves a gap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...snapshot import Collection, CollectionKind, Column, Operation, Read
from .column_weights import Weights
from .estimates import Estimate, estimate, is_source
from .frame_hazards import has_partition_size, is_eager, is_read, kinds, why_not_rewritten
from .frame_sources import persisted, source
from .frame_steps import operations
from .frame_tasks import Tasks, tasks_of
from .frame_twins import twins
from .in_memory import Sizes, group_of, is_future

#: Steps of one tree that are walked: 2,700 take 40 ms. Longer ones are not known.
MAX_STEPS = 3_000
#: Steps up to which the tree is asked for its partitions, and up to which the optimizer is run: it takes half a
#: second for a hundred, and grows with their square.
MAX_ASKED = 200
MAX_REWRITTEN = 80
#: Steps times columns up to which it is: a step of thousands of columns is slow to make.
MAX_WIDE = 20_000
MAX_NAMES = 200
MAX_READS = 20
MAX_COLUMNS = 200
MAX_GAPS = 5
MAX_TEXT = 100


class Look:
    """One look at an expression. What fails leaves a gap."""

    def __init__(self, expr: Any) -> None:
        self.expr = expr
        self.gaps: list[str] = []
        #: A later look would see the same.
        self.is_final = True
        self.steps, self.depth = _sorted(expr)
        self.is_whole = self.depth is not None
        #: Sizes of some of it follow from what lies in memory, and change with that.
        self.stands_on_memory = group_in_memory(expr) is None and any(map(group_in_memory, self.steps))
        self.reads: dict[str, Read] = {}
        self._weights: dict[str, Weights | None] = {}
        self._harmless: dict[str, bool] = {}
        self._twins: dict[str, Any] = {}
        self._judge()
        if not self.is_whole:
            self.gaps.append(f"It has more than {MAX_STEPS:,} steps.")
        elif len(self.steps) <= MAX_ASKED:
            try:
                self._twins = twins(self.steps)
            except Exception as error:
                self._failed("What it is made of", error)

    def collection(self) -> Collection:
        expr = self.expr
        group = group_in_memory(expr)
        names = tuple(str(step._name) for step in reversed(self.steps))[:MAX_NAMES]
        npartitions, known = self._partitions()
        columns, n_columns, index = self._columns()
        tasks = self._tasks(n_columns) if group is None else Tasks()
        found = self.estimate(lambda group: None, tasks.npartitions) if group is None else Estimate()
        columns = tuple(replace(column, nbytes=found.columns.get(column.name)) for column in columns)
        index = index and replace(index, nbytes=found.index)
        return Collection(
            name="",
            kind=self._kind(),
            npartitions=npartitions,
            nbytes=found.nbytes,
            largest=found.largest,
            at_most=found.at_most,
            n_rows=found.n_rows,
            is_persisted=group is not None,
            group=group,
            names=names if group is None else (*names, group),
            has_partition_size=any(has_partition_size(step) for step in self.steps),
            is_eager=not self.is_whole or any(is_eager(step) for step in self.steps),
            has_known_divisions=known,
            columns=columns,
            n_columns=n_columns,
            index=index,
            n_tasks=tasks.n_tasks,
            fused_tasks=tasks.fused_tasks,
            layers=tasks.layers,
            npartitions_optimized=tasks.npartitions,
            n_steps=len(self.steps) if self.is_whole else None,
            depth=self.depth,
            reads=tuple(self.reads.values())[:MAX_READS],
            operations=self._operations(),
            gaps=tuple(dict.fromkeys(self.gaps))[:MAX_GAPS],
        )

    def _kind(self) -> CollectionKind:
        try:
            return _kind(self.expr)
        except Exception:  # told with the columns
            return "dataframe"

    @property
    def may_be_joined(self) -> bool:
        """The optimizer may read several files in one task, where few of their columns are wanted."""
        reads = [kinds(step) for step in self.steps if "ReadParquet" in kinds(step)]
        return bool(reads) and (len(self.steps) > 1 or "ReadParquetPyarrowFS" in reads[0])

    def is_harmless(self, step: Any) -> bool:
        """Whether it may be asked for its partitions: nothing that it stands on starts a job or reads files."""
        return self._harmless.get(step._name, False)

    def twin(self, step: Any) -> Any:
        """What to ask in its place; None when it must not be asked, or that would take long."""
        return self._twins.get(step._name) if self.is_harmless(step) else None

    def _judge(self) -> None:
        for step in self.steps if self.is_whole else ():
            try:
                read = is_read(step)
            except Exception as error:
                self._failed("What it reads", error)
                continue
            if not read:
                self.is_final = False
            self._harmless[step._name] = (
                read and not is_eager(step) and all(map(self.is_harmless, step.dependencies()))
            )

    def _partitions(self) -> tuple[int | None, bool | None]:
        if not self.is_whole:
            return None, None
        if not self.is_harmless(self.expr):
            if self.is_final:
                self.gaps.append("Asking for its partitions would start a job.")
            else:
                self.gaps.append("Its files were not looked at yet.")
            return None, None
        if len(self.steps) > MAX_ASKED:
            self.gaps.append(f"It has more than {MAX_ASKED} steps: counting its partitions would take long.")
            return None, None
        own = self.twin(self.expr)
        if own is None:
            return None, None  # said already
        try:
            return int(own.npartitions), bool(own.known_divisions)
        except Exception as error:
            self._failed("Its partitions", error)
            return None, None

    def _columns(self) -> tuple[tuple[Column, ...], int | None, Column | None]:
        try:
            meta = self.expr._meta
            if getattr(meta, "ndim", 0) == 0:
                return (), None, None
            if not hasattr(meta, "index"):
                return (), None, Column(name=_label(meta.name), dtype=str(meta.dtype)[:MAX_TEXT])
            index = Column(name=_label(meta.index.name), dtype=str(meta.index.dtype)[:MAX_TEXT])
            if meta.ndim == 1:
                return (Column(name=_label(meta.name), dtype=str(meta.dtype)[:MAX_TEXT]),), 1, index
            pairs = zip(meta.columns[:MAX_COLUMNS], meta.dtypes.iloc[:MAX_COLUMNS], strict=True)
            columns = tuple(Column(name=_label(name), dtype=str(dtype)[:MAX_TEXT]) for name, dtype in pairs)
            return columns, len(meta.columns), index
        except Exception as error:
            self._failed("Its columns", error)
            return (), None, None

    def _tasks(self, n_columns: int | None) -> Tasks:
        if not self.is_harmless(self.expr):
            return Tasks()  # said already
        if len(self.steps) * (n_columns or 1) > MAX_WIDE:
            self.gaps.append("Its tasks were not counted: optimizing so many columns takes long.")
            return Tasks()
        if len(self.steps) > MAX_REWRITTEN:
            self.gaps.append(f"Its tasks were not counted: optimizing {len(self.steps):,} steps takes long.")
            return Tasks()
        own = self.twin(self.expr)
        if own is None:
            return Tasks()
        try:
            reason = why_not_rewritten(self.steps)
            if reason is None:
                tasks = tasks_of(own)
                reason = tasks.gap
            else:
                tasks = Tasks()
                self.is_final = False
            if reason is not None:
                self.gaps.append(f"Its tasks were not counted: {reason}.")
            return tasks
        except Exception as error:
            self._failed("Its tasks", error)
            return Tasks()

    def _operations(self) -> tuple[Operation, ...]:
        if len(self.steps) > MAX_ASKED:
            return ()
        try:
            return operations(self.steps, self.twin)
        except Exception as error:
            self._failed("Its steps", error)
            return ()

    def estimate(self, sizes: Sizes, npartitions: int | None) -> Estimate:
        """Sizes of its partitions, from its sources; `reads` are known after it."""
        if not self.is_whole or len(self.steps) > MAX_ASKED:
            return Estimate()
        for step in self.steps:
            if is_source(step):
                self._source(step, sizes)
        if self.twin(self.expr) is None:
            return Estimate()
        try:
            asked = [self._twins[step._name] for step in self.steps]
            found = estimate(asked, lambda step: self._weights.get(step._name), npartitions)
            if npartitions is None and self.may_be_joined:
                found = replace(found, largest=None, at_most=None)
            return found
        except Exception as error:
            self._failed("Its size", error)
            return Estimate()

    def _source(self, step: Any, sizes: Sizes) -> None:
        try:
            group = group_in_memory(step)
            if group is not None:
                self._weights[step._name] = persisted(step, sizes(group))
            elif self.is_harmless(step):
                read, weights = source(step)
                twin = self.twin(step)
                if twin is not None:
                    self._weights[twin._name] = weights
                if read is not None:
                    self.reads[step._name] = read
        except Exception as error:
            self._failed(f"What its {type(step).__name__} reads", error)

    def _failed(self, what: str, error: Exception) -> None:
        self.is_final = False
        self.gaps.append(f"{what} could not be told ({type(error).__name__}).")


def _sorted(expr: Any) -> tuple[list[Any], int | None]:
    """Its steps, each after all that it is made from, and how many stand one upon the other at most.

    At most `MAX_STEPS`, in any order and without a depth, when there are more.
    """
    order: list[Any] = []
    depths: dict[str, int] = {}
    seen: set[str] = {expr._name}
    stack: list[tuple[Any, Any]] = [(expr, iter(expr.dependencies()))]
    while stack:
        step, parts = stack[-1]
        for part in parts:
            if part._name not in seen:
                seen.add(part._name)
                stack.append((part, iter(part.dependencies())))
                break
        else:
            stack.pop()
            order.append(step)
            depths[step._name] = 1 + max(
                (depths.get(part._name, 0) for part in step.dependencies()), default=0
            )
        if len(seen) > MAX_STEPS:
            return ([one for one, _ in reversed(stack)] + order)[:MAX_STEPS], None
    return order, depths[expr._name]


def group_in_memory(expr: Any) -> str | None:
    """The task group that holds its partitions in memory; None when it is yet to be computed."""
    if type(expr).__name__ != "FromGraph":
        return None
    layer = expr.operand("layer")
    if type(layer) is not dict or not is_future(next(iter(layer.values()), None)):
        return None
    return group_of(expr.operand("keys"))


def _kind(expr: Any) -> CollectionKind:
    # Of meta and not of the collection: an expression has none, and users make subclasses.
    meta = expr._meta
    if getattr(meta, "ndim", 1) == 2:
        return "dataframe"
    # Neither has one an index nor a number in a scalar, which counts as a series.
    return "index" if getattr(meta, "ndim", 0) == 1 and not hasattr(meta, "index") else "series"


def _label(name: Any) -> str:
    return "" if name is None else str(name)[:MAX_TEXT]
