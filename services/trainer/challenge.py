"""The gate: a new fit against the live model on samples that the fit has not seen."""

from dataclasses import dataclass

from farsight.latency.analytic import AnalyticRates
from farsight.latency.fit import calibrated, fit_latency, split_newest
from farsight.latency.fitted import FittedModel, LatencyFit
from farsight.latency.predictions import LatencyModel
from farsight.latency.scores import Scores, score
from farsight.latency.training_set import TrainingSet


@dataclass(frozen=True, slots=True)
class Challenge:
    """What came of a fit."""

    fit: LatencyFit
    challenger: Scores
    champion: Scores
    is_won: bool


def challenge(
    samples: TrainingSet, prior: AnalyticRates, champion: LatencyModel, tolerance: float
) -> Challenge:
    """Fit on all but the newest tenth and judge both models there by pinball loss.

    The fit wins when its loss is at most (1 + tolerance) times the champion's; it is then
    calibrated on the newest tenth too.

    :raises ValueError: the fit is unusable.
    """
    history, holdout = split_newest(samples)
    fit = fit_latency(history, prior)
    ours, theirs = score(FittedModel(fit), holdout), score(champion, holdout)
    is_won = ours.pinball <= theirs.pinball * (1 + tolerance)
    if is_won:
        unseen = len(split_newest(history)[1]) + len(holdout)
        fit = calibrated(fit, samples[slice(len(samples) - unseen, None)])
    return Challenge(fit, ours, theirs, is_won)
