"""What a check says: one finding for each rule, and a report of all."""

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """Verdict on one rule.

    Attributes
    ----------
    id : int
        Number of the rule, 1 to 39.
    title : str
        What must hold.
    status : {"passed", "failed", "skipped"}
        Skipped where something was not run; the message says what.
    message : str
        What was found and, where the rule is broken, what to do.
    """

    id: int
    title: str
    status: Status
    message: str


@dataclass(frozen=True)
class Report:
    """Result of a check.

    Attributes
    ----------
    package : str
        Path of the package.
    sha256 : str
        Its hash.
    findings : tuple of Finding
        One for each rule, by number.
    consumers : tuple of dict
        Runs in the environments of other tools.
    """

    package: str
    sha256: str
    findings: tuple[Finding, ...]
    consumers: tuple[dict[str, Any], ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether no rule and no consumer failed."""
        return not self.failed and all(each["status"] != "failed" for each in self.consumers)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Findings of broken rules."""
        return tuple(finding for finding in self.findings if finding.status == "failed")

    @property
    def skipped(self) -> int:
        """Number of rules of which a part was not run, and of consumers that were not."""
        statuses = [finding.status for finding in self.findings]
        return [*statuses, *(each["status"] for each in self.consumers)].count("skipped")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return {
            "package": self.package,
            "sha256": self.sha256,
            "passed": self.passed,
            "skipped": self.skipped,
            "rules": [vars(finding) for finding in self.findings],
            "consumers": list(self.consumers),
        }


class BrokenError(Exception):
    """A rule is broken; the message says what was found and what to do."""


class NotRunError(Exception):
    """A rule holds as far as it was checked; the message says what was not run."""


def words_of(error: Exception) -> str:
    """Say in one line what an error that a stranger's package caused is about.

    Parameters
    ----------
    error : Exception
        Whatever was raised.
    """
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    text = " ".join(str(error).split())[:300].rstrip(".")
    return text or type(error).__name__


def require(holds: bool, message: str) -> None:
    """Break the rule with this message where something does not hold."""
    if not holds:
        raise BrokenError(message)
