"""Expected output of a request: the running mean of its model, bounded by what the client asks."""

SMOOTHING = 0.05


class OutputLengths:
    """Exponentially weighted mean of finished outputs per model, tokens."""

    def __init__(self, default_tokens: int) -> None:
        self._default = float(default_tokens)
        self._mean: dict[str, float] = {}

    def expected(self, model: str, max_output_tokens: int) -> float:
        """Expected output, tokens; `max_output_tokens` 0 means unbounded."""
        mean = self._mean.get(model, self._default)
        return min(mean, float(max_output_tokens)) if max_output_tokens else mean

    def finished(self, model: str, output_tokens: int) -> None:
        """A request ended after this many output tokens."""
        mean = self._mean.get(model)
        self._mean[model] = (
            float(output_tokens) if mean is None else mean + SMOOTHING * (output_tokens - mean)
        )
