"""The confounds of a study, looked at before any job: each table as a job would read it, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roistream.cleaning.confounds import (
    Confounds,
    count_confounds,
    hint,
    parse_confounds,
    refuse_other_columns,
    select_columns,
    take_columns,
    take_measure,
    unmatched_patterns,
)
from roistream.cleaning.denoising import find_table, sidecar_of
from roistream.cleaning.rank import Removal, look_at_confounds, refuse_nothing_left, tell_confounds
from roistream.errors import UserError
from roistream.paths import check_file, identity
from roistream.study.run import Run
from roistream.tables import Table


class ConfoundChecks:
    """Looks at the confounds of run after run.

    Parameters
    ----------
    cleaning : mapping
        The config key ``cleaning``. If it asks for no confounds only the rows of tables are counted.
    has_column : bool
        Whether the runs table has a column for them.
    """

    def __init__(self, cleaning: Mapping[str, Any], has_column: bool):
        self.cleaning, self.has_column = cleaning, has_column
        self.asked = bool(cleaning.get("confounds"))
        self.columns: Sequence[str] | None = cleaning.get("confound_columns")
        self.strategy: str | None = cleaning.get("strategy")
        self.thresholds: Mapping[str, float] = cleaning.get("leave_out_above") or {}
        self._removals: list[Removal] = []
        self._checked: set[Path] = set()
        self._firsts: dict[str, Confounds] = {}
        self._unmatched: list[str] | None = None
        self._first: Table | None = None

    def look(self, run: Run) -> None:
        """Look at the table of one run, if it has one and should.

        Volumes of one run, which may all name the same table, are held against it by the job that reads them.

        Raises
        ------
        UserError
            There is no table, or it cannot be read, does not fit the run, holds what is no number, or leaves nothing of it.
        """
        path = self.beside(run, self.strategy) if self.strategy else run.confounds
        if path is None:
            if self.asked and self.has_column and not run.is_volume:
                raise UserError("cleaning asks for confounds, but none are named here; add them")
            return
        if run.is_volume and path in self._checked:
            return
        self._checked.add(path)
        check_file(path, "The table of confounds ")
        table = parse_confounds(path) if self.asked or self.thresholds else None
        if table is not None:
            for column in self.thresholds:
                take_measure(table, column, "leave_out_above")
        if table is not None and self.asked:
            unmatched = unmatched_patterns([table.columns], self.columns)
            self._unmatched = (
                unmatched if self._unmatched is None else [one for one in self._unmatched if one in unmatched]
            )
            self._first = self._first or table
        n_rows = count_confounds(path) if table is None else len(table.rows)
        if run.n_volumes not in (None, n_rows) and not run.is_volume:
            raise UserError(
                f"the confounds {path} have {n_rows} rows, but {run.path} has {run.n_volumes} volumes; "
                "give the table of this run"
            )
        if table is None or not self.asked:
            return
        confounds, _ = take_columns(table, self.columns)
        if not self.cleaning.get("per_run", True):
            refuse_other_columns([self._firsts.setdefault(run.image, confounds), confounds])
        elif run.n_volumes == n_rows and not run.is_volume:
            self.look_at_rank(confounds, run.t_r)

    def beside(self, run: Run, strategy: str) -> Path:
        """Find the table beside a run that the strategy is made of, which no other may be named for."""
        table = find_table(run.path, strategy)
        if run.confounds is not None and identity(run.confounds) != identity(table):
            raise UserError(
                f"the strategy {strategy} is made of {table}, but {run.confounds} is named here; name the table beside "
                "the run, or none"
            )
        of_tissues = self.strategy == "compcor" and "anat" in (self.cleaning.get("compcor") or "anat")
        if of_tissues and not sidecar_of(table).is_file():
            raise UserError(
                f"the strategy compcor needs {sidecar_of(table)}, which tells the masks of the components; put it there, or set "
                "compcor: temporal"
            )
        return table

    def look_at_rank(self, confounds: Confounds, t_r: float | None) -> None:
        """Find out what the confounds of a run that is cleaned by itself take from it; refuse it if nothing is left."""
        options = {**self.cleaning, "t_r": t_r or self.cleaning.get("t_r")}
        removal = look_at_confounds(confounds.values, confounds.names, str(confounds.path), options)
        refuse_nothing_left(removal)
        self._removals.append(removal)

    def finish(self) -> list[str]:
        """Tell what is odd about the confounds of all runs; list what is wrong with the study as a whole."""
        tell_confounds(self._removals)
        if self.asked and not self.has_column:
            return ["cleaning asks for confounds, but there is no column 'confounds'; add the column"]
        if self._first is None:
            return []
        whose = f"any run's confounds, such as {self._first.path}"
        return [word_unmatched(pattern, self._first.columns, whose) for pattern in self._unmatched or ()]


def word_unmatched(pattern: str, header: Sequence[str], whose: str) -> str:
    """Word that a pattern matches nothing."""
    return f"confound_columns: {pattern!r} matches no column of {whose}; {hint(pattern, header)}"


def check_known_columns(header: Sequence[str], columns: Sequence[str] | None, whose: str) -> None:
    """Refuse names and patterns that match no column of tables which are known before they are there.

    Raises
    ------
    UserError
        For the first one.
    """
    select_columns(header, columns, whose)
    for pattern in unmatched_patterns([header], columns):
        raise UserError(word_unmatched(pattern, header, f"the confounds {whose}"))
