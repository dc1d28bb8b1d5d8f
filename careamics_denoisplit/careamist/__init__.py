"""The front end: `DenoiSplitCAREamist`, careamics' `CAREamist` with the verbs of denoiSplit."""

from careamics_denoisplit.careamist.front_end import DenoiSplitCAREamist

__all__ = ["DenoiSplitCAREamist"]
