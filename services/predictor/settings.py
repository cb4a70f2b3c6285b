"""What the predictor can be told."""

from pydantic import Field

from farsight.settings import ServiceSettings


class PredictorSettings(ServiceSettings):
    """Settings of `services.predictor`."""

    max_rows: int = Field(4096, ge=1, le=65536, description="most rows of one call")
    inline_rows: int = Field(
        256, ge=0, le=65536, description="calls up to this many rows run in the event loop"
    )
    max_large_calls: int = Field(
        16, ge=1, le=1024, description="larger calls in flight before more are refused"
    )
    max_models: int = Field(64, ge=1, le=4096, description="most models with a live bundle")
    retry_min_s: float = Field(
        0.2, gt=0, le=60, description="first pause after a failed fetch, seconds"
    )
    retry_max_s: float = Field(
        10, gt=0, le=600, description="longest pause after a failed fetch, seconds"
    )
