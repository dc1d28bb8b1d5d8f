"""The rules by number; each file of rules registers its own."""

from collections.abc import Callable
from dataclasses import dataclass

from careamics_denoisplit.errors import DenoiSplitError
from careamics_denoisplit_export.rules.findings import BrokenError, Finding, NotRunError, words_of
from careamics_denoisplit_export.rules.subject import Subject

Test = Callable[[Subject], str]
"""Returns what it found; raises `BrokenError` or `NotRunError`."""


@dataclass(frozen=True)
class Rule:
    """One rule: number, what must hold, and the function that tests it."""

    id: int
    title: str
    test: Test

    def judge(self, subject: Subject) -> Finding:
        """Apply the rule to a package."""
        try:
            return Finding(self.id, self.title, "passed", self.test(subject))
        except BrokenError as broken:
            return Finding(self.id, self.title, "failed", str(broken))
        except NotRunError as reason:
            return Finding(self.id, self.title, "skipped", str(reason))
        except (DenoiSplitError, MemoryError):  # says nothing about the package's form
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's yaml may hold anything
            text = f"rdf.yaml has not the form that this rule reads: {words_of(error)}."
            return Finding(self.id, self.title, "failed", f"{text} Export again.")


RULES: dict[int, Rule] = {}


def rule(number: int, title: str) -> Callable[[Test], Test]:
    """Register a function as the test of a rule.

    Parameters
    ----------
    number : int
        Number of the rule.
    title : str
        What must hold.
    """

    def register(test: Test) -> Test:
        RULES[number] = Rule(number, title, test)
        return test

    return register
