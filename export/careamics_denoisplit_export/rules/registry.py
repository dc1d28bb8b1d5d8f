"""The rules by number; each file of rules registers its own."""

from collections.abc import Callable
from dataclasses import dataclass

from careamics_denoisplit_export.rules.findings import BrokenError, Finding, NotRunError
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
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            # A stranger's yaml may lack anything or hold other types.
            what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            text = f"rdf.yaml has not the form that this rule reads: {what}. Export again."
            return Finding(self.id, self.title, "failed", text)


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
