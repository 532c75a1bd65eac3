"""The bug log in one SQLite file, which other programs can read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import ForeignKey, create_engine, delete, event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import NullPool

from asi_verify.core.bug import Bug, BugEvent, BugKind, BugState, Category
from asi_verify.errors import RunFolderError
from asi_verify.store.bug_log import BugLog
from asi_verify.store.migrations import SCHEMA_VERSION, migrate

__all__ = ["SqliteBugLog"]


class _Base(DeclarativeBase):
    pass


class _Meta(_Base):
    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class _Bug(_Base):
    __tablename__ = "bugs"
    id: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[int]
    kind: Mapped[str]
    image: Mapped[str]
    label: Mapped[str]
    prediction: Mapped[str]
    # float.hex(): exact, and NaN stays NaN.
    margin: Mapped[str]
    category: Mapped[str]
    state: Mapped[str]
    events: Mapped[list[_Event]] = relationship(
        order_by="_Event.position", cascade="all, delete-orphan"
    )


class _Event(_Base):
    __tablename__ = "events"
    bug_id: Mapped[int] = mapped_column(ForeignKey("bugs.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    round: Mapped[int]
    state: Mapped[str]
    artifact: Mapped[str]
    certificate: Mapped[str | None]
    detail: Mapped[str]


class SqliteBugLog(BugLog):
    """A log in a file; it is made if it is not there, and can be opened again.

    Raises:
        RunFolderError: the file is not a bug log, or one of a newer version of this library.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # No connection outlives what it was opened for, whether or not the log is closed.
        self._engine = create_engine(f"sqlite:///{self._path}", poolclass=NullPool)
        event.listen(self._engine, "connect", _enforce_foreign_keys)
        try:
            _Base.metadata.create_all(self._engine)
            with Session(self._engine) as session, session.begin():
                found = session.get(_Meta, "schema")
                version = int(found.value) if found else SCHEMA_VERSION
                migrate(session.connection(), version, self._path)
                session.merge(_Meta(key="schema", value=str(SCHEMA_VERSION)))
        except DatabaseError as error:
            self.close()
            raise RunFolderError(f"{self._path}: not a bug log: {error.orig}") from None
        except BaseException:
            self.close()
            raise

    def save(self, bugs: Iterable[Bug], round_: int) -> None:
        with Session(self._engine) as session, session.begin():
            for bug in bugs:
                key = (_Bug.row == bug.row, _Bug.kind == bug.kind.value)
                for old in session.scalars(select(_Bug).where(*key)):
                    session.delete(old)
                session.flush()
                session.add(_to_row(bug))
            session.execute(delete(_Meta).where(_Meta.key == "round"))
            session.add(_Meta(key="round", value=str(round_)))

    def bugs(self) -> list[Bug]:
        with Session(self._engine) as session:
            return [_from_row(b) for b in session.scalars(select(_Bug).order_by("row", "kind"))]

    def last_round(self) -> int | None:
        with Session(self._engine) as session:
            found = session.get(_Meta, "round")
            return int(found.value) if found else None

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()


def _enforce_foreign_keys(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _numbers(values: tuple[int, ...]) -> str:
    return " ".join(map(str, values))


def _to_row(bug: Bug) -> _Bug:
    return _Bug(
        row=bug.row,
        kind=bug.kind.value,
        image=bug.image,
        label=_numbers(bug.label),
        prediction=_numbers(bug.prediction),
        margin=bug.margin.hex(),
        category=bug.category.value,
        state=bug.state.value,
        events=[
            _Event(
                position=position,
                round=e.round,
                state=e.state.value,
                artifact=e.artifact,
                certificate=e.certificate,
                detail=e.detail,
            )
            for position, e in enumerate(bug.events)
        ],
    )


def _from_row(row: _Bug) -> Bug:
    return Bug(
        row.row,
        BugKind(row.kind),
        row.image,
        tuple(map(int, row.label.split())),
        tuple(map(int, row.prediction.split())),
        float.fromhex(row.margin),
        Category(row.category),
        tuple(
            BugEvent(e.round, BugState(e.state), e.artifact, e.certificate, e.detail)
            for e in row.events
        ),
    )
