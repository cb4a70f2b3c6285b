"""What the trainer can be told."""

from pydantic import Field

from farsight.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    """Settings of `services.trainer`."""

    min_samples: int = Field(
        200, ge=1, description="completed samples of a model before its first fit"
    )
    refit_samples: int = Field(100, ge=1, description="new samples before the next fit")
    refit_interval_s: float = Field(
        30, ge=0, description="least time between two fits of a model, seconds"
    )
    check_interval_s: float = Field(
        1, gt=0, le=60, description="how often to look for due fits, seconds"
    )
    window_samples: int = Field(
        50_000, ge=100, le=1_000_000, description="newest completed samples kept per model"
    )
    max_models: int = Field(32, ge=1, le=1024, description="most models with a window")
    gate_tolerance: float = Field(
        0.02, ge=0, le=1, description="how much worse than the live bundle may be published, share"
    )
    keep_bundles: int = Field(5, ge=1, le=1000, description="bundles kept per model")
