"""Trace a graph in a process of its own: a script that needs torch only.

In a fresh process the names inside the archive depend on nothing that was traced before, so
equal weights give equal bytes, and no shape checks of a test run slip into the trace.
Standard input holds a job, standard output the result; both are written by `torch.save`.
"""

import io
import json
import sys
import types
import warnings
from typing import Any

import torch


def trace(job: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Build the graph, load its weights, trace it on the raw image.

    Parameters
    ----------
    job : dict
        `source` of architecture.py, `callable`, `kwargs` as JSON, `state` (dict of tensors),
        `raw` (1, 1, Y, X) and `threads`.

    Returns
    -------
    dict of str to torch.Tensor
        `archive`: the bytes of the TorchScript file; `output` (1, N, Y, X): what the graph
        computed without tracing.
    """
    torch.set_num_threads(job["threads"])
    module = types.ModuleType("denoisplit_architecture")
    sys.modules[module.__name__] = module
    exec(compile(job["source"], "architecture.py", "exec"), module.__dict__)  # noqa: S102 - ours
    graph = getattr(module, job["callable"])(**json.loads(job["kwargs"]))
    graph.load_state_dict(job["state"])
    graph.eval()
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # The network compares sizes in Python: true for every size, since the graph pads.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # public by its documentation
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        output = graph(job["raw"])
        traced = torch.jit.trace(graph, job["raw"], check_trace=False)  # type: ignore[no-untyped-call]  # torch does not annotate it
        narrow_constants(traced)
        torch.jit.save(traced, buffer)
    archive = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    return {"archive": archive, "output": output}


def narrow_constants(traced: Any) -> None:
    """Turn constants of 64 bits into 32: Apple's GPUs cannot load the others.

    The results are the same, because the operators compute in the type of the image.
    """
    for module in traced.modules():
        for name in module._c._method_names():
            for node in module._c._get_method(name).graph.nodes():
                if node.kind() != "prim::Constant" or "value" not in node.attributeNames():
                    continue
                if node.kindOf("value") == "t" and node.t("value").dtype == torch.float64:
                    node.t_("value", node.t("value").to(torch.float32))


def main() -> None:
    """Run one job from standard input."""
    job = torch.load(io.BytesIO(sys.stdin.buffer.read()), weights_only=True)
    result = io.BytesIO()
    torch.save(trace(job), result)
    sys.stdout.buffer.write(result.getvalue())


if __name__ == "__main__":
    main()
