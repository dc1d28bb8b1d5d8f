"""What careamics promises and what we rely on: its verbs, their arguments, its private hooks."""

import ast
import inspect
import textwrap
from types import ModuleType
from typing import Any

import pytest
from careamics import CAREamist

from careamics_denoisplit import DenoiSplitCAREamist

LACKING = {"prediction_writer": "results are written whole, without a trainer that writes them"}
"""Public names of careamics that we leave out on purpose, each with its reason."""


def parameters(function: Any) -> set[str]:
    """Names of the arguments of a method."""
    return set(inspect.signature(function).parameters) - {"self"}


def public_methods(kind: type) -> set[str]:
    """Names of the methods that users call, and the constructor."""
    names = {name for name, value in vars(kind).items() if inspect.isfunction(value)}
    return {name for name in names if not name.startswith("_")} | {"__init__"}


def test_every_method_of_careamics_with_every_argument_is_there() -> None:
    lacking = set()
    for verb in public_methods(CAREamist):
        ours = inspect.signature(getattr(DenoiSplitCAREamist, verb)).parameters
        known = set(ours)
        if any(each.kind is each.VAR_KEYWORD for each in ours.values()):
            known |= parameters(DenoiSplitCAREamist.predict)
        lacking |= {f"{verb}({name})" for name in parameters(getattr(CAREamist, verb)) - known}

    assert len(public_methods(CAREamist)) >= 8
    assert lacking == set()


def test_arguments_that_careamics_takes_by_position_are_taken_by_position() -> None:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for verb in public_methods(CAREamist):
        theirs, ours = (
            [
                each.name
                for each in inspect.signature(getattr(kind, verb)).parameters.values()
                if each.kind in kinds
            ]
            for kind in (CAREamist, DenoiSplitCAREamist)
        )
        assert ours[: len(theirs)] == theirs, verb


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("_load_model", {"config", "checkpoint_path", "bmz_path"}),
        ("_from_config", {"config"}),
        ("_from_checkpoint", {"checkpoint_path"}),
        ("_from_bmz", {"bmz_path"}),
        ("_define_callbacks", {"callbacks", "config", "ckpt_root"}),
        ("_create_loggers", {"logger", "experiment_name", "work_dir", "config", "version"}),
        ("_get_checkpoint_root", set()),
        ("_get_default_ckpt", {"checkpoint"}),
        ("_resolve_work_dir", {"work_dir"}),
    ],
)
def test_the_private_hooks_of_careamics_are_as_they_were(hook: str, arguments: set[str]) -> None:
    assert parameters(getattr(CAREamist, hook)) == arguments


def test_the_prediction_hook_of_careamics_is_replaced(
    careamist: DenoiSplitCAREamist, fields: ModuleType
) -> None:
    assert callable(CAREamist._build_predict_datamodule)
    with pytest.raises(NotImplementedError, match="Use `predict`"):
        careamist._build_predict_datamodule(fields.MIXTURE)


def test_every_attribute_that_careamics_sets_is_there(careamist: DenoiSplitCAREamist) -> None:
    source = textwrap.dedent(inspect.getsource(CAREamist.__init__))
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }

    assert "config" in attributes
    missing = {name for name in attributes if not hasattr(careamist, name)}
    assert missing == set(LACKING)


def test_stopping_is_what_careamics_does(careamist: DenoiSplitCAREamist) -> None:
    class Trainer:
        should_stop = False
        limit_val_batches = 1.0

    careamist.stop_training()  # before any training there is nothing to stop
    careamist.trainer = Trainer()
    careamist.stop_training()

    assert careamist.trainer.should_stop
    assert careamist.trainer.limit_val_batches == 0


def test_it_is_a_careamist(careamist: DenoiSplitCAREamist) -> None:
    assert isinstance(careamist, CAREamist)
