"""Judges rows of history: each deal with what happened to it, or every error at once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from attrs import define, field

from prefect_ruddr.errors import HistoryRefused
from prefect_ruddr.recalibration.deals import Deal, DealOutcome, Event, History
from prefect_ruddr.recalibration.instants import instant
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.stage_finder import StageFinder
from prefect_ruddr.sources.cells import is_blank
from prefect_ruddr.sources.rows import RawRow
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.texts import MOST_LISTED, shown

DEAL_COLUMNS = (
    "opportunity_id",
    "stage_id",
    "stage",
    "pipeline",
    "entered_at",
    "outcome",
    "closed_at",
)
CLOCKS_DIFFER = timedelta(minutes=5)
"""How far in the future a row may lie: the clock that wrote it is not ours."""

_SPELLINGS = {name.replace("_", ""): name for name in (*DEAL_COLUMNS, "place")}
_PAIR = {"outcome", "closed_at"}

_Pair = tuple[DealOutcome | None, datetime | None]
_OPEN: _Pair = (None, None)


def judged_history(
    rows: Iterable[Mapping[str, Any] | RawRow],
    stages: Iterable[Stage],
    options: RecalibrationOptions,
    *,
    now: datetime,
) -> History:
    """Judge the rows, each the entry of a deal into a stage.

    They are read once, in any order; what is kept of each is a few hundred bytes.

    Args:
        rows: Mappings with the columns `opportunity_id`, `stage_id` (or `stage`, and `pipeline`
            with it), `entered_at`, and perhaps both of `outcome` and `closed_at`. Upper case and
            underscores do not matter. A row may carry its `place`, such as "deals.csv line 7";
            one of a source does.
        stages: The stages as they are now.
        options: How to read the rows, and the window that they should reach into.
        now: The time by our clock.

    Raises:
        HistoryRefused: With every kind of error, how many rows have it, and up to five places.
    """
    judge = _Judge(tuple(stages), options, now)
    for number, row in enumerate(rows, 1):
        judge.take(number, row)
    return judge.history()


@define
class _Found:
    """The rows with one kind of error: how many, and where the first ones are."""

    count: int = 0
    places: list[str] = field(factory=list)

    def text(self, kind: str) -> str:
        places = ", ".join(self.places) + ", …" * (self.count > len(self.places))
        return f"{kind}: {places}" if self.count == 1 else f"{kind}: {self.count} rows ({places})"


@define
class _Case:
    """What the rows say of one deal so far."""

    entries: dict[tuple[datetime, UUID], None] = field(factory=dict)
    pair: _Pair | None = None


class _Judge:
    """Takes row after row; keeps deals, and what is wrong."""

    def __init__(
        self, stages: tuple[Stage, ...], options: RecalibrationOptions, now: datetime
    ) -> None:
        self._options = options
        self._zone = options.zone
        self._now = now.astimezone(UTC)
        self._finder = StageFinder(stages, options)
        self._found: dict[str, _Found] = defaultdict(_Found)
        self._columns: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._column_errors: dict[tuple[Any, ...], list[str]] = {}
        self._cases: dict[str, _Case] = {}
        self._rows = 0
        self._ignored = 0
        self._has_pair = False
        self._oldest: datetime | None = None
        self._newest: datetime | None = None

    def take(self, number: int, row: Any) -> None:
        """Judge a row, and keep what it says of its deal."""
        if isinstance(row, RawRow):
            place, values, errors = row.place, row.values, row.errors
        else:
            known = isinstance(row, Mapping)
            errors = () if known else ("a row that does not know its columns",)
            place, values = f"row {number}", row
        if not errors:
            self._take(values, place)
            return
        self._rows += 1
        for error in errors:
            self._refuse(error, place)

    def _take(self, row: Mapping[str, Any], here: str) -> None:
        columns = tuple(row)
        if columns not in self._columns:
            self._learn(columns)
        names = self._columns[columns]
        cells = {name: row[key] for name, key in names.items() if not is_blank(row[key])}
        place = str(cells.pop("place", here))
        if not cells:
            return
        self._rows += 1
        for error in self._column_errors[columns]:
            self._refuse(error, place)
        deal = str(cells.get("opportunity_id", "")).strip()
        if not deal and "opportunity_id" in names:
            self._refuse("opportunity_id is blank", place)
        if "entered_at" in names and "entered_at" not in cells:
            self._refuse("entered_at is blank", place)
        entered = self._instant("entered_at", cells, place)
        stage = self._stage(cells, place)
        pair = self._pair(cells, place)
        if not deal:
            return
        case = self._cases.setdefault(deal, _Case())
        if case.pair is None:
            case.pair = pair
        elif pair is not None and case.pair != pair:
            what = "closed_at" if case.pair[0] == pair[0] else "outcomes"
            self._refuse(f"two different {what} of one deal", place)
        if stage is not None and entered is not None:
            if stage.status_id == "open" and pair and pair[1] and pair[1] < entered:
                self._refuse("closed before entered", place)
            if (entered, stage.id) in case.entries:
                self._refuse("the same deal, stage and instant twice", place)
            case.entries[entered, stage.id] = None

    def history(self) -> History:
        """Return the deals.

        Raises:
            HistoryRefused: When anything is wrong with any row, or with all of them.
        """
        if self._newest is None or self._oldest is None:
            self._newest = self._oldest = self._now
        options = self._options
        as_of = self._newest if options.as_of is None else instant(options.as_of, self._zone)
        deals = tuple(
            Deal(self._events(name, case)) for name, case in self._cases.items() if case.entries
        )
        found = [kept.text(kind) for kind, kept in self._found.items()]
        if errors := [*found, *self._errors_of_all(as_of, self._newest)]:
            raise HistoryRefused(errors)
        return History(deals, as_of, self._oldest, self._rows, self._ignored)

    def _refuse(self, kind: str, place: str) -> None:
        found = self._found[kind]
        found.count += 1
        if len(found.places) < MOST_LISTED:
            found.places.append(place)

    def _learn(self, columns: tuple[Any, ...]) -> None:
        """Find out what the columns of a row mean."""
        names: dict[str, Any] = {}
        errors: list[str] = []
        for column in columns:
            name = _SPELLINGS.get(str(column).strip().lower().replace("_", ""))
            if name is None:
                listed = ", ".join(DEAL_COLUMNS)
                errors.append(f"column {shown(column)}: no such column; there are {listed}")
            elif name in names:
                errors.append(f"column {shown(column)} is there twice")
            else:
                names[name] = column
        errors += [
            f"no column {name}" for name in ("opportunity_id", "entered_at") if name not in names
        ]
        if not {"stage_id", "stage"} & names.keys():
            errors.append("no column says which stage was entered: stage_id, or stage")
        self._has_pair = self._has_pair or bool(_PAIR & names.keys())
        self._columns[columns] = names
        self._column_errors[columns] = errors

    def _instant(self, column: str, cells: dict[str, Any], place: str) -> datetime | None:
        if column not in cells:
            return None
        try:
            found = instant(cells[column], self._zone)
        except ValueError as error:
            text = str(error)
            wrong = f" ({shown(cells[column])})" if "no instant" in text else ""
            self._refuse(f"{column} {text}", f"{place}{wrong}")
            return None
        if found > self._now + CLOCKS_DIFFER:
            self._refuse(f"{column} lies in the future", f"{place} ({found:%Y-%m-%d %H:%M} UTC)")
            return None
        self._oldest = min(found, self._oldest or found)
        self._newest = max(found, self._newest or found)
        return found

    def _stage(self, cells: dict[str, Any], place: str) -> Stage | None:
        found = self._finder.find(cells)
        if isinstance(found, str):
            self._refuse(found, place)
            return None
        if found is None:
            self._ignored += 1
        return found

    def _pair(self, cells: dict[str, Any], place: str) -> _Pair | None:
        """Return outcome and closing; None where the row is wrong about them."""
        outcome = cells.get("outcome")
        closed = self._instant("closed_at", cells, place)
        if outcome is None and "closed_at" not in cells:
            return _OPEN
        if outcome is None:
            self._refuse("closed_at without an outcome", place)
            return None
        text = str(outcome).strip()
        if text not in {"won", "lost"}:
            self._refuse("outcome is neither won nor lost", f"{place} ({shown(outcome)})")
            return None
        if "closed_at" not in cells:
            self._refuse("an outcome without closed_at", place)
        return ("won" if text == "won" else "lost", closed) if closed else None

    def _events(self, name: str, case: _Case) -> tuple[Event, ...]:
        """Put what happened to a deal in order; at equal instants a closing is last."""
        live = self._finder.stages
        events = [
            Event(at, stage_id, None)
            if live[stage_id].status_id == "open"
            else Event(at, None, "won" if live[stage_id].status_id == "won" else "lost")
            for at, stage_id in sorted(
                case.entries,
                key=lambda entry: (
                    entry[0],
                    live[entry[1]].status_id != "open",
                    live[entry[1]].probability,
                    entry[1],
                ),
            )
        ]
        if self._has_pair:
            # Closings before a deal was re-opened were known then; the last one is the pair's.
            while events and events[-1].outcome:
                events.pop()
            outcome, closed = case.pair or _OPEN
            if outcome and closed:
                events.append(Event(closed, None, outcome))
        elif any(
            one.at == other.at and {one.outcome, other.outcome} == {"won", "lost"}
            for one, other in pairwise(events)
        ):
            self._refuse("two different outcomes at the same instant", f"deal {shown(name)}")
        return tuple(events)

    def _errors_of_all(self, as_of: datetime, newest: datetime) -> Iterator[str]:
        """Say what is wrong with the history as a whole."""
        options = self._options
        if not self._rows:
            yield "no rows"
            return
        if as_of > self._now + CLOCKS_DIFFER:
            yield f"as_of lies in the future: {as_of:%Y-%m-%d %H:%M} UTC"
        if self._rows == len(self._cases):
            yield (
                "one row for each deal: that is its current stage, not its history; a current"
                " stage cannot tell how many deals entered a stage and were lost later"
            )
        if options.unknown_stages == "ignore" and not self._has_pair:
            yield (
                'unknown_stages="ignore" takes the columns outcome and closed_at: without them'
                " a deal that was closed into a deleted stage would look open"
            )
        since = as_of - options.window
        instants = [at for case in self._cases.values() for at, _ in case.entries]
        if instants and not any(since < at <= as_of for at in instants):
            yield f"no row in the window from {since:%Y-%m-%d} to {as_of:%Y-%m-%d}"
        age = self._now - newest
        if options.as_of is None and age > timedelta(days=options.stale_days):
            yield (
                f"the newest row is of {newest:%Y-%m-%d}, {age.days} days ago, and stale_days is"
                f" {options.stale_days:g}: stale extract?"
            )
