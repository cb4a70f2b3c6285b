"""Metrics of the predictor."""

from farsight.metrics import counter, gauge

rows = counter("farsight_predictor_rows", "Rows predicted, by kind of model", ("source",))
refused_bundles = counter(
    "farsight_predictor_refused_bundles", "Bundles refused, by reason", ("reason",)
)
failed_fetches = counter("farsight_predictor_failed_fetches", "Bundle fetches that will be retried")
loaded_bundles = counter("farsight_predictor_loaded_bundles", "Bundles that became live")
bundle_version = gauge(
    "farsight_predictor_bundle_version", "Version of the live bundle", ("model",)
)
overloads = counter("farsight_predictor_overloads", "Large calls refused because of load")
