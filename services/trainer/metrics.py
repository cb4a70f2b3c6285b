"""Metrics of the trainer."""

from farsight.metrics import counter, gauge, histogram

samples = counter("farsight_trainer_samples", "Samples taken in, by outcome", ("outcome",))
refused = counter("farsight_trainer_refused", "Samples refused, by reason", ("reason",))
fits = counter("farsight_trainer_fits", "Fits, by result", ("result",))
fit_seconds = histogram(
    "farsight_trainer_fit_seconds",
    "Fit and judgement of one model",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
leading = gauge("farsight_trainer_leading", "1 while this replica is the leader")
bundle_version = gauge(
    "farsight_trainer_bundle_version", "Version last published by this replica", ("model",)
)
window_samples = gauge("farsight_trainer_window_samples", "Samples in the window", ("model",))
holdout_loss = gauge(
    "farsight_trainer_holdout_loss",
    "Pinball loss of q50 and q90 on the newest samples, log space",
    ("model", "target", "contender"),
)
stream_breaks = counter("farsight_trainer_stream_breaks", "Times the sample stream was away")
