"""The latency model: features in, quantiles of TTFT and TPOT out.

    latency = analytic(features) * exp(residual(features) + offset)

docs/latency-model.md has the formula, the feature table, the bundle format and the publishing gate.
"""
